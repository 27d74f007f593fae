"""Nodes by how much is wrong with them: one order for all columns of a table."""

from __future__ import annotations

import dataclasses
import functools
import operator

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import keys, panels, style, tables
from dashboards.kit.fleet_series import EXPECTED_BY_NODE, by_node
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import Expr, where
from dashboards.kit.tables import Column

EVERY = where("0 * {0}", EXPECTED_BY_NODE)
"""Zero for each node, also where none of its GPUs, or its agent, answers."""

MISSING = where(
    "clamp_min({0} - ({1} or {3}) - ({2} or {3}), 0)",
    EXPECTED_BY_NODE,
    by_node("gpumon_gpus_up:sum"),
    by_node("gpumon_gpus_released:sum"),
    EVERY,
)
"""GPUs of each node that neither answer nor are released on purpose, its agent silent or not."""


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Something wrong with nodes: how much of it each has, and how heavily that weighs."""

    heading: str
    of: Expr
    color: str
    weight: int = 1


def or_none(of: Expr) -> Expr:
    """Return 0 for the nodes on which there is nothing of it."""
    return where("({0} or {1})", of, EVERY)


def nodes(text: Text, size: Size, troubles: tuple[Trouble, ...], *, first: str, most: int) -> Panel:
    """Return the nodes with most troubles, by the weighted sum in the column ``first``."""
    one, *others = (trouble.weight * or_none(trouble.of) for trouble in troubles)
    worst = where(f"topk({most}, {{0}} > 0)", functools.reduce(operator.add, others, one))
    return tables.listing(
        text,
        size,
        (keys.NARROW_NODE, keys.NARROW_CLUSTER),
        (
            Column(first, worst),
            *(
                Column(
                    trouble.heading,
                    where("{0} and {1}", trouble.of, worst),
                    style.some(trouble.color),
                )
                for trouble in troubles
            ),
        ),
        sort=first,
        absent=panels.WELL,
    )
