"""The kinds of panel there are. Each takes its unit and half its description from its metrics."""

from __future__ import annotations

import dataclasses
from typing import Any

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
from grafana_foundation_sdk.models import units
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
    DataTransformerConfig,
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
class Column:
    """A column of numbers in a table: its heading, where they come from, and their colours.

    ``width`` is in pixels, where it needs less than its share.
    """

    heading: str
    expr: Expr
    thresholds: ThresholdsConfig | None = None
    states: dict[int, State] | None = None
    width: int = 0


@dataclasses.dataclass(frozen=True)
class Key:
    """A column that names things: the label it shows, its heading, and where a click leads.

    ``words`` are what codes stand for; ``width`` is in pixels, for text that needs more than
    its share; one that is ``hidden`` is there for links only.
    """

    label: str
    heading: str
    link: Link | None = None
    words: dict[int, State] | None = None
    width: int = 0
    hidden: bool = False

    def looks(self) -> list[DynamicConfigValue]:
        """Return how its cells look. A label that a series lacks leaves them empty."""
        looks = [DynamicConfigValue("noValue", " ")]
        if self.link is not None:
            looks.append(_links(self.link.of_a_cell()))
        if self.words is not None:
            looks += style.worded(self.words)
        if self.width:
            looks.append(DynamicConfigValue("custom.width", self.width))
        if self.hidden:
            looks.append(DynamicConfigValue("custom.hidden", value=True))
        return looks


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
        legend: expr if legend in (LIMIT, MEDIAN) else _linkable(expr, link)
        for legend, expr in series.items()
    }
    first = next(iter(series.values()))
    drawn = (
        timeseries.Panel()
        .title(text.title)
        .description(text.description(first))
        .datasource(SOURCE)
        .unit(first.unit)
        .height(size.height)
        .span(size.width)
        .no_value(absent)
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
        .targets([_query(ref, expr, legend) for ref, legend, expr in _lettered(series)])
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
    for legend, color in (colors or {}).items():
        drawn.override_by_name(legend, [style.fixed(color)])
    nowhere = [] if link is None else [_links()]
    if link is not None:
        drawn.override_by_regexp(EVERY, [_links(link.of_a_series())])
    if LIMIT in series:
        alone = style.ALONE if stacked else []
        drawn.override_by_name(LIMIT, [*style.DASHED, *alone, *nowhere])
    if MEDIAN in series:
        drawn.override_by_name(MEDIAN, [*style.THICK, *nowhere])
    return drawn.build()


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
        .text_mode(BigValueTextMode.VALUE_AND_NAME if named else BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([_query(r, expr, legend, at_end=True) for r, legend, expr in _lettered(values)])
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
        bargauge.Panel()
        .title(text.title)
        .description(text.description(expr))
        .datasource(SOURCE)
        .unit(expr.unit)
        .min(0)
        .height(size.height)
        .span(size.width)
        .no_value(absent)
        .color_scheme(style.by_thresholds())
        .thresholds(thresholds or style.thresholds(style.WELL))
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([_query("A", _linkable(expr, link), legend, at_end=True)])
    )
    if most is not None:
        drawn.max(most)
    if link is not None:
        drawn.override_by_regexp(EVERY, [_links(link.of_a_series())])
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
        statetimeline.Panel()
        .title(text.title)
        .description(text.description(expr))
        .datasource(SOURCE)
        .unit(expr.unit)
        .height(size.height)
        .span(size.width)
        .no_value(absent)
        .color_scheme(style.by_state())
        .mappings(style.mappings(states))
        .show_value(VisibilityMode.NEVER)
        .merge_values(merge_values=True)
        .legend(_legend(LegendDisplayMode.LIST))
        .tooltip(_tooltip())
        .targets([_query("A", _linkable(expr, link), legend)])
    )
    if link is not None:
        drawn.override_by_regexp(EVERY, [_links(link.of_a_series())])
    return drawn.build()


def heat(text: Text, size: Size, buckets: Expr, *, axis_unit: str) -> Panel:
    """Return a heat map of a histogram over time: cumulative series by ``le``."""
    panel = (
        heatmap.Panel()
        .title(text.title)
        .description(text.description(buckets))
        .datasource(SOURCE)
        .unit(buckets.unit)
        .height(size.height)
        .span(size.width)
        .no_value(ABSENT)
        .calculate(calculate=False)
        .targets([_query("A", buckets, "{{le}}").format(PromQueryFormat.HEATMAP)])
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


def listing(
    text: Text,
    size: Size,
    keys: tuple[Key, ...],
    columns: tuple[Column, ...],
    *,
    sort: str = "",
    absent: str = ABSENT,
) -> Panel:
    """Return a table: a row for each combination of the keys' labels, with their numbers now.

    Every column's expression must have these labels and no others. ``sort`` is the heading of the
    column that comes first by size.
    """
    headings = {key.label: key.heading for key in keys}
    led = [key.link for key in keys]
    values = {
        f"Value #{letter}" if len(columns) > 1 else "Value": column.heading
        for (letter, _, _), column in zip(_letters(columns), columns, strict=True)
    }
    drawn = (
        table.Panel()
        .title(text.title)
        .description(text.description(columns[0].expr))
        .datasource(SOURCE)
        .unit(units.String)
        .height(size.height)
        .span(size.width)
        .no_value(absent)
        .min_width(style.NARROW)
        .targets(
            [
                _query(ref, _linkable(expr, *led), "", at_end=True).format(PromQueryFormat.TABLE)
                for ref, _, expr in _letters(columns)
            ]
        )
        .with_transformation(DataTransformerConfig("merge", options={}))
        .with_transformation(_grouped(headings, values))
        .with_transformation(_organized(headings, values))
    )
    if sort:
        drawn.sort_by([common.TableSortByFieldState().display_name(sort).desc(desc=True)])
    for column in columns:
        looks = style.cell(column.expr.unit, column.thresholds, column.states)
        if column.width:
            looks.append(DynamicConfigValue("custom.width", column.width))
        drawn.override_by_name(column.heading, [DynamicConfigValue("noValue", "-"), *looks])
    for key in keys:
        drawn.override_by_name(key.heading, key.looks())
    return drawn.build()


def _grouped(headings: dict[str, str], values: dict[str, str]) -> DataTransformerConfig:
    """Leave nothing of a table without rows: else it shows headings and "No data"."""
    keys = {label: {"operation": "groupby", "aggregations": []} for label in headings}
    last = {value: {"operation": "aggregate", "aggregations": ["lastNotNull"]} for value in values}
    return DataTransformerConfig("groupBy", options={"fields": {**keys, **last}})


def _organized(headings: dict[str, str], values: dict[str, str]) -> DataTransformerConfig:
    renamed = {**headings, **{f"{value} (lastNotNull)": values[value] for value in values}}
    order = {name: place for place, name in enumerate(renamed)}
    return DataTransformerConfig(
        "organize", options={"excludeByName": {}, "indexByName": order, "renameByName": renamed}
    )


def facts(
    text: Text,
    size: Size,
    expr: Expr,
    columns: dict[str, str],
    links: dict[str, Link] | None = None,
    widths: dict[str, int] | None = None,
) -> Panel:
    """Return a table of an info metric: a row for each series, columns by label and heading.

    By heading, ``links`` are where clicks lead, and ``widths`` in pixels.
    """
    order = {label: place for place, label in enumerate(columns)}
    only = DataTransformerConfig("filterFieldsByName", options={"include": {"names": [*columns]}})
    named = DataTransformerConfig(
        "organize", options={"excludeByName": {}, "indexByName": order, "renameByName": columns}
    )
    drawn = (
        table.Panel()
        .title(text.title)
        .description(text.description(expr))
        .datasource(SOURCE)
        .unit(units.String)
        .height(size.height)
        .span(size.width)
        .no_value(ABSENT)
        .min_width(style.NARROW)
        .targets([_query("A", expr, "", at_end=True).format(PromQueryFormat.TABLE)])
        .with_transformation(only)
        .with_transformation(named)
    )
    for heading, link in (links or {}).items():
        drawn.override_by_name(heading, [_links(link.of_a_cell())])
    for heading, width in (widths or {}).items():
        drawn.override_by_name(heading, [DynamicConfigValue("custom.width", width)])
    return drawn.build()


def _linkable(expr: Expr, *links: Link | None) -> Expr:
    """Give series without a cluster, or a hall, a word for it, where a link of theirs needs one."""
    for label in sorted({label for link in links if link is not None for label in link.needs}):
        expr = where(f'label_replace({{0}}, "{label}", "{ANY}", "{label}", "")', expr)
    return expr


def _links(*links: dict[str, Any]) -> DynamicConfigValue:
    return DynamicConfigValue("links", [*links])


def _letters(columns: tuple[Column, ...]) -> list[tuple[str, str, Expr]]:
    return _lettered({column.heading: column.expr for column in columns})


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
