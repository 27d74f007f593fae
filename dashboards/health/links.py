"""GPU health: NVLink and PCI Express, over time and by node."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.health.now import whole
from dashboards.health.trends import peaks
from dashboards.health.which import worst_nodes
from dashboards.kit import panels, style
from dashboards.kit.fleet_series import by_node
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import where


def links() -> tuple[Panel, ...]:
    """Return links that are down, narrow, or err, over time and by node."""
    return (
        panels.lines(
            Text(
                "NVLinks down over time",
                "Highest between two points. Normal: 0. Links train again within a minute after "
                "a reset; what stays down is a board, a tray or a cable.",
            ),
            Size(6),
            {"down": peaks("gpumon_gpu_nvlinks_down:sum")},
            colors={"down": style.BAD},
        ),
        panels.lines(
            Text(
                "NVLink errors in ten minutes",
                "By kind, highest between two points; kinds without errors are left out. Some "
                "replays are normal; recoveries, and what keeps growing, are not. Empty when all "
                "is well.",
            ),
            Size(6),
            {"{{kind}}": where("{0} > 0", peaks("gpumon_gpu_nvlink_errors:increase10m", "kind"))},
            absent=panels.WELL,
        ),
        panels.lines(
            Text(
                "GPUs with a narrow PCI Express link",
                "Highest between two points. Normal: 0, idle or not: the generation may fall "
                "when idle, the width does not.",
            ),
            Size(6),
            {"narrow": peaks("gpumon_gpus_pcie_narrow:count")},
            colors={"narrow": style.WARNING},
        ),
        panels.lines(
            Text(
                "PCI Express replays in ten minutes",
                "Highest between two points. A few are normal. A steady rate on one node is a "
                "bad contact: reseat the board or the riser.",
            ),
            Size(6),
            {"replays": peaks("gpumon_gpu_pcie_replays:increase10m")},
            colors={"replays": style.WARNING},
        ),
        *_links_by_node(),
    )


def _links_by_node() -> tuple[Panel, ...]:
    return (
        worst_nodes(
            Text(
                "Nodes with NVLink troubles",
                "Links that are down, and errors of all kinds in the last ten minutes. Empty when "
                "all is well.",
            ),
            Size(12),
            {
                "Links down": (by_node("gpumon_gpu_nvlinks_down:sum"), style.BAD),
                "Errors": (whole(by_node("gpumon_gpu_nvlink_errors:increase10m")), style.NEUTRAL),
            },
        ),
        worst_nodes(
            Text(
                "Nodes with PCI Express troubles",
                "GPUs whose link is narrow, and replays in the last ten minutes: a few are "
                "normal. Empty when all is well.",
            ),
            Size(12),
            {
                "Narrow": (by_node("gpumon_gpus_pcie_narrow:count"), style.WARNING),
                "Replays": (whole(by_node("gpumon_gpu_pcie_replays:increase10m")), style.NEUTRAL),
            },
        ),
    )
