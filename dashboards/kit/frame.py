"""What every dashboard has: variables, the banner of simulated data, rows, and panel numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import TimeZoneBrowser
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    Panel,
    RowPanel,
    VariableHide,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.kit import panels, style
from dashboards.kit.panels import SOURCE, Size, Text
from dashboards.kit.promql import CLUSTER, JOB, Expr, aggregate, fleet, node, where

SCHEMA_VERSION = 38
"""Grafana 9.5's. Later ones bring an older schema up to theirs; none goes the other way."""

DATA_SOURCE = VariableOption(text="gpumon", value="gpumon-prometheus")
"""The provisioned data source (deploy/grafana); elsewhere Grafana takes the first it has."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclasses.dataclass(frozen=True)
class Source:
    """How to ask where numbers come from: how many are ``of`` a source, and of ``every`` one.

    ``marks`` are there while data is simulated.
    """

    of: Callable[[str], Expr]
    every: Expr
    marks: Expr


def fleet_variables(*, places: bool = True) -> list[Builder[VariableModel]]:
    """Return the variables that choose clusters and sites: one, several or all.

    Targets need have neither, so "All" matches everything. What is recorded by place follows the
    site, all else the cluster. Without ``places`` nothing is, and there is no site to choose.
    """
    cluster = (
        _label_values("cluster", "cluster:gpumon_gpus:count")
        .label("Cluster")
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
    )
    site = choose("site", "site:gpumon_gpus:count", "Site", several=True)
    return [_data_source(), cluster, *([site] if places else [])]


def node_variables() -> list[Builder[VariableModel]]:
    """Return the variables that choose one node: data source, cluster, instance.

    Nodes are found by Prometheus's own ``up``: one whose agent never answered is there too.
    """
    cluster = (
        _label_values("cluster", f"up{{{JOB}}}")
        .label("Cluster")
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
    )
    return [_data_source(), cluster, _label_values("instance", f"up{{{CLUSTER}}}").label("Node")]


def choose(label: str, of: str, title: str, *, several: bool = False) -> builders.QueryVariable:
    """Return a variable with the values of a label of some series; ``several`` may be all."""
    variable = _label_values(label, of).label(title)
    if several:
        variable.multi(multi=True).include_all(include_all=True).all_value(".*")
        variable.current(VariableOption(text="All", value="$__all"))
    return variable


def behind(name: str, label: str, of: str, title: str) -> builders.QueryVariable:
    """Return a variable that nobody sees: all values of a label, whatever they are just now.

    For queries that are to read the series of these and no others.
    """
    variable = _label_values(label, of, name).label(title).hide(VariableHide.HIDE_VARIABLE)
    variable.multi(multi=True).include_all(include_all=True)
    return variable.current(VariableOption(text="All", value="$__all"))


def _data_source() -> builders.DatasourceVariable:
    return (
        builders.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(DATA_SOURCE)
    )


def _label_values(label: str, series: str, name: str = "") -> builders.QueryVariable:
    query = f"label_values({series}, {label})"
    return (
        builders.QueryVariable(name or label)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"{name or label}-values"})
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .hide(VariableHide.DONT_HIDE)
    )


NODE_SOURCE = Source(
    of=lambda word: aggregate("count", node("gpumon_source_info", source=word)),
    every=aggregate("count", node("gpumon_source_info")),
    marks=node("gpumon_source_info", source="sim"),
)
"""Where a node's numbers come from."""

FLEET_SOURCE = Source(
    of=lambda word: where(
        "({0} > bool 0)",
        aggregate("count", fleet("cluster:gpumon_agents_by_source:count", source=word)),
    ),
    every=aggregate("count", fleet("cluster:gpumon_agents_by_source:count")),
    marks=fleet("cluster:gpumon_agents_by_source:count", source="sim"),
)
"""Where a fleet's numbers come from: one simulated node is enough to say so."""


def banner(source: Source) -> Panel:
    """Return the strip that says whether hardware was measured."""
    expr = source.of("sim") | 2 * source.of("replay") | 0 * source.every
    return panels.value(
        Text(
            "Where these numbers come from",
            "Measured: read from the driver. Simulated and replayed numbers look like "
            "the real ones; never take them for a machine's.",
        ),
        Size(24, 2),
        {"source": expr},
        states={
            0: style.State("measured on GPUs", style.WELL),
            1: style.State("SIMULATED: no hardware was measured", style.BAD),
            2: style.State("REPLAY: a recording, not the present", style.WARNING),
        },
        absent="no agent answers",
    )


def _annotation(name: str, color: str, expr: Expr, title: str) -> builders.AnnotationQuery:
    return (
        builders.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(enable=True)
        .icon_color(color)
        .expr(expr.text)
        .step("60s")
        .title_format(title)
    )


def fleet_xids() -> builders.AnnotationQuery:
    """Return marks where an Xid code is seen on a node for the first time in a day.

    A node that was away for less than an hour is not marked again.
    """
    seen = fleet("instance:gpumon_gpus_with_xid:count1d")
    return _annotation(
        "Xids",
        style.WARNING,
        where("{0} unless last_over_time({0}[1h] offset 2m)", seen),
        "Xid {{xid}} on {{instance}}",
    )


def xids(last: Expr) -> builders.AnnotationQuery:
    """Return marks where Xids were, of series that tell when the last of a code was."""
    return _annotation(
        "Xids",
        style.WARNING,
        where("time() - ({0}) < 120", last),
        "Xid {{xid}} on {{instance}}, GPU {{gpu}}",
    )


def assemble(
    builder: builders.Dashboard,
    rows: tuple[Row, ...],
    source: Source,
    *marks: builders.AnnotationQuery,
    refresh: str = "30s",
) -> Dashboard:
    """Return a dashboard of rows, under the banner, with what every one of ours has."""
    simulated = _annotation(
        "Simulated", style.NEUTRAL, source.marks, "SIMULATED: no hardware was measured"
    )
    others = (
        builders.DashboardLink("Other dashboards")
        .type(DashboardLinkType.DASHBOARDS)
        .tags(["gpumon"])
        .as_dropdown(as_dropdown=True)
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )
    builder = (
        builder.tags(["gpumon"])
        .editable()
        .timezone(TimeZoneBrowser)
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh(refresh)
        .link(others)
        .annotation(simulated)
    )
    for mark in marks:
        builder.annotation(mark)
    dashboard = builder.build()
    dashboard.schema_version = SCHEMA_VERSION
    dashboard.panels = [*_placed(banner(source), rows)]
    return dashboard


def _placed(top: Panel, rows: tuple[Row, ...]) -> list[Panel | RowPanel]:
    """Number the panels, and lay them out from left to right and from top to bottom."""
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
