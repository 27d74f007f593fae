"""Small fleets for promtool: what agents and `gpumon site` expose, and what rules make of it."""

from __future__ import annotations

import dataclasses
import functools
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from gpumon.rules.fit import DOUBLED
from tests.rules.test_odd_identities import exposition
from tests.rules.test_promtool import RULES, groups

Labels = tuple[tuple[str, str], ...]
"""The labels of a series, its name among them, in order."""

MINUTES = 25
"""Long enough for alerts that wait a quarter of an hour, and for the slowest group, twice."""

_SAMPLE = re.compile(r"\{([^}]*)\} (\S+?)(?:, |$)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Node:
    """A node: the labels of its target, what it draws (watts), and its GPUs' uuids."""

    target: Mapping[str, str]
    watts: float = 1000.0
    uuids: tuple[str, ...] = ("GPU-a", "GPU-b")

    def at(self, *names: str) -> Labels:
        """Return the labels by which it counts at a level."""
        return tuple(sorted((n, self.target[n]) for n in names if self.target.get(n)))


@dataclasses.dataclass(frozen=True)
class Fleet:
    """Nodes, and how they are scraped.

    ``budgets`` are watts by (site, level, name). ``more`` are labels that nobody thought of, for
    each node in turn; ``replicas`` the values of a label that several who scrape the same put on.
    """

    nodes: tuple[Node, ...]
    budgets: Mapping[tuple[str, str, str], float] = dataclasses.field(default_factory=dict)
    more: tuple[Mapping[str, str], ...] = ({},)
    replicas: tuple[str, ...] = ("",)

    @property
    def plain(self) -> Fleet:
        """The same nodes, scraped once and with no further labels."""
        return Fleet(self.nodes, self.budgets)

    def series(self) -> Iterator[dict[str, str]]:
        """Yield all series as promtool takes them; counters grow by the minute."""
        for number, node in enumerate(self.nodes):
            more = self.more[number % len(self.more)]
            for replica in self.replicas:
                scraped = {"job": "gpumon", **node.target, **more, **_named(replica)}
                yield from _of_node(node, scraped)
        for replica in self.replicas:
            yield from self._of_site({**self.more[0], **_named(replica)})

    def _of_site(self, more: Mapping[str, str]) -> Iterator[dict[str, str]]:
        own = {"job": "gpumon-site", "instance": "site:9843", **more}
        for (site, level, name), watts in self.budgets.items():
            labels = {**own, "site": site, "level": level, "name": name}
            yield _series("gpumon_site_power_budget_watts", labels, watts)
        for site in sorted({node.target.get("site", "") for node in self.nodes}):
            yield _series("gpumon_site_pue_ratio", {**own, "site": site}, 1.25)
            price = "gpumon_site_energy_price_per_kilowatt_hour"
            yield _series(price, {**own, "site": site, "currency": "EUR"}, 0.2)


def _named(replica: str) -> dict[str, str]:
    return {"replica": replica} if replica else {}


def _of_node(node: Node, target: Mapping[str, str]) -> Iterator[dict[str, str]]:
    yield _series("up", target, 1)
    whole = {**target, "method": "measured", "source": "bmc"}
    yield _series("gpumon_node_power_watts", whole, node.watts)
    for name, labels, value in _exposed(node.uuids):
        watts = node.watts / 2 if name == "gpumon_node_gpu_power_watts" else value
        # What the target has goes before what the agent says, as with honor_labels: false.
        yield _series(name, {**dict(labels), **target}, watts, _growth(name))


def _growth(name: str) -> int:
    """Return by how much a series grows in a minute: what has just happened is news."""
    return 60 if name.endswith("_timestamp_seconds") else int(name.endswith("_total"))


@functools.cache
def _exposed(uuids: tuple[str, ...]) -> tuple[tuple[str, Labels, float], ...]:
    return tuple(
        (sample.name, tuple(sample.labels.items()), sample.value)
        for family in text_string_to_metric_families(exposition(uuids))
        for sample in family.samples
    )


def _series(name: str, labels: Mapping[str, str], value: float, growth: int = 0) -> dict[str, str]:
    text = ",".join(f'{key}="{word}"' for key, word in labels.items() if word)
    return {"series": f"{name}{{{text}}}", "values": f"{value:g}+{growth}x{MINUTES}"}


def evaluate(
    promtool: str, fleets: Sequence[Fleet], folder: Path, rules: Path = RULES
) -> list[dict[Labels, float]]:
    """Return what is recorded of each fleet, and what fires, after all rules ran for a while.

    promtool prints what it finds where it was told to expect nothing; a rule that fails is an
    AssertionError.
    """
    asked = '{__name__=~"[a-z_]+:gpumon.+|ALERTS"}'
    document = {
        "rule_files": [str(path) for path in sorted(rules.glob("*.yml"))],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in groups()],
        "tests": [
            {
                "name": f"fleet {number}",
                "interval": "1m",
                "input_series": list(fleet.series()),
                "promql_expr_test": [{"expr": asked, "eval_time": f"{MINUTES}m"}],
            }
            for number, fleet in enumerate(fleets)
        ],
    }
    file = folder / "fleets.yml"
    file.write_text(yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
    found = vectors(promtool, file)
    assert len(found) == len(fleets)
    return found


def vectors(promtool: str, file: Path) -> list[dict[Labels, float]]:
    """Return what promtool finds for each expression of which a file expects nothing.

    An empty vector is what was expected, and is left out; a rule that fails is an AssertionError.
    """
    done = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    found = [dict(_samples(line)) for line in said.splitlines() if line.strip().startswith("got:")]
    assert found, said[:3000]
    assert all(found), said[:3000]
    return found


def _samples(line: str) -> Iterator[tuple[Labels, float]]:
    for labels, value in _SAMPLE.findall(line.partition("got: ")[2]):
        yield tuple(sorted(_LABEL.findall(labels))), float(value)


def of(found: Mapping[Labels, float], name: str) -> dict[Labels, float]:
    """Return the series of a name, by their other labels."""
    return {
        tuple(pair for pair in labels if pair[0] != "__name__"): value
        for labels, value in found.items()
        if ("__name__", name) in labels
    }


def without_doubled(found: Mapping[Labels, float]) -> dict[Labels, float]:
    """Return what is recorded, but not what says that members have several series."""
    name = ("__name__", DOUBLED)
    return {labels: value for labels, value in found.items() if name not in labels}


def firing(found: Mapping[Labels, float]) -> list[dict[str, str]]:
    """Return the labels of the alerts that fire."""
    return [
        dict(labels)
        for labels in found
        if {("__name__", "ALERTS"), ("alertstate", "firing")} <= {*labels}
    ]


def added(nodes: Iterable[Node], level: Sequence[str], what: str) -> dict[Labels, float]:
    """Return what a level must have: by hand, not by a rule."""
    sums: dict[Labels, float] = {}
    for node in nodes:
        each = node.watts if what == "watts" else len(node.uuids)
        sums[node.at(*level)] = sums.get(node.at(*level), 0.0) + each
    return sums
