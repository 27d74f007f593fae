"""GPU health: whether it gets better or worse, and boards that fail again."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.health.now import CLASSES, REPAIRS, failures
from dashboards.kit import keys, panels, style, tables
from dashboards.kit.fleet_series import SICK
from dashboards.kit.limits import limit
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import Expr, aggregate, fleet, where
from dashboards.kit.tables import Column, Key

CLASS_COLORS = dict(zip(CLASSES, (style.BAD, style.WARNING, style.FINE), strict=True))

STATE_COLORS = dict(zip(SICK, (style.BAD, style.WARNING, style.FREE, style.FINE), strict=True)) | {
    "released": style.NEUTRAL
}


OFFENDER = limit("xid.offender_count")

ACTION_COLORS = {
    action: color
    for todo, color in (("reset", style.WARNING), ("reboot", style.BAD), ("other", style.FINE))
    for action in REPAIRS[todo]
}
"""Actions for which a person does the same have the same colour."""


def peaks(name: str, *by: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a cluster's series by labels, as the highest between two points of the graph.

    Over a week a point stands for many minutes, and the moment that it falls on may be a good one.
    Increases are extrapolated, and 1 error is told as 1.04.
    """
    highest = where("max_over_time({0}[$__rate_interval])", fleet(f"cluster:{name}", **labels))
    return where("round({0})", aggregate("sum", highest, *by))


def states() -> tuple[Panel, ...]:
    """Return GPUs that do not answer or ask for a repair, and how often they fail."""
    return (
        panels.lines(
            Text(
                "GPUs that do not answer, by state",
                "Highest between two points; states that no GPU is in are left out. Normal: none. "
                "A level that stays is a repair that is not done; steps at one moment have one "
                "cause.",
            ),
            Size(8),
            {
                "{{state}}": where(
                    "{0} > 0",
                    peaks("gpumon_gpus_in_state:count", "state", state=(*SICK, "released")),
                )
            },
            stacked=True,
            colors=STATE_COLORS,
            absent=panels.WELL,
        ),
        panels.lines(
            Text(
                "Repairs that the driver asks for",
                "GPUs by action, highest between two points; actions that nobody waits for are "
                "left out. Normal: none. They stay until somebody drains the node and does it.",
            ),
            Size(8),
            {"{{action}}": where("{0} > 0", peaks("gpumon_gpus_to_repair:count", "action"))},
            stacked=True,
            colors=ACTION_COLORS,
            absent=panels.WELL,
        ),
        panels.lines(
            Text(
                "Failures in 1,000 GPU hours, by class",
                "Each point is a mean over a day, so that a single Xid is a low step of a day. A "
                "rise of hardware over weeks is what to show the vendor.",
            ),
            Size(8),
            {"{{class}}": failures("class")},
            colors=CLASS_COLORS,
        ),
    )


def offenders() -> tuple[Panel, ...]:
    """Return boards that had hardware Xids, by how many times, and how many there were."""
    times = where(
        "topk(20, sum by (cluster, serial) (sum_over_time({0}[$__range])))",
        fleet("serial:gpumon_gpu_hardware_xid:bool10m"),
    )
    # One board may have been seen in two slots meanwhile: it has a line for each.
    placed = where(
        "{0} * on (cluster, serial) group_right () "
        "(max by (cluster, serial, instance, gpu) (last_over_time({1}[$__range])) >= bool 0)"
        " or on (cluster, serial) {0}",
        times,
        fleet("serial:gpumon_gpu_hardware_xid:place"),
    )
    return (
        tables.listing(
            Text(
                "Boards with hardware Xids",
                "At how many times of ten minutes, over the time shown; node and GPU are where it "
                f"stood in that time. From {OFFENDER} in a week on the board should be "
                "replaced. Empty when all is well.",
            ),
            Size(14),
            (Key("serial", "Serial"), keys.NODE, keys.CLUSTER, keys.GPU),
            (Column("Times", placed, style.thresholds(style.NEUTRAL, (OFFENDER, style.BAD))),),
            sort="Times",
            absent=panels.WELL,
        ),
        panels.lines(
            Text(
                "Boards with hardware Xids in an hour",
                "How many, of whatever node. Single ones are chance; many at one moment have one "
                "cause, which is not the boards. Empty when all is well.",
            ),
            Size(10),
            {
                "boards": where(
                    "count(sum by (serial) (count_over_time({0}[1h])))",
                    fleet("serial:gpumon_gpu_hardware_xid:bool10m"),
                )
            },
            colors={"boards": style.BAD},
            absent=panels.WELL,
        ),
    )
