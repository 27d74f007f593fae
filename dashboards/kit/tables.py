"""Tables: what names a row, its numbers, and where a click leads."""

from __future__ import annotations

import dataclasses

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    Panel,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.kit import style
from dashboards.kit.links import Link
from dashboards.kit.panels import ABSENT, Size, Text, framed, lettered, link_to, linkable, query
from dashboards.kit.promql import Expr
from dashboards.kit.style import State


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
            looks.append(link_to(self.link.of_a_cell()))
        if self.words is not None:
            looks += style.worded(self.words)
        if self.width:
            looks.append(DynamicConfigValue("custom.width", self.width))
        if self.hidden:
            looks.append(DynamicConfigValue("custom.hidden", value=True))
        return looks


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
        framed(table.Panel(), text, size, columns[0].expr, absent)
        .unit(units.String)
        .min_width(style.NARROW)
        .targets(
            [
                query(ref, linkable(expr, *led), "", at_end=True).format(PromQueryFormat.TABLE)
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
        framed(table.Panel(), text, size, expr, ABSENT)
        .unit(units.String)
        .min_width(style.NARROW)
        .targets([query("A", expr, "", at_end=True).format(PromQueryFormat.TABLE)])
        .with_transformation(only)
        .with_transformation(named)
    )
    for heading, link in (links or {}).items():
        drawn.override_by_name(heading, [link_to(link.of_a_cell())])
    for heading, width in (widths or {}).items():
        drawn.override_by_name(heading, [DynamicConfigValue("custom.width", width)])
    return drawn.build()


def _letters(columns: tuple[Column, ...]) -> list[tuple[str, str, Expr]]:
    return lettered({column.heading: column.expr for column in columns})
