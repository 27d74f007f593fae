"""Whether a Prometheus is as the rules assume: each member of a level once, each rule once.

The rules count a node by its labels. If a node has two sets of them, or if two servers record the
same level into one store, sums are too high and nothing else looks wrong. The questions are made of
the levels, both for what is recorded (``recordings``) and for a command that asks (``problems``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gpumon import __version__
from gpumon.errors import UnavailableError
from gpumon.prometheus.api import Series
from gpumon.rules.layers import Layer
from gpumon.rules.levels import NODE, PLACE, Levels
from gpumon.rules.model import Alert, RecordingRule, Rule, RuleGroup
from gpumon.thresholds import Thresholds

RULES = "rules:gpumon_build:info"
"""The series that says of which release the rules are, and of which thresholds (``digest``)."""

DOUBLED = "level:gpumon_members_doubled:count"
"""The series that says, by ``level``, how many of its members have several series."""

BY_THRESHOLDS = "cluster:gpumon_nodes_by_thresholds:count"
"""Nodes by the digest of their thresholds."""

BY_THRESHOLDS_OF_RACK = "rack_digest:gpumon_nodes:count"
"""The same of each rack, from which it is made."""

TARGET = "target"
BOARD = "GPU"

Ask = Callable[[str], Sequence[Series]]
"""Returns the vector of a query now."""


@dataclasses.dataclass(frozen=True, slots=True)
class Level:
    """A level, the series of which each member has one, and the labels by which it is known.

    ``recorded`` is whether doubled members are counted by a rule, too: what is made of racks is
    three steps from the agents already.
    """

    name: str
    series: str
    labels: tuple[str, ...]
    recorded: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """What is not as the rules assume, and what to do; ``wrong`` if numbers are wrong by it."""

    what: str
    next_step: str
    wrong: bool = True


def levels(of: Levels) -> tuple[Level, ...]:
    """Return the levels whose members are looked at: targets, nodes, and all above them."""
    node = ("cluster", NODE)
    return (
        Level(TARGET, 'up{job="gpumon"}', node),
        Level(NODE, f"{NODE}:gpumon_gpus:count", node),
        *(
            Level(one.name, f"{one.name}:gpumon_gpus:count", one.labels, one.below == NODE)
            for one in of.levels
        ),
    )


def _boards() -> Level:
    """Return GPUs as members: a node that is scraped under two addresses has each of them twice."""
    by = f"max by (uuid, cluster, {NODE})"
    return Level(BOARD, f'{by} (gpumon_gpu_info{{uuid!=""}})', ("uuid",))


def _several(level: Level) -> str:
    """Return the PromQL of the members that have several series."""
    return f"count by ({', '.join(level.labels)}) ({level.series}) > 1"


def recordings(thresholds: Thresholds) -> tuple[Rule, ...]:
    """Return the rules that record how this Prometheus fits them."""
    by = ", ".join((*PLACE, "cluster"))
    counts = (
        f'label_replace(count({_several(one)}), "level", "{one.name}", "", "")'
        for one in levels(Levels(thresholds.levels))
        if one.recorded
    )
    node = f"max by ({by}, {NODE}, digest) (gpumon_thresholds_info)"
    return (
        RecordingRule(record=RULES, expr=_labelled(digest=thresholds.digest, version=__version__)),
        RecordingRule(record=BY_THRESHOLDS_OF_RACK, expr=f"count by ({by}, digest) (\n  {node}\n)"),
        RecordingRule(
            record=BY_THRESHOLDS,
            expr=f"sum by (cluster, digest) ({BY_THRESHOLDS_OF_RACK})",
            layer=Layer.SITE,
        ),
        RecordingRule(record=DOUBLED, expr="\nor\n".join(counts), layer=Layer.SITE),
    )


def _labelled(**labels: str) -> str:
    expr = "vector(1)"
    for name, value in labels.items():
        expr = f'label_replace({expr}, "{name}", "{value}", "", "")'
    return expr


def problems(of: Levels, ask: Ask) -> Iterator[Problem]:
    """Yield what this Prometheus's series say: members that are doubled, other thresholds."""
    yield from _doubled(of, ask)
    yield from _thresholds(ask)


def _doubled(of: Levels, ask: Ask) -> Iterator[Problem]:
    own = {*of.target} - {"cluster", NODE}
    split = False
    for level in levels(of):
        for one in _doubles(level, ask):
            names = own & {*one.values}
            if level.name == TARGET:
                split |= bool(names)
                yield _split(one, names) if names else _replica(one)
            elif level.name != NODE or not (split and names):  # the node's targets are named
                yield _level(level, one)
    for one in _doubles(_boards(), ask):
        yield Problem(
            f"{_count(one.members, 'GPU has', 'GPUs have')} several addresses: {_values(one)}, "
            f"such as {one.example}; every sum counts each several times",
            "scrape each node once: remove its other target from scrape_configs",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Double:
    """Members whose series differ by the same labels: how many, an example, and its values."""

    members: int
    example: str
    values: Mapping[str, tuple[str, ...]]


def _doubles(level: Level, ask: Ask) -> list[_Double]:
    on = ", ".join(level.labels)
    members: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for series in ask(f"{level.series} and on ({on}) ({_several(level)})"):
        key = tuple(series.labels.get(label, "") for label in level.labels)
        members.setdefault(key, []).append(series.labels)
    found: dict[tuple[str, ...], list[tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]]]] = {}
    for key, all_of in sorted(members.items()):
        values = _differences(all_of)
        found.setdefault(tuple(values), []).append((key, values))
    return [
        _Double(len(alike), _called(level, alike[0][0]), alike[0][1]) for alike in found.values()
    ]


def _differences(all_of: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the labels by which series differ, each with its values; none is empty text."""
    names = sorted({name for labels in all_of for name in labels} - {"__name__"})
    values = {name: sorted({labels.get(name, "") for labels in all_of}) for name in names}
    return {name: tuple(texts) for name, texts in values.items() if len(texts) > 1}


def _called(level: Level, key: Sequence[str]) -> str:
    pairs = zip(level.labels, key, strict=True)
    return " ".join(f"{name}={text}" for name, text in pairs if text) or f"the {level.name}"


def _values(one: _Double) -> str:
    texts = (
        f"{name} is {' or '.join(text or 'absent' for text in values)}"
        for name, values in one.values.items()
    )
    return ", ".join(texts)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _replica(one: _Double) -> Problem:
    return Problem(
        f"{_count(one.members, 'node is', 'nodes are')} scraped several times: {_values(one)}, "
        f"such as {one.example}; the rules count each once, your own queries count it several "
        "times",
        f"have the store remove duplicates by {', '.join(one.values)}, or scrape each node once",
        wrong=False,
    )


def _split(one: _Double, names: set[str]) -> Problem:
    them = ", ".join(sorted(names))
    return Problem(
        f"{_count(one.members, 'node has', 'nodes have')} several targets: {_values(one)}, such "
        f"as {one.example}; every level counts each several times",
        f"scrape each node once, or give its targets the same {them}",
    )


def _level(level: Level, one: _Double) -> Problem:
    what = (
        f"level {level.name}: {_count(one.members, 'member has', 'members have')} several series: "
        f"{_values(one)}, such as {one.example}; what is made of them is too high"
    )
    if "job" in one.values:
        step = "rules of an older release are loaded too: remove their files"
    else:
        step = (
            "let one server record each level (gpumon rules export --layer), "
            f"or have the store remove duplicates by {', '.join(one.values)}"
        )
    return Problem(what, step)


def _thresholds(ask: Ask) -> Iterator[Problem]:
    """Yield nodes that judge by other thresholds than the rules do."""
    ours = sorted({series.labels.get("digest", "") for series in ask(RULES)})
    nodes = {
        series.labels.get("digest", ""): round(series.points[0][1])
        for series in ask(f"sum by (digest) ({BY_THRESHOLDS})")
    }
    export = "run gpumon rules export --thresholds with the nodes' file"
    if not ours:
        yield Problem(
            f"which thresholds the rules have is not known: there is no {RULES}",
            "export this version's rules to it: gpumon rules export",
            wrong=False,
        )
    elif len(ours) > 1:
        yield Problem(f"rules of different thresholds are loaded ({', '.join(ours)})", export)
    else:
        others = {digest: count for digest, count in nodes.items() if digest not in ours}
        if others:
            yield Problem(
                f"{_count(sum(others.values()), 'node has', 'nodes have')} other thresholds "
                f"({', '.join(sorted(others))}) than the rules ({ours[0]})",
                f"give all nodes the same file (thresholds in gpumon.toml), or {export}",
            )


def loaded_twice(
    groups: Sequence[RuleGroup], loaded: Sequence[Mapping[str, Any]]
) -> Iterator[Problem]:
    """Yield the rules of gpumon that a Prometheus evaluates several times.

    ``loaded`` are its groups as /api/v1/rules lists them.
    """
    ours = {_name(rule): rule.layer for group in groups for rule in group.rules}
    places: dict[str, set[tuple[str, str]]] = {}
    for group in loaded:
        for rule in group.get("rules") or ():
            if rule.get("name") in ours:
                place = (str(group.get("file", "")), str(group.get("name", "")))
                places.setdefault(rule["name"], set()).add(place)
    several = {name: sorted(found) for name, found in places.items() if len(found) > 1}
    if not several:
        return
    name, found = min(several.items())
    where = " and ".join(dict.fromkeys(file or group for file, group in found))
    what = f"{_count(len(several), 'rule is', 'rules are')} loaded several times, such as {name}"
    both = all(ours[name] == Layer.EACH for name in several)
    yield Problem(
        f"{what} (in {where})",
        "the layers node and site are both here: export --layer all for one server"
        if both
        else "remove the files of the other export",
    )


def _name(rule: Rule) -> str:
    return rule.alert if isinstance(rule, Alert) else rule.record


@dataclasses.dataclass(frozen=True, slots=True)
class Fit:
    """What is not as the rules assume, and what could not be asked (a line, or nothing)."""

    found: tuple[Problem, ...]
    unasked: str = ""

    @property
    def wrong(self) -> bool:
        """Whether numbers are wrong by one of them."""
        return any(problem.wrong for problem in self.found)

    @property
    def verdict(self) -> str:
        """One line on what was looked at."""
        return f"targets, levels, rules and thresholds checked: {len(self.found)} problems"


def fit(
    groups: Sequence[RuleGroup],
    of: Levels,
    ask: Ask,
    loaded: Callable[[], Sequence[Mapping[str, Any]]],
) -> Fit:
    """Return how a Prometheus fits the rules.

    ``loaded`` returns its groups of rules; a store without rules of its own raises
    UnavailableError, and the rest is found all the same. Raises UnavailableError if ``ask`` does.
    """
    found = list(problems(of, ask))
    try:
        found += loaded_twice(groups, loaded())
    except UnavailableError as error:
        return Fit(tuple(found), f"whether rules are loaded twice is not known: {error.problem}")
    return Fit(tuple(found))
