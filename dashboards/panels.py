"""The kinds of panel there are. Each takes its unit and half its description from its metrics."""

from __future__ import annotations

import dataclasses

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, Panel
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards import style
from dashboards.promql import Expr
from dashboards.style import State

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

ABSENT = "absent: not answered here"
"""What a panel without data says. Absent is never zero."""

LIMIT = "limit"
"""The legend of a series that is drawn as a limit."""


@dataclasses.dataclass(frozen=True)
class Text:
    """What a panel says of itself: its title, and how to read it and what is normal."""

    title: str
    reading: str

    def description(self, first: Expr) -> str:
        """Return the metrics' help, then how to read it."""
        return " ".join(dict.fromkeys(first.help)) + "\n\n" + self.reading


@dataclasses.dataclass(frozen=True)
class Size:
    """Width of 24 and height, in Grafana's grid."""

    width: int
    height: int = 8


def lines(
    text: Text,
    size: Size,
    series: dict[str, Expr],
    *,
    axis: tuple[float | None, float | None] = (0, None),
    thresholds: ThresholdsConfig | None = None,
) -> Panel:
    """Return lines over time, by legend; the one called ``limit`` is grey and dashed.

    ``axis`` is where the axis begins and ends, None where the data says; thresholds are drawn as
    lines.
    """
    first = next(iter(series.values()))
    drawn = (
        timeseries.Panel()
        .title(text.title)
        .description(text.description(first))
        .datasource(SOURCE)
        .unit(first.unit)
        .height(size.height)
        .span(size.width)
        .no_value(ABSENT)
        .color_scheme(style.by_series())
        .fill_opacity(0)
        .line_width(1)
        .show_points(VisibilityMode.NEVER)
        .legend(_legend(LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"]))
        .tooltip(_tooltip())
        .targets([_query(ref, expr, legend) for ref, legend, expr in _lettered(series)])
    )
    least, most = axis
    if least is not None:
        drawn.min(least)
    if most is not None:
        drawn.max(most)
    if thresholds is not None:
        drawn.thresholds(thresholds)
        drawn.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    if LIMIT in series:
        drawn.override_by_name(LIMIT, style.DASHED)
    return drawn.build()


def value(
    text: Text,
    size: Size,
    values: dict[str, Expr],
    *,
    thresholds: ThresholdsConfig | None = None,
    states: dict[int, State] | None = None,
    absent: str = ABSENT,
) -> Panel:
    """Return numbers as they are at the end of the time shown, named where there are several.

    They are asked for at that instant: the last value of a node that is gone must not stay.
    """
    first = next(iter(values.values()))
    shown = (
        stat.Panel()
        .title(text.title)
        .description(text.description(first))
        .datasource(SOURCE)
        .unit(first.unit)
        .height(size.height)
        .span(size.width)
        .no_value(absent)
        .color_scheme(style.by_thresholds())
        .thresholds(thresholds or style.thresholds(style.NEUTRAL))
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.BACKGROUND if states else BigValueColorMode.VALUE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if len(values) > 1 else BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([_query(r, expr, legend, at_end=True) for r, legend, expr in _lettered(values)])
    )
    if states:
        shown.mappings(style.mappings(states))
    return shown.build()


def bars(
    text: Text, size: Size, legend: str, expr: Expr, thresholds: ThresholdsConfig | None = None
) -> Panel:
    """Return a bar for each series, over the time shown."""
    return (
        bargauge.Panel()
        .title(text.title)
        .description(text.description(expr))
        .datasource(SOURCE)
        .unit(expr.unit)
        .min(0)
        .height(size.height)
        .span(size.width)
        .no_value(ABSENT)
        .color_scheme(style.by_thresholds())
        .thresholds(thresholds or style.thresholds(style.WELL))
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([_query("A", expr, legend, at_end=True)])
        .build()
    )


def timeline(text: Text, size: Size, legend: str, expr: Expr, states: dict[int, State]) -> Panel:
    """Return a band of states over time for each series."""
    return (
        statetimeline.Panel()
        .title(text.title)
        .description(text.description(expr))
        .datasource(SOURCE)
        .unit(expr.unit)
        .height(size.height)
        .span(size.width)
        .no_value(ABSENT)
        .color_scheme(style.by_thresholds())
        .thresholds(style.thresholds(style.NEUTRAL))
        .mappings(style.mappings(states))
        .show_value(VisibilityMode.NEVER)
        .merge_values(merge_values=True)
        .legend(_legend(LegendDisplayMode.LIST))
        .tooltip(_tooltip())
        .targets([_query("A", expr, legend)])
        .build()
    )


def facts(text: Text, size: Size, expr: Expr, columns: dict[str, str]) -> Panel:
    """Return a table of an info metric: a row for each series, columns by label and heading."""
    order = {label: place for place, label in enumerate(columns)}
    only = DataTransformerConfig("filterFieldsByName", options={"include": {"names": [*columns]}})
    named = DataTransformerConfig(
        "organize", options={"excludeByName": {}, "indexByName": order, "renameByName": columns}
    )
    return (
        table.Panel()
        .title(text.title)
        .description(text.description(expr))
        .datasource(SOURCE)
        .unit(units.String)
        .height(size.height)
        .span(size.width)
        .no_value(ABSENT)
        .targets([_query("A", expr, "", at_end=True).format(PromQueryFormat.TABLE)])
        .with_transformation(only)
        .with_transformation(named)
        .build()
    )


def _lettered(series: dict[str, Expr]) -> list[tuple[str, str, Expr]]:
    return [(chr(ord("A") + i), legend, expr) for i, (legend, expr) in enumerate(series.items())]


def _query(ref: str, expr: Expr, legend: str, *, at_end: bool = False) -> prometheus.Dataquery:
    query = prometheus.Dataquery().ref_id(ref).expr(expr.text).legend_format(legend)
    query = query.datasource(SOURCE)
    return query.instant() if at_end else query.range()


def _legend(mode: LegendDisplayMode) -> common.VizLegendOptions:
    placed = common.VizLegendOptions().display_mode(mode).placement(LegendPlacement.BOTTOM)
    return placed.show_legend(show_legend=True)


def _tooltip() -> common.VizTooltipOptions:
    options = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    return options.sort(SortOrder.DESCENDING)
