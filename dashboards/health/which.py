"""GPU health: what fires, and which nodes are worst off."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import alerts, keys, limits, panels, style, tables, troubles
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import FLEET, Expr, where
from dashboards.kit.tables import Column


def which() -> tuple[Panel, ...]:
    """Return what fires for the team hardware, and the nodes with most troubles."""
    return (
        alerts.firing(
            Text(
                "Hardware alerts that fire",
                "Worst first; empty when all is well. gpumon explain ALERT shows what each means "
                "and what to do, and so does its runbook.",
            ),
            Size(11, 10),
            f'{FLEET},team="hardware"',
            (keys.NARROW_NODE, keys.NARROW_CLUSTER, keys.NARROW_GPU, alerts.ABOUT),
        ),
        _sick_nodes(),
    )


def _sick_nodes() -> Panel:
    return troubles.nodes(
        Text(
            "Nodes with most troubles",
            "GPUs missing (neither answering nor released on purpose, or their agent is silent), "
            "that ask for a repair, or are hot; NVLinks down, PCI Express links that are narrow; "
            f"kinds of Xids {limits.XIDS_LAST} that are no program's own; memory rows to replace. "
            "The score is that of the fleet's dashboard. Empty when all is well.",
        ),
        Size(13, 10),
        (
            troubles.MISSING,
            troubles.REPAIR,
            troubles.HOT,
            troubles.NVLINKS,
            troubles.PCIE,
            troubles.XIDS,
            troubles.ROWS,
        ),
        most=15,
    )


def worst_nodes(text: Text, size: Size, columns: dict[str, tuple[Expr, str]]) -> Panel:
    """Return the nodes with most of the first column, and among equals of the second."""
    (first, _), (second, _) = columns.values()
    most = where("topk(15, 1e6 * ({0} or 0 * {1}) + ({1} or 0 * {0}) > 0)", first, second)
    return tables.listing(
        text,
        size,
        (keys.NODE, keys.CLUSTER),
        tuple(
            Column(heading, where("{0} and {1}", expr, most), style.some(color))
            for heading, (expr, color) in columns.items()
        ),
        sort=next(iter(columns)),
        absent=panels.WELL,
    )
