"""A whole fleet at a glance: the counts, what fires, the nodes worst off, and each rack."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gpumon.documents.write import json_text
from gpumon.errors import UsageError
from gpumon.prometheus.fleet import QUANTITIES, Firing, Fleet, PlaceSummary, TroubledNode
from gpumon.times import format_time
from gpumon.views import words
from gpumon.views.console import SIMULATED, make_console, put

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

_STYLES = {"critical": "bold red", "warning": "yellow"}

MOST_PLACES = 3
"""An alert is shown with no more places than these; the count is of all."""


def write(fleet: Fleet, form: str, most: int) -> None:
    """Write a fleet as ``table`` or ``json``; of nodes and racks ``most`` of each, 0 for all."""
    if form == "table":
        put(make_console(), _parts(fleet, most or None))
    elif form == "json":
        sys.stdout.write(json_text(_document(fleet, most or None)))
        sys.stdout.flush()
    else:
        raise UsageError(f"-o {form} works for one node only", "a fleet is a table or json")


def _document(fleet: Fleet, most: int | None) -> dict[str, object]:
    return {
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


def _place(place: PlaceSummary) -> dict[str, object]:
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


def _headline(fleet: Fleet, cluster: PlaceSummary) -> Text:
    name = cluster.labels.get("cluster") or "the cluster"
    up, budget = cluster.value("gpus_up"), fleet.budgets.get(cluster.labels.get("cluster", ""))
    agents, answering = cluster.value("agents"), cluster.value("agents_up")
    moment = dt.datetime.fromtimestamp(fleet.time).astimezone()
    texts = [
        f"{name}: {up:,.0f} of {cluster.expected:,.0f} GPUs respond",
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
    line = Text(f"{alert.severity:<8}  ", style=_STYLES.get(alert.severity, ""))
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


def _worst_nodes(nodes: Sequence[TroubledNode]) -> Table:
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


def _racks(racks: Sequence[PlaceSummary]) -> Table:
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
