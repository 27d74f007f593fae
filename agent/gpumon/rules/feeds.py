"""What an alert reads: without those series it cannot fire, however sick a node is.

An expression of PromQL is read as far as that needs: which selectors must all have series (both
sides of a comparison, of ``and``), which of several will do (``or``), and which need none (what
stands after ``unless``). Recorded series are followed to what they are recorded from.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpumon.model import Kind
from gpumon.model.catalogue import rows
from gpumon.model.metric import Metric, Tier
from gpumon.rules.levels import TARGET
from gpumon.rules.model import Alert, RecordingRule, RuleGroup
from gpumon.workloads import MANAGERS

DEAF = "alert:gpumon_nodes_deaf:count"
"""The series that says on how many nodes an alert cannot fire, by its label ``alert``."""

DEAF_BY_RACK = "rack_alert:gpumon_nodes_deaf:count"
"""The same of each rack, from which it is made."""

ALWAYS = frozenset(
    (
        *("gpumon_gpu_state", "gpumon_gpu_up", "gpumon_gpu_sample_age_seconds"),
        *("gpumon_source_up", "gpumon_source_info", "gpumon_released", "gpumon_build_info"),
        *("gpumon_gpus", "gpumon_gpus_expected", "gpumon_reader_restarts_total"),
    )
)
"""What every agent serves, whatever its driver reports."""

_JOBS = f'gpumon_collector_success{{collector=~"{"|".join(manager.name for manager in MANAGERS)}"}}'
_KERNEL_LOG = 'gpumon_collector_success{collector="kernel_log"}'

_BORN_LATER = {
    "gpumon_gpu_xid_errors_total": "gpumon_gpu_xid_events_total",
    "gpumon_gpu_xid_last_timestamp_seconds": "gpumon_gpu_xid_events_total",
    "gpumon_gpu_xid_unresolved": "gpumon_gpu_xid_events_total",
    "gpumon_nvswitch_sxid_errors_total": _KERNEL_LOG,
    "gpumon_nvswitch_sxid_last_timestamp_seconds": _KERNEL_LOG,
    "gpumon_nvswitch_sxid_unresolved": _KERNEL_LOG,
    "gpumon_unattributed_xids": _KERNEL_LOG,
    "gpumon_gpu_energy_suspect": 'gpumon_gpu_energy_info{method="counter"}',
    "gpumon_job_gpu_share": _JOBS,
    "gpumon_job_info": _JOBS,
    "gpumon_job_gpus": _JOBS,
    "gpumon_job_idle_gpus": _JOBS,
    "gpumon_job_power_watts": _JOBS,
    "gpumon_job_activity_ratio": _JOBS,
}
"""Series that there are only once something has happened, or that say nothing by themselves, and
what shows that they would come."""

_TARGET = frozenset({"job", *TARGET})
"""Labels of the target: no matter of what a node serves."""

_TOKEN = re.compile(
    r"""
    (?P<text>"(?:[^"\\]|\\.)*")
  | (?P<labels>\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\})
  | (?P<range>\[[^\]]*\])
  | (?P<name>[A-Za-z_][A-Za-z0-9_:]*)
  | (?P<mark>[(),])
  | (?P<other>[^\s(),{}\[\]"A-Za-z_]+)
    """,
    re.VERBOSE,
)
_MATCHER = re.compile(r'\s*([a-z_]+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*,?')
_GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"bool", "offset", "and", "or", "unless"})


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Selector:
    """A metric and what its labels must be, as (label, operator, value)."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        """Return it as PromQL."""
        inner = ",".join(f'{label}{sign}"{value}"' for label, sign, value in self.matchers)
        return f"{self.metric}{{{inner}}}" if inner else self.metric

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Return whether a series of this metric with these labels is meant."""
        return all(_fits(labels.get(k, ""), sign, value) for k, sign, value in self.matchers)


def _fits(value: str, sign: str, wanted: str) -> bool:
    same = re.fullmatch(wanted, value) is not None if "~" in sign else value == wanted
    return same is not sign.startswith("!")


Need = frozenset[Selector]
"""Selectors that must all have a series."""

_NOTHING: tuple[Need, ...] = (frozenset(),)


def needs(groups: Sequence[RuleGroup]) -> dict[str, tuple[Need, ...]]:
    """Return what each alert reads of a node, by its name: one of these needs must be met.

    An alert that can always fire (it reads what every agent serves, or nothing of a node) is left
    out.
    """
    recorded = {r.record: r.expr for g in groups for r in g.rules if isinstance(r, RecordingRule)}
    alerts = [rule for group in groups for rule in group.rules if isinstance(rule, Alert)]
    found = {alert.alert: _Reader(recorded).needs(alert.expr) for alert in alerts}
    return {name: need for name, need in found.items() if frozenset() not in need}


class _Reader:
    """Reads expressions; ``recorded`` are those of recorded series, by their name."""

    def __init__(self, recorded: Mapping[str, str]) -> None:
        self._recorded = recorded
        self._open: list[str] = []

    def needs(self, expr: str) -> tuple[Need, ...]:
        """Return the needs of which one must be met, the smallest ones only."""
        found = self._any(list(_tokens(expr)))
        return tuple(n for n in dict.fromkeys(found) if not any(other < n for other in found))

    def _any(self, parts: Sequence[str]) -> list[Need]:
        """Read what ``or`` joins."""
        return [need for part in _split(parts, "or") for need in self._all(part)]

    def _all(self, parts: Sequence[str]) -> list[Need]:
        """Read what ``and`` joins, without what ``unless`` takes away."""
        found = list(_NOTHING)
        for part in _split(parts, "and"):
            found = _both(found, self._values(next(iter(_split(part, "unless")))))
        return found

    def _values(self, parts: Sequence[str]) -> list[Need]:
        """Read selectors, calls and what is in parentheses: all of them are needed."""
        found, place = list(_NOTHING), 0
        while place < len(parts):
            word = parts[place]
            place += 1
            if word == "(":
                end = _closing(parts, place)
                for argument in _split(parts[place:end], ","):
                    found = _both(found, self._any(argument))
                place = end + 1
            elif word[0].isalpha() and word not in _WORDS and parts[place : place + 1] != ["("]:
                labels = "".join(t for t in parts[place : place + 1] if t.startswith("{"))
                found = _both(found, self._series(word, labels))
        return found

    def _series(self, name: str, labels: str) -> list[Need]:
        if name in self._recorded:
            if name in self._open:
                return []  # its own past: nothing comes of it alone
            self._open.append(name)
            found = list(self.needs(self._recorded[name]))
            self._open.pop()
            return found
        selector = _of_node(name, labels)
        return list(_NOTHING) if selector is None else [frozenset({selector})]


def _of_node(name: str, labels: str) -> Selector | None:
    """Return what a node must serve for a selector to find something; None for nothing of it."""
    metric = _metrics().get(name)
    if metric is None or name in ALWAYS or name.startswith("gpumon_site_"):
        return None
    if name in _BORN_LATER:
        name, _, labels = _BORN_LATER[name].partition("{")
        return Selector(name, tuple(_matchers(labels)))
    matchers = [m for m in _matchers(labels) if m[0] not in _TARGET]
    if metric.states:  # of some only the state that holds is served
        matchers = [m for m in matchers if m[0] != metric.labels[-1]]
    if metric.kind is Kind.INFO:  # what it says is the condition; that it says something, the need
        matchers = [(label, "!=", "") for label, _, _ in matchers]
    return Selector(name, tuple(matchers))


def _matchers(labels: str) -> Iterator[tuple[str, str, str]]:
    yield from _MATCHER.findall(labels.strip("{}"))


@functools.cache
def _metrics() -> Mapping[str, Metric]:
    return {metric.name: metric for _, metric in rows(Tier.FULL)}


def _tokens(expr: str) -> Iterator[str]:
    """Yield the parts of an expression, without texts, ranges and lists of labels to join on."""
    found = [m for m in _TOKEN.finditer(expr) if m.lastgroup not in ("text", "range")]
    grouping = depth = 0
    for match in found:
        word = match.group()
        if grouping:
            depth += (word == "(") - (word == ")")
            if depth == 0 and word == ")":
                grouping = 0
            if depth or word == ")":
                continue
            grouping = 0  # group_left without its list
        if match.lastgroup == "name" and word in _GROUPING:
            grouping = 1
        else:
            yield word


def _split(parts: Sequence[str], at: str) -> Iterator[Sequence[str]]:
    """Yield the parts of parts between those of one kind that are in no parentheses."""
    depth = begin = 0
    for place, word in enumerate(parts):
        depth += (word == "(") - (word == ")")
        if word == at and depth == 0:
            yield parts[begin:place]
            begin = place + 1
    yield parts[begin:]


def _closing(parts: Sequence[str], begin: int) -> int:
    depth = 1
    for place in range(begin, len(parts)):
        depth += (parts[place] == "(") - (parts[place] == ")")
        if depth == 0:
            return place
    raise ValueError("a parenthesis is not closed")


def _both(some: Iterable[Need], others: Sequence[Need]) -> list[Need]:
    return list(dict.fromkeys(one | other for one in some for other in others))


def deaf_nodes(groups: Sequence[RuleGroup], by: str = "cluster") -> str:
    """Return the PromQL that counts, by some labels and alert, nodes on which it cannot fire.

    Nodes without GPUs, and agents that do not respond, are not counted.
    """
    return "\nor\n".join(
        f'label_replace({_deaf(need, by)}, "alert", "{alert}", "", "")'
        for alert, need in needs(groups).items()
    )


def _deaf(need: Sequence[Need], by: str) -> str:
    met = "".join(
        f" unless on (cluster, instance) ({' and on (cluster, instance) '.join(all_of)})"
        for all_of in (sorted(map(str, one)) for one in need)
    )
    return f"count by ({by}) (max by ({by}, instance) (gpumon_gpus) > 0{met})"


def words(need: Sequence[Need]) -> str:
    """Say what an alert needs: ``a and b, or c``."""
    return ", or ".join(" and ".join(sorted(map(str, one))) for one in need)
