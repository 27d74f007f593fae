"""Alerts that cannot fire in a fleet, as a Prometheus with its series says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from gpumon.errors import UnavailableError
from gpumon.prometheus.api import Series
from gpumon.rules.feeds import deaf_nodes, needs, words
from gpumon.rules.model import RuleGroup


@dataclasses.dataclass(frozen=True, slots=True)
class Deaf:
    """An alert, what it needs in words, and on how many nodes it cannot fire."""

    alert: str
    needs: str
    nodes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Deafness:
    """The alerts that cannot fire everywhere, those with most nodes first.

    ``nodes`` is how many nodes with GPUs respond, ``alerts`` how many alerts were looked at.
    """

    found: tuple[Deaf, ...]
    nodes: int
    alerts: int

    @property
    def verdict(self) -> str:
        """One line on what was looked at."""
        return (
            f"{self.alerts} alerts checked on {self.nodes} nodes: {len(self.found)} cannot fire on"
            " one or more of them"
        )


def deaf_alerts(groups: Sequence[RuleGroup], ask: Callable[[str], Sequence[Series]]) -> Deafness:
    """Return which alerts cannot fire on which number of nodes.

    ``ask`` returns the vector of a query now. Raises UnavailableError if there is no node.
    """
    answers = ask("count(gpumon_gpus > 0)")
    nodes = int(answers[0].points[0][1]) if answers else 0
    if not nodes:
        raise UnavailableError(
            "this Prometheus has no node with GPUs", "have it scrape the agents: docs/operating.md"
        )
    wanted = needs(groups)
    counts: dict[str, int] = {}
    for series in ask(deaf_nodes(groups)):
        alert = series.labels.get("alert", "")
        counts[alert] = counts.get(alert, 0) + int(series.points[0][1])
    found = [
        Deaf(alert, words(wanted[alert]), counts[alert]) for alert in wanted if counts.get(alert)
    ]
    return Deafness(
        tuple(sorted(found, key=lambda one: -one.nodes)), nodes=nodes, alerts=len(wanted)
    )
