"""GPU health: what fires, and which nodes are worst off."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards import alerts, links, panels, style
from dashboards.health_now import SICK, by_node, whole
from dashboards.panels import Column, Key, Size, Text
from dashboards.promql import FLEET, Expr, fleet, where

NODE = Key("instance", "Node", links.NODE)
GPU = Key("gpu", "GPU", links.GPU_OF_A_NODE)


def colored(color: str) -> builders.ThresholdsConfig:
    """Colour a cell that is more than none."""
    return style.thresholds(style.NEUTRAL, (1, color))


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
            (NODE, GPU, Key("xid", "Xid"), Key("serial", "Board")),
        ),
        _sick_nodes(),
    )


def _sick_nodes() -> Panel:
    columns = {
        "Silent": (by_node("gpumon_gpus_in_state:count", state=SICK), style.BAD),
        "Repair": (by_node("gpumon_gpus_to_repair:count"), style.WARNING),
        "Xids": (
            whole(by_node("gpumon_gpu_xid_errors:increase1h", **{"class": "hardware"})),
            style.BAD,
        ),
        "Rows": (
            where(
                "sum by (instance) ({0} + {1})",
                fleet("instance:gpumon_gpus_row_remap_pending:count"),
                fleet("instance:gpumon_gpus_row_remap_failed:count"),
            ),
            style.WARNING,
        ),
        "NVLinks": (by_node("gpumon_gpu_nvlinks_down:sum"), style.BAD),
        "PCIe": (by_node("gpumon_gpus_pcie_narrow:count"), style.WARNING),
    }
    base = by_node("gpumon_gpus:count")
    troubles = " + ".join(f"({{{place}}} or 0 * {{0}})" for place in range(1, len(columns) + 1))
    worst = where(f"topk(15, {troubles} > 0)", base, *(expr for expr, _ in columns.values()))
    return panels.listing(
        Text(
            "Nodes with most troubles",
            "GPUs that do not answer, that ask for a repair, and with rows of memory to replace; "
            "hardware Xids in the last hour; NVLinks down and PCI Express links that are narrow. "
            "Empty when all is well.",
        ),
        Size(13, 10),
        (Key("instance", "Node", links.NODE, width=150),),
        (
            Column("Troubles", worst),
            *(
                Column(heading, where("{0} and {1}", expr, worst), colored(color))
                for heading, (expr, color) in columns.items()
            ),
        ),
        sort="Troubles",
        absent=panels.WELL,
    )


def worst_nodes(text: Text, size: Size, columns: dict[str, tuple[Expr, str]]) -> Panel:
    """Return the nodes with most of the first column, and among equals of the second."""
    (first, _), (second, _) = columns.values()
    most = where("topk(15, 1e6 * {0} + {1} > 0)", first, second)
    return panels.listing(
        text,
        size,
        (NODE,),
        tuple(
            Column(heading, where("{0} and {1}", expr, most), colored(color))
            for heading, (expr, color) in columns.items()
        ),
        sort=next(iter(columns)),
        absent=panels.WELL,
    )
