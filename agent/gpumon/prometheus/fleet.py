"""A whole fleet out of its Prometheus: what fires, who is worst off, and each rack's numbers.

It asks for recorded series only (docs/alerting.md), so that ten thousand nodes are answered as soon
as ten.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping

from gpumon.errors import UnavailableError
from gpumon.prometheus.api import PrometheusApi, Series

ANSWER_SECONDS = 10.0
"""How long Prometheus may take for a question; it takes milliseconds."""

QUANTITIES = {
    "agents": "gpumon_agents:count",
    "agents_up": "gpumon_agents_up:sum",
    "gpus_expected": "gpumon_gpus_expected:sum",
    "gpus_silent": "gpumon_gpus_silent:sum",
    "gpus_up": "gpumon_gpus_up:sum",
    "gpus_released": "gpumon_gpus_released:sum",
    "gpus_held": "gpumon_gpus_held:count",
    "gpus_active": "gpumon_gpus_active:count",
    "gpus_hot": "gpumon_gpus_hot:count",
    "power_watts": "gpumon_known_power_watts:sum",
    "utilization_ratio": "gpumon_gpu_utilization_ratio:avg",
    "activity_ratio": "gpumon_gpu_activity_ratio:avg",
    "temperature_margin_celsius": "gpumon_gpu_temperature_margin_celsius:min",
}
"""What is shown of a cluster and of a rack, and the recorded series that has it."""

SEVERITIES = ("critical", "warning", "info")
"""Of alerts, the worst first."""


@dataclasses.dataclass(frozen=True, slots=True)
class PlaceSummary:
    """A cluster or a rack: its labels, and what is known of it by QUANTITIES' words."""

    labels: Mapping[str, str]
    values: Mapping[str, float]

    def value(self, name: str) -> float:
        """Return a number, 0 if nothing is known."""
        return self.values.get(name, 0.0)

    @property
    def expected(self) -> float:
        """GPUs that should be there, those behind agents that do not answer included."""
        return self.value("gpus_expected") + self.value("gpus_silent")

    @property
    def missing(self) -> float:
        """GPUs that neither answer nor were released on purpose."""
        return max(0.0, self.expected - self.value("gpus_up") - self.value("gpus_released"))


@dataclasses.dataclass(frozen=True, slots=True)
class TroubledNode:
    """A node that is not well: how badly, and how many of each trouble."""

    labels: Mapping[str, str]
    score: float
    troubles: Mapping[str, float]

    @property
    def name(self) -> str:
        """The node's name, else the address at which Prometheus scrapes it."""
        return self.labels.get("node") or self.labels.get("instance", "")


@dataclasses.dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires: how often, and the places it names."""

    alert: str
    severity: str
    count: int
    places: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Fleet:
    """All that is shown of a fleet at a time (unix seconds); the worst of each comes first."""

    time: float
    simulated: bool
    clusters: tuple[PlaceSummary, ...]
    racks: tuple[PlaceSummary, ...]
    nodes: tuple[TroubledNode, ...]
    alerts: tuple[Firing, ...]
    budgets: Mapping[str, float]


def read(api: PrometheusApi) -> Fleet:
    """Ask for a fleet; UnavailableError if there is no answer, or nothing of gpumon in it."""
    now = time.time()
    clusters = _places(api.instant(_select("cluster"), now), "cluster")
    if not clusters:
        raise UnavailableError(
            f"{api.url} has none of gpumon's recorded series",
            "load its rules there (gpumon rules export), and let it scrape the agents",
        )
    racks = _places(api.instant(_select("rack"), now), "rack")
    return Fleet(
        time=now,
        simulated=bool(api.instant('cluster:gpumon_agents_by_source:count{source="sim"}', now)),
        clusters=tuple(sorted(clusters, key=lambda place: (-place.missing, str(place.labels)))),
        racks=tuple(sorted(racks, key=_rack_rank)),
        nodes=_nodes(
            api.instant("instance:gpumon_troubles:score", now),
            api.instant("instance:gpumon_troubles:count", now),
        ),
        alerts=_alerts(api.instant(_ALERTS, now)),
        budgets={
            each.labels.get("cluster", ""): _value(each) for each in api.instant(_BUDGETS, now)
        },
    )


_ALERTS = (
    "count by (alertname, severity, cluster, hall, rack, node, instance, job_id) "
    '(ALERTS{alertstate="firing",alertname!="Watchdog"})'
)
_BUDGETS = (
    'max by (cluster) (budget:gpumon_power_used:ratio{level="site"}'
    " * on (site) group_right () group by (site, cluster) (instance:gpumon_gpus:count))"
)
"""How much of its site's budget is used, for each cluster: no budget is a cluster's own."""


def _select(level: str) -> str:
    names = "|".join(QUANTITIES.values())
    return f'{{__name__=~"{level}:({names})"}}'


def _value(series: Series) -> float:
    return series.points[-1][1]


def _places(found: Iterable[Series], level: str) -> list[PlaceSummary]:
    """Put the series of each cluster or rack together."""
    words_of = {f"{level}:{name}": word for word, name in QUANTITIES.items()}
    places: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for series in found:
        where = {k: v for k, v in series.labels.items() if k != "__name__"}
        values = places.setdefault(tuple(sorted(where.items())), {})
        values[words_of[series.labels["__name__"]]] = _value(series)
    return [PlaceSummary(dict(where), values) for where, values in places.items()]


def _rack_rank(rack: PlaceSummary) -> tuple[float, float, float, str]:
    margin = rack.values.get("temperature_margin_celsius", float("inf"))
    return -rack.missing, -rack.value("gpus_hot"), margin, str(sorted(rack.labels.items()))


def _nodes(scores: Iterable[Series], counts: Iterable[Series]) -> tuple[TroubledNode, ...]:
    def key(series: Series) -> tuple[str, str]:
        return series.labels.get("cluster", ""), series.labels.get("instance", "")

    troubles: dict[tuple[str, str], dict[str, float]] = {}
    for series in counts:
        troubles.setdefault(key(series), {})[series.labels["trouble"]] = _value(series)
    nodes = [
        TroubledNode(
            {k: v for k, v in series.labels.items() if k != "__name__"},
            _value(series),
            troubles.get(key(series), {}),
        )
        for series in scores
    ]
    return tuple(sorted(nodes, key=lambda node: (-node.score, node.name)))


def _alerts(found: Iterable[Series]) -> tuple[Firing, ...]:
    order = {severity: number for number, severity in enumerate(SEVERITIES)}
    counts: dict[tuple[str, str], int] = {}
    places: dict[tuple[str, str], dict[str, None]] = {}
    for series in found:
        labels = series.labels
        key = labels.get("alertname", ""), labels.get("severity", "")
        counts[key] = counts.get(key, 0) + int(_value(series))
        place = next((labels[n] for n in _PLACE if labels.get(n)), "")
        if place:
            places.setdefault(key, {})[place] = None
    firing = [
        Firing(alert, severity, count, tuple(sorted(places.get((alert, severity), ()))))
        for (alert, severity), count in counts.items()
    ]
    return tuple(sorted(firing, key=lambda f: (order.get(f.severity, 9), -f.count, f.alert)))


_PLACE = ("node", "instance", "job_id", "rack", "hall", "cluster")
"""The place of an alert, by the narrowest label that it has."""
