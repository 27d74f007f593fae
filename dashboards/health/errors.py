"""GPU health: Xids, memory errors and links, over time and by node."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.health.now import whole
from dashboards.health.trends import CLASS_COLORS, peaks
from dashboards.health.which import worst_nodes
from dashboards.kit import keys, limits, panels, style, tables
from dashboards.kit import xids as codes
from dashboards.kit.fleet_series import BY_NODE, by_node
from dashboards.kit.limits import limit
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import aggregate, fleet, where, worst
from dashboards.kit.tables import Column, Key

MANY_NODES = limit("xid.many_nodes")
CORRECTED = limit("memory.corrected_per_day")

XID = Key("xid", "Xid", words=codes.words(), width=430)


def xids() -> tuple[Panel, ...]:
    """Return Xids over time, by code, and by node."""
    seen = fleet("instance:gpumon_gpus_with_xid:count1d")
    return (
        panels.lines(
            Text(
                "Xids in an hour, by class",
                "Highest between two points. Application: programs' own doing, some are normal. "
                "Hardware and driver: ours to see to, normally 0.",
            ),
            Size(8, 10),
            {"{{class}}": peaks("gpumon_gpu_xid_errors:increase1h", "class")},
            colors=CLASS_COLORS,
        ),
        tables.listing(
            Text(
                f"Xids by code, {limits.XIDS_WITHIN}",
                "How many GPUs and nodes had each. Vermilion codes ask for a reset or a reboot; "
                f"one code on {MANY_NODES} nodes and more has a common cause: fabric, driver "
                "or power. Empty when all is well.",
            ),
            Size(10, 10),
            (XID,),
            (
                Column("GPUs", aggregate("sum", seen, "xid")),
                Column(
                    "Nodes",
                    where("count by (xid) ({0} > 0)", seen),
                    style.thresholds(style.NEUTRAL, (MANY_NODES, style.BAD)),
                ),
            ),
            sort="Nodes",
            absent=panels.WELL,
        ),
        tables.listing(
            Text(
                f"Nodes by Xid, {limits.XIDS_WITHIN}",
                "GPUs of the node that had this code; the fifty lines with most. Click on the "
                "node to see which GPU. Empty when all is well.",
            ),
            Size(6, 10),
            (Key("xid", "Code"), keys.NODE, keys.CLUSTER),
            (Column("GPUs", worst(50, aggregate("sum", seen, "xid", *BY_NODE))),),
            sort="GPUs",
            absent=panels.WELL,
        ),
    )


def memory() -> tuple[Panel, ...]:
    """Return memory errors and rows that were replaced, over time and by node."""
    return (
        _ecc(
            "corrected",
            "Harmless in small numbers. A steady rate on one GPU comes before uncorrected ones; "
            "the boards that have them are at the end.",
        ),
        _ecc(
            "uncorrected",
            "Normal: 0. Each has cost a program its data; a row of memory is replaced at the "
            "next reset.",
        ),
        panels.lines(
            Text(
                "Rows replaced, by cause",
                "Over the life of all boards. Steps for corrected errors are rare, those for "
                "uncorrected ones rarer; a falling line is boards that left.",
            ),
            Size(6),
            {"{{cause}}": aggregate("sum", fleet("cluster:gpumon_gpu_remapped_rows:sum"), "cause")},
            colors={"corrected": style.FINE, "uncorrected": style.BAD},
        ),
        panels.lines(
            Text(
                "GPUs with rows to replace",
                "Highest between two points. Normal: 0. Pending ones want a reset when their job "
                "ends; failed ones another board.",
            ),
            Size(6),
            {
                "pending": peaks("gpumon_gpus_row_remap_pending:count"),
                "failed": peaks("gpumon_gpus_row_remap_failed:count"),
            },
            colors={"pending": style.WARNING, "failed": style.BAD},
        ),
        *_memory_by_node(),
        _corrected_by_board(),
    )


def _ecc(error: str, reading: str) -> Panel:
    return panels.lines(
        Text(
            f"{error.capitalize()} errors in ten minutes",
            f"By where they are, highest between two points. {reading}",
        ),
        Size(6),
        {"{{location}}": peaks("gpumon_gpu_ecc_errors:increase10m", "location", error=error)},
        colors={"dram": style.WARNING, "sram": style.BAD},
    )


def _memory_by_node() -> tuple[Panel, ...]:
    errors = "gpumon_gpu_ecc_errors:increase10m"
    return (
        worst_nodes(
            Text(
                "Nodes with rows to replace",
                "GPUs whose row could not be replaced (failed), or waits for a reset (pending). "
                "Empty when all is well.",
            ),
            Size(8),
            {
                "Failed": (by_node("gpumon_gpus_row_remap_failed:count"), style.BAD),
                "Pending": (by_node("gpumon_gpus_row_remap_pending:count"), style.WARNING),
            },
        ),
        worst_nodes(
            Text(
                "Nodes with memory errors now",
                "Errors in the last ten minutes, however long the time shown is. Uncorrected ones "
                "want a look at once. Earlier ones are in the graphs. Empty when all is well.",
            ),
            Size(8),
            {
                "Uncorrected": (whole(by_node(errors, error="uncorrected")), style.BAD),
                "Corrected": (whole(by_node(errors, error="corrected")), style.NEUTRAL),
            },
        ),
    )


def _corrected_by_board() -> Panel:
    corrected = where(
        "topk(20, round(sum by (cluster, instance, gpu) (sum_over_time({0}[$__range]))))",
        fleet("uuid:gpumon_gpu_ecc_corrected:increase10m"),
    )
    return tables.listing(
        Text(
            "GPUs with corrected errors",
            "Over the time shown, noted every ten minutes. A handful is ordinary; from "
            f"{CORRECTED:grouped} a day on somebody is told, for drivers slow down under them and "
            "rows may be about to fail. Empty when all is well.",
        ),
        Size(8),
        (keys.NODE, keys.CLUSTER, keys.GPU),
        (Column("Errors", corrected),),
        sort="Errors",
        absent=panels.WELL,
    )
