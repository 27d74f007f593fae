"""What every dashboard has: variables, the banner of simulated data, rows, and panel numbers."""

from __future__ import annotations

import dataclasses

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import TimeZoneBrowser
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    GridPos,
    Panel,
    RowPanel,
    VariableHide,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards import panels, style
from dashboards.panels import SOURCE, Size, Text
from dashboards.promql import CLUSTER, JOB, aggregate, node

SCHEMA_VERSION = 38
"""Grafana 9.5's. Later ones bring an older schema up to theirs; none goes the other way."""

DATA_SOURCE = VariableOption(text="gpumon", value="gpumon-prometheus")
"""The provisioned data source (deploy/grafana); elsewhere Grafana takes the first it has."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


def node_variables() -> list[Builder[VariableModel]]:
    """Return the variables that choose one node: data source, cluster, instance.

    Targets need not have a ``cluster``, so its "All" matches everything. Nodes are found by
    Prometheus's own ``up``: one whose agent never answered is there too.
    """
    source = (
        builders.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(DATA_SOURCE)
    )
    cluster = (
        _label_values("cluster", JOB)
        .label("Cluster")
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
    )
    instance = _label_values("instance", CLUSTER).label("Node")
    return [source, cluster, instance]


def _label_values(label: str, matchers: str) -> builders.QueryVariable:
    query = f"label_values(up{{{matchers}}}, {label})"
    return (
        builders.QueryVariable(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"{label}-values"})
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .hide(VariableHide.DONT_HIDE)
    )


def banner() -> Panel:
    """Return the strip that says whether hardware was measured."""
    sim, replay = (
        aggregate("count", node("gpumon_source_info", source=word)) for word in ("sim", "replay")
    )
    expr = sim | 2 * replay | 0 * aggregate("count", node("gpumon_source_info"))
    return panels.value(
        Text(
            "Where these numbers come from",
            "Measured: read from this node's driver. Simulated and replayed numbers look like "
            "the real ones; never take them for a machine's.",
        ),
        Size(24, 3),
        {"source": expr},
        states={
            0: style.State("measured on this node's GPUs", style.WELL),
            1: style.State("SIMULATED: no hardware was measured", style.BAD),
            2: style.State("REPLAY: a recording, not this node now", style.WARNING),
        },
        absent="no agent answers",
    )


def simulated_annotation() -> builders.AnnotationQuery:
    """Return the mark across every graph over the time in which the data was simulated."""
    return (
        builders.AnnotationQuery()
        .name("Simulated")
        .datasource(SOURCE)
        .enable(enable=True)
        .icon_color(style.BAD)
        .expr(node("gpumon_source_info", source="sim").text)
        .step("60s")
        .title_format("SIMULATED: no hardware was measured")
    )


def assemble(builder: builders.Dashboard, rows: tuple[Row, ...]) -> Dashboard:
    """Return a dashboard of rows, under the banner, with what every one of ours has."""
    dashboard = (
        builder.tags(["gpumon"])
        .editable()
        .timezone(TimeZoneBrowser)
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .annotation(simulated_annotation())
        .build()
    )
    dashboard.schema_version = SCHEMA_VERSION
    dashboard.panels = [*_placed(rows)]
    return dashboard


def _placed(rows: tuple[Row, ...]) -> list[Panel | RowPanel]:
    """Number the panels, and lay them out from left to right and from top to bottom."""
    top = banner()
    placed: list[Panel | RowPanel] = [top]
    assert top.grid_pos is not None
    y = top.grid_pos.h
    for row in rows:
        heading = builders.Row(row.title).build()
        heading.grid_pos = _at(0, y, 24, 1)
        placed.append(heading)
        x, y, height = 0, y + 1, 0
        for panel in row.panels:
            assert panel.grid_pos is not None
            width = panel.grid_pos.w
            if x + width > 24:
                x, y, height = 0, y + height, 0
            height = max(height, panel.grid_pos.h)
            panel.grid_pos = _at(x, y, width, panel.grid_pos.h)
            x += width
            placed.append(panel)
        y += height
    for number, panel_or_row in enumerate(placed, start=1):
        panel_or_row.id_val = number
    return placed


def _at(x: int, y: int, width: int, height: int) -> GridPos:
    return GridPos(x=x, y=y, w=width, h=height)
