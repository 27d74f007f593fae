"""GPU health: what fires, and which nodes are worst off."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.health.now import whole
from dashboards.kit import alerts, keys, panels, style, tables, troubles
from dashboards.kit.fleet_series import by_node
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import FLEET, Expr, where
from dashboards.kit.tables import Column
from dashboards.kit.troubles import Trouble


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
    pending = troubles.or_none(by_node("gpumon_gpus_row_remap_pending:count"))
    failed = troubles.or_none(by_node("gpumon_gpus_row_remap_failed:count"))
    hardware = by_node("gpumon_gpu_xid_errors:increase1h", **{"class": "hardware"})
    return troubles.nodes(
        Text(
            "Nodes with most troubles",
            "GPUs missing (neither answering nor released on purpose, or their agent is silent), "
            "that ask for a repair, and with rows of memory to replace; hardware Xids in the last "
            "hour; NVLinks down and PCI Express links that are narrow. Empty when all is well.",
        ),
        Size(13, 10),
        (
            Trouble("Missing", troubles.MISSING, style.BAD),
            Trouble("Repair", by_node("gpumon_gpus_to_repair:count"), style.WARNING),
            Trouble("Xids", whole(hardware), style.BAD),
            Trouble("Rows", where("({0} + {1})", pending, failed), style.WARNING),
            Trouble("NVLinks", by_node("gpumon_gpu_nvlinks_down:sum"), style.BAD),
            Trouble("PCIe", by_node("gpumon_gpus_pcie_narrow:count"), style.WARNING),
        ),
        first="Troubles",
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
