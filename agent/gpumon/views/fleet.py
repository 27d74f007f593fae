"""A whole fleet out of its Prometheus: what fires, who is worst off, and each rack's numbers.

It asks for recorded series only (docs/alerting.md), so that ten thousand nodes are answered as soon
as ten.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gpumon.errors import UnavailableError, UsageError
from gpumon.promapi import PrometheusApi, Series
from gpumon.serialize import SCHEMA
from gpumon.times import format_time
from gpumon.views import words
from gpumon.views.console import SIMULATED, make_console, put

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
"""What is told of a cluster and of a rack, and the recorded series that has it."""

TROUBLES = {
    "missing": "missing",
    "to_repair": "repair",
    "hot": "hot",
    "nvlinks_down": "NVLinks",
    "pcie_narrow": "PCIe",
    "xids": "Xids",
    "row_remap": "rows",
}
"""The kinds of trouble a node can have, and their headings."""

SEVERITIES = {"critical": "bold red", "warning": "yellow", "info": ""}

MOST_PLACES = 3
"""An alert is told with no more places than these; the count is of all."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A cluster or a rack: its labels, and what is known of it by QUANTITIES' words."""

    labels: Mapping[str, str]
    values: Mapping[str, float]

    def value(self, name: str) -> float:
        """Return a number, 0 where nothing is known."""
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
class Node:
    """A node that is not well: how badly, and how many of each trouble."""

    labels: Mapping[str, str]
    score: float
    troubles: Mapping[str, float]

    @property
    def name(self) -> str:
        """The node's name, else where Prometheus scrapes it."""
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
    clusters: tuple[Place, ...]
    racks: tuple[Place, ...]
    nodes: tuple[Node, ...]
    alerts: tuple[Firing, ...]
    budgets: Mapping[str, float]


def read(api: PrometheusApi) -> Fleet:
    """Ask for a fleet; UnavailableError where there is no answer, or nothing of gpumon in it."""
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
_BUDGETS = 'max by (cluster) (budget:gpumon_power_used:ratio{level="site"})'


def _select(level: str) -> str:
    names = "|".join(QUANTITIES.values())
    return f'{{__name__=~"{level}:({names})"}}'


def _value(series: Series) -> float:
    return series.points[-1][1]


def _places(found: Iterable[Series], level: str) -> list[Place]:
    """Put the series of each cluster or rack together."""
    words_of = {f"{level}:{name}": word for word, name in QUANTITIES.items()}
    places: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for series in found:
        # The job is the same for all; the site's own series have none.
        where = {k: v for k, v in series.labels.items() if k not in ("__name__", "job")}
        values = places.setdefault(tuple(sorted(where.items())), {})
        values[words_of[series.labels["__name__"]]] = _value(series)
    return [Place(dict(where), values) for where, values in places.items()]


def _rack_rank(rack: Place) -> tuple[float, float, float, str]:
    margin = rack.values.get("temperature_margin_celsius", float("inf"))
    return -rack.missing, -rack.value("gpus_hot"), margin, str(sorted(rack.labels.items()))


def _nodes(scores: Iterable[Series], counts: Iterable[Series]) -> tuple[Node, ...]:
    def key(series: Series) -> tuple[str, str]:
        return series.labels.get("cluster", ""), series.labels.get("instance", "")

    troubles: dict[tuple[str, str], dict[str, float]] = {}
    for series in counts:
        troubles.setdefault(key(series), {})[series.labels["trouble"]] = _value(series)
    nodes = [
        Node(
            {k: v for k, v in series.labels.items() if k not in ("__name__", "job")},
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
"""Where an alert is, by the narrowest label that it has."""


def write(fleet: Fleet, form: str, most: int) -> None:
    """Write a fleet as ``table`` or ``json``; of nodes and racks ``most`` of each, 0 for all."""
    if form == "table":
        put(make_console(), _parts(fleet, most or None))
    elif form == "json":
        sys.stdout.write(json.dumps(_document(fleet, most or None), indent=2) + "\n")
        sys.stdout.flush()
    else:
        raise UsageError(f"-o {form} is of one node", "a fleet is a table or json")


def _document(fleet: Fleet, most: int | None) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "time": format_time(fleet.time),
        "source": "prom",
        "simulated": fleet.simulated,
        "clusters": [
            {
                **_place(place),
                "power_budget_used_ratio": fleet.budgets.get(place.labels.get("cluster", "")),
            }
            for place in fleet.clusters
        ],
        "racks": [_place(place) for place in fleet.racks[:most]],
        "nodes": [
            {**node.labels, "score": node.score, "troubles": dict(node.troubles)}
            for node in fleet.nodes[:most]
        ],
        "alerts": [dataclasses.asdict(each) for each in fleet.alerts],
    }


def _place(place: Place) -> dict[str, object]:
    values = {word: place.values.get(word) for word in QUANTITIES}
    return {**place.labels, **values, "gpus_missing": place.missing}


def _parts(fleet: Fleet, most: int | None) -> Iterator[RenderableType]:
    if fleet.simulated:
        yield SIMULATED
    for cluster in fleet.clusters:
        yield _headline(fleet, cluster)
    yield from map(_firing, fleet.alerts)
    if fleet.nodes:
        yield Text()
        yield _worst_nodes(fleet.nodes[:most])
        yield from _left_out(len(fleet.nodes), most, "nodes with a trouble")
    racks = [rack for rack in fleet.racks if rack.labels.get("rack")]
    if racks:
        yield Text()
        yield _racks(racks[:most])
        yield from _left_out(len(racks), most, "racks")


def _left_out(there: int, most: int | None, what: str) -> Iterator[Text]:
    if most is not None and there > most:
        yield Text(f"and {there - most} more {what}: --most 0 shows all", style="dim")


def _headline(fleet: Fleet, cluster: Place) -> Text:
    name = cluster.labels.get("cluster") or "the cluster"
    up, budget = cluster.value("gpus_up"), fleet.budgets.get(cluster.labels.get("cluster", ""))
    agents, answering = cluster.value("agents"), cluster.value("agents_up")
    moment = dt.datetime.fromtimestamp(fleet.time).astimezone()
    texts = [
        f"{name}: {up:,.0f} of {cluster.expected:,.0f} GPUs answer",
        f"{cluster.value('gpus_held'):,.0f} held",
        f"{cluster.value('gpus_active'):,.0f} active",
        power(cluster.values.get("power_watts"))
        + (f" ({100 * budget:.0f} % of budget)" if budget is not None else ""),
        f"{answering:,.0f} of {agents:,.0f} agents",
        f"{moment:%Y-%m-%d %H:%M:%S}",
    ]
    good = not cluster.missing and answering == agents
    return Text("  ".join(texts), style="bold" if good else "bold red")


def power(watts: float | None) -> str:
    """Return power in the unit that a rack or a site is spoken of in."""
    if watts is None:
        return words.MISSING
    for unit, size in (("MW", 1e6), ("kW", 1e3)):
        if watts >= size:
            return f"{watts / size:.2f} {unit}"
    return f"{watts:.0f} W"


def _firing(alert: Firing) -> Text:
    line = Text(f"{alert.severity:<8}  ", style=SEVERITIES.get(alert.severity, ""))
    shown = ", ".join(alert.places[:MOST_PLACES])
    more = len(alert.places) - MOST_PLACES
    where = f"  {shown}{f' and {more} more' if more > 0 else ''}" if shown else ""
    line.append(f"{alert.count:>5}  {alert.alert}{where}", style="default not bold")
    return line


def _grid(titles: Sequence[str], left: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, justify="left" if title in left else "right", no_wrap=True)
    return table


def _worst_nodes(nodes: Sequence[Node]) -> Table:
    shown = [kind for kind in TROUBLES if any(node.troubles.get(kind) for node in nodes)]
    several = len({node.labels.get("cluster") for node in nodes}) > 1
    titles = ["node", "rack", *["cluster"] * several, "score", *(TROUBLES[k] for k in shown)]
    table = _grid(titles, ("node", "rack", "cluster"))
    for node in nodes:
        table.add_row(
            Text(node.name),
            Text(node.labels.get("rack", words.MISSING)),
            *[Text(node.labels.get("cluster", words.MISSING))] * several,
            Text(f"{node.score:.0f}"),
            *(_count(node.troubles.get(kind)) for kind in shown),
        )
    return table


def _count(value: float | None) -> Text:
    return Text(words.MISSING, style="dim") if not value else Text(f"{value:.0f}", style="yellow")


def _racks(racks: Sequence[Place]) -> Table:
    titles = ("rack", "hall", "GPUs", "missing", "held", "active", "power", "util", "SM", "margin")
    table = _grid(titles, ("rack", "hall"))
    for rack in racks:
        table.add_row(
            Text(rack.labels.get("rack", words.MISSING)),
            Text(rack.labels.get("hall", words.MISSING)),
            Text(f"{rack.expected:.0f}"),
            _count(rack.missing),
            Text(f"{rack.value('gpus_held'):.0f}"),
            Text(f"{rack.value('gpus_active'):.0f}"),
            Text(power(rack.values.get("power_watts"))),
            Text(words.share(rack.values.get("utilization_ratio"))),
            Text(words.share(rack.values.get("activity_ratio"))),
            Text(words.celsius(rack.values.get("temperature_margin_celsius"))),
        )
    return table
