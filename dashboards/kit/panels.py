"""The kinds of panel there are. Each takes its unit and half its description from its metrics."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    HeatmapCellLayout,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    Panel,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.kit import style
from dashboards.kit.links import ANY, Link
from dashboards.kit.promql import Expr, where
from dashboards.kit.style import State

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

ABSENT = "absent: not answered here"
"""What a panel without data says. Absent is never zero."""

LIMIT = "limit"
"""The legend of a series that is drawn as a limit."""

MEDIAN = "median"
"""The legend of a series that the others are compared with."""


Kind = TypeVar(
    "Kind",
    bargauge.Panel,
    heatmap.Panel,
    stat.Panel,
    statetimeline.Panel,
    table.Panel,
    timeseries.Panel,
)
"""The SDK's builder of a kind of panel."""

EVERY = "/.*/"
"""Every series of a panel, as a regular expression of Grafana's."""

WELL = "none"
"""What a panel of troubles says where there are none, or where nothing answers at all."""


@dataclasses.dataclass(frozen=True)
class Text:
    """What a panel says of itself: its title, and how to read it and what is normal."""

    title: str
    reading: str

    def description(self, first: Expr) -> str:
        """Return how to read it, then what its metrics are."""
        return self.reading + "\n\n" + " ".join(dict.fromkeys(first.help))


@dataclasses.dataclass(frozen=True)
class Size:
    """Width of 24 and height, in Grafana's grid."""

    width: int
    height: int = 8


def framed(kind: Kind, text: Text, size: Size, first: Expr, absent: str) -> Kind:
    """Give a panel what every kind has: words, size, the unit of its first series, the source.

    ``absent`` is what it says without data.
    """
    kind.title(text.title).description(text.description(first)).datasource(SOURCE)
    kind.unit(first.unit).height(size.height).span(size.width).no_value(absent)
    return kind


def lines(
    text: Text,
    size: Size,
    series: dict[str, Expr],
    *,
    axis: tuple[float | None, float | None] = (0, None),
    thresholds: ThresholdsConfig | None = None,
    colors: dict[str, str] | None = None,
    stacked: bool = False,
    many: bool = False,
    low: bool = False,
    link: Link | None = None,
    absent: str = ABSENT,
) -> Panel:
    """Return lines over time, by legend; ``limit`` is grey and dashed, ``median`` grey and thick.

    ``axis`` is where the axis begins and ends, None where the data says, with 0 in it; thresholds
    are drawn as lines. ``colors`` are those of some legends; ``stacked`` puts areas on one another,
    but for the limit; ``many`` leaves no room for numbers in the legend; ``low`` numbers
    are the bad ones; ``link`` is where a click on a line leads.
    """
    series = {
        legend: expr if legend in (LIMIT, MEDIAN) else linkable(expr, link)
        for legend, expr in series.items()
    }
    first = next(iter(series.values()))
    drawn = (
        framed(timeseries.Panel(), text, size, first, absent)
        .color_scheme(style.by_series())
        .fill_opacity(60 if stacked else 0)
        .line_width(1)
        .show_points(VisibilityMode.NEVER)
        .legend(
            _legend(LegendDisplayMode.LIST)
            if many
            else _legend(LegendDisplayMode.TABLE).calcs(["lastNotNull", "min" if low else "max"])
        )
        .tooltip(_tooltip())
        .targets([query(ref, expr, legend) for ref, legend, expr in lettered(series)])
    )
    least, most = axis
    if least is not None:
        drawn.min(least)
    else:
        drawn.axis_soft_min(0)
    if most is not None:
        drawn.max(most)
    if thresholds is not None:
        drawn.thresholds(thresholds)
        drawn.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    if stacked:
        drawn.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    _override(drawn, series, colors or {}, link, stacked=stacked)
    return drawn.build()


def _override(
    drawn: timeseries.Panel,
    series: dict[str, Expr],
    colors: dict[str, str],
    link: Link | None,
    *,
    stacked: bool,
) -> None:
    """Give some legends their own color, style and link."""
    for legend, color in colors.items():
        drawn.override_by_name(legend, [style.fixed(color)])
    nowhere = [] if link is None else [link_to()]
    if link is not None:
        drawn.override_by_regexp(EVERY, [link_to(link.of_a_series())])
    if LIMIT in series:
        alone = style.ALONE if stacked else []
        drawn.override_by_name(LIMIT, [*style.DASHED, *alone, *nowhere])
    if MEDIAN in series:
        drawn.override_by_name(MEDIAN, [*style.THICK, *nowhere])


def value(
    text: Text,
    size: Size,
    values: dict[str, Expr],
    *,
    thresholds: ThresholdsConfig | None = None,
    each: dict[str, ThresholdsConfig] | None = None,
    states: dict[int, State] | None = None,
    named: bool = False,
    absent: str = ABSENT,
) -> Panel:
    """Return numbers as they are at the end of the time shown, named where there are several.

    They are asked for at that instant: the last value of a node that is gone must not stay.
    ``each`` has the thresholds of numbers that have their own; ``named`` is for a query that
    names what it found.
    """
    first = next(iter(values.values()))
    named = named or len(values) > 1
    shown = (
        framed(stat.Panel(), text, size, first, absent)
        .color_scheme(style.by_thresholds())
        .thresholds(thresholds or style.thresholds(style.NEUTRAL))
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.BACKGROUND if states else BigValueColorMode.VALUE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if named else BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([query(r, expr, legend, at_end=True) for r, legend, expr in lettered(values)])
    )
    for name, own in (each or {}).items():
        shown.override_by_name(name, [style.bounded(own)])
    if states:
        shown.mappings(style.mappings(states))
    return shown.build()


def bars(
    text: Text,
    size: Size,
    legend: str,
    expr: Expr,
    thresholds: ThresholdsConfig | None = None,
    *,
    most: float | None = None,
    link: Link | None = None,
    absent: str = ABSENT,
) -> Panel:
    """Return a bar for each series, over the time shown, up to ``most`` or to the largest."""
    drawn = (
        framed(bargauge.Panel(), text, size, expr, absent)
        .min(0)
        .color_scheme(style.by_thresholds())
        .thresholds(thresholds or style.thresholds(style.WELL))
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([query("A", linkable(expr, link), legend, at_end=True)])
    )
    if most is not None:
        drawn.max(most)
    if link is not None:
        drawn.override_by_regexp(EVERY, [link_to(link.of_a_series())])
    return drawn.build()


def timeline(
    text: Text,
    size: Size,
    legend: str,
    expr: Expr,
    states: dict[int, State],
    *,
    link: Link | None = None,
    absent: str = ABSENT,
) -> Panel:
    """Return a band of states over time for each series."""
    drawn = (
        framed(statetimeline.Panel(), text, size, expr, absent)
        .color_scheme(style.by_state())
        .mappings(style.mappings(states))
        .show_value(VisibilityMode.NEVER)
        .merge_values(merge_values=True)
        .legend(_legend(LegendDisplayMode.LIST))
        .tooltip(_tooltip())
        .targets([query("A", linkable(expr, link), legend)])
    )
    if link is not None:
        drawn.override_by_regexp(EVERY, [link_to(link.of_a_series())])
    return drawn.build()


def heat(text: Text, size: Size, buckets: Expr, *, axis_unit: str) -> Panel:
    """Return a heat map of a histogram over time: cumulative series by ``le``."""
    panel = (
        framed(heatmap.Panel(), text, size, buckets, ABSENT)
        .calculate(calculate=False)
        .targets([query("A", buckets, "{{le}}").format(PromQueryFormat.HEATMAP)])
        .build()
    )
    panel.options = heatmaps.Options(
        # From dark to light in hues that survive every colour deficiency.
        color=heatmaps.HeatmapColorOptions(
            mode=heatmaps.HeatmapColorMode.SCHEME,
            scheme="Cividis",
            fill="dark-orange",
            exponent=0.5,
            steps=64,
            reverse=False,
        ),
        rows_frame=heatmaps.RowsHeatmapOptions(layout=HeatmapCellLayout.LE),
        cell_values=heatmaps.CellValues(unit=buckets.unit, decimals=0),
        y_axis=heatmaps.YAxisConfig(unit=axis_unit, axis_placement=AxisPlacement.LEFT),
        # Gaps would be as wide as the cells of a long time.
        cell_gap=0,
        filter_values=heatmaps.FilterValueRange(le=1e-9),
        exemplars=heatmaps.ExemplarConfig(color=style.NEUTRAL),
        tooltip=heatmaps.HeatmapTooltip(mode=TooltipDisplayMode.SINGLE, y_histogram=True),
    )
    return panel


def linkable(expr: Expr, *links: Link | None) -> Expr:
    """Give series without a cluster, or a hall, a word for it, where a link of theirs needs one."""
    for label in sorted({label for link in links if link is not None for label in link.needs}):
        expr = where(f'label_replace({{0}}, "{label}", "{ANY}", "{label}", "")', expr)
    return expr


def link_to(*links: dict[str, Any]) -> DynamicConfigValue:
    """Return where clicks on a series, or on a cell, lead."""
    return DynamicConfigValue("links", [*links])


def lettered(series: dict[str, Expr]) -> list[tuple[str, str, Expr]]:
    """Give each series, or column, the letter of its query: (letter, legend, expression)."""
    return [(chr(ord("A") + i), legend, expr) for i, (legend, expr) in enumerate(series.items())]


def query(ref: str, expr: Expr, legend: str, *, at_end: bool = False) -> prometheus.Dataquery:
    """Return a panel's query over the time shown, or at its end."""
    asked = prometheus.Dataquery().ref_id(ref).expr(expr.text).legend_format(legend)
    asked = asked.datasource(SOURCE)
    return asked.instant() if at_end else asked.range()


def _legend(mode: LegendDisplayMode) -> common.VizLegendOptions:
    placed = common.VizLegendOptions().display_mode(mode).placement(LegendPlacement.BOTTOM)
    return placed.show_legend(show_legend=True)


def _tooltip() -> common.VizTooltipOptions:
    options = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    return options.sort(SortOrder.DESCENDING)
