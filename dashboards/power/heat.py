"""GPU power and heat: how near GPUs are to slowing down, and what holds them down."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import keys, limits, links, panels, style, tables
from dashboards.kit.limits import LOW_MARGIN, LOWEST_MARGIN
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import Expr, aggregate, where, worst
from dashboards.kit.tables import Column, Key
from dashboards.power.series import RACK, of_halls

MARGIN = limits.margin()
HBM = style.thresholds(
    style.NEUTRAL, (limits.MEMORY_HOT - 5, style.WARNING), (limits.MEMORY_HOT, style.BAD)
)
LOSS = style.worsening(0.1, 1)

BY_HEAT = ("sw_thermal", "hw_thermal", "thermal")
BY_HEAT_OR_BRAKE = (*BY_HEAT, "hw_power_brake")
"""Reasons that are never normal; the power cap is, under full load."""


def now() -> tuple[Panel, ...]:
    """Return the numbers of heat to look at first."""
    lost = of_halls("hall:gpumon_gpu_throttle_seconds:rate5m", reason=BY_HEAT)
    return (
        panels.value(
            Text(
                "Lost to heat",
                "GPUs' worth of time that heat holds clocks down: 1 is one GPU all the time, or "
                "ten a tenth of it. Normal: 0.",
            ),
            Size(3, 4),
            {"lost": aggregate("sum", lost)},
            thresholds=LOSS,
        ),
        panels.value(
            Text(
                "Lowest margin",
                f"Of the GPU nearest to its own slowdown. Normal: above {LOW_MARGIN} degrees. "
                f"Below {LOWEST_MARGIN} look at the cooling now.",
            ),
            Size(3, 4),
            {"margin": _lowest()},
            thresholds=MARGIN,
        ),
        panels.value(
            Text(
                "Hot GPUs",
                f"Within {LOWEST_MARGIN} degrees of their slowdown, where an alert is given. "
                "Normal: none. The tables below say where.",
            ),
            Size(2, 4),
            {"hot": aggregate("sum", of_halls("hall:gpumon_gpus_hot:count"))},
            thresholds=style.ANY_BAD,
        ),
    )


def _lowest(*by: str) -> Expr:
    return aggregate("min", of_halls("hall:gpumon_gpu_temperature_margin_celsius:min"), *by)


def heat() -> tuple[Panel, ...]:
    """Return what holds clocks down, and how near GPUs are to it, over time."""
    lost = aggregate("sum", of_halls("hall:gpumon_gpu_throttle_seconds:rate5m"), "reason")
    nodes = aggregate("sum", of_halls("hall:gpumon_nodes_by_margin:count"), "le")
    return (
        panels.lines(
            Text(
                "Lost to throttling, by reason",
                "GPUs' worth of time. sw_power_cap is normal under full load; thermal reasons and "
                "hw_power_brake are not. Reasons overlap: do not add them.",
            ),
            Size(8, 9),
            {"{{reason}}": lost},
            colors={
                "sw_power_cap": style.FINE,
                "sync_boost": style.NEUTRAL,
                "sw_thermal": style.WARNING,
                "hw_thermal": style.BAD,
                "hw_power_brake": style.FREE,
            },
        ),
        panels.heat(
            Text(
                "Nodes by temperature margin",
                "How many nodes have their hottest GPU within so many degrees of its slowdown; "
                f"low is bad. Normal: nothing below {LOW_MARGIN}. A fleet that sinks together "
                "is the cooling plant; a few nodes that sink are a rack or a loop.",
            ),
            Size(8, 9),
            nodes,
            axis_unit=units.Celsius,
        ),
        panels.lines(
            Text(
                "Lowest margin by hall",
                f"Of the GPU nearest to its slowdown. Normal: above {LOW_MARGIN} degrees; at "
                "0 it slows itself down.",
            ),
            Size(8, 9),
            {"{{hall}}": _lowest("hall")},
            axis=(None, None),
            low=True,
            thresholds=MARGIN,
            link=links.POWER,
        ),
    )


def racks() -> tuple[Panel, ...]:
    """Return the racks with the lowest margins."""
    key = ("site", "hall", "row", "rack")
    by = f"on ({', '.join(key)})"
    margin = "rack:gpumon_gpu_temperature_margin_celsius:min"
    coolest = worst(10, aggregate("min", of_halls(margin), *key), lowest=True)
    lost = of_halls("rack:gpumon_gpu_throttle_seconds:rate5m", reason=BY_HEAT)
    memory = of_halls("rack:gpumon_gpu_memory_temperature_celsius:max")

    def too(of: Expr) -> Expr:
        return where(f"{{0}} and {by} {{1}}", of, coolest)

    return (
        tables.listing(
            Text(
                "Hottest racks",
                "The ten with the lowest margin. HBM: the hottest memory. Lost: GPUs' worth of "
                "time that heat takes. Several GPUs of a rack at once point at its cooling.",
            ),
            Size(12),
            (
                keys.SITE,
                Key("hall", "Hall", links.POWER),
                Key("row", "Row"),
                Key("rack", "Rack", RACK),
            ),
            (
                Column("Margin", coolest, MARGIN),
                Column(
                    "Hot GPUs",
                    too(aggregate("sum", of_halls("rack:gpumon_gpus_hot:count"), *key)),
                    style.some(style.BAD),
                ),
                Column("HBM", too(aggregate("max", memory, *key)), HBM),
                Column("Lost", too(aggregate("sum", lost, *key)), LOSS),
            ),
            absent="no target has a label rack",
        ),
        _hot_gpus_by_hall(),
        _hottest_memory_by_hall(),
    )


def _hottest_memory_by_hall() -> Panel:
    return panels.lines(
        Text(
            "Hottest memory by hall",
            "Of the GPU with the hottest HBM. An A100's may reach "
            f"{limits.MEMORY_HOT} degrees; later ones tell no limit. Hot memory slows a "
            "GPU down as a hot die does.",
        ),
        Size(12),
        {
            "{{hall}}": aggregate(
                "max", of_halls("hall:gpumon_gpu_memory_temperature_celsius:max"), "hall"
            )
        },
        axis=(40, None),
        thresholds=HBM,
        link=links.POWER,
    )


def _hot_gpus_by_hall() -> Panel:
    return panels.lines(
        Text(
            "Hot GPUs by hall",
            f"Within {LOWEST_MARGIN} degrees of their slowdown. Normal: none. A step in "
            "one hall is its cooling.",
        ),
        Size(12),
        {"{{hall}}": aggregate("sum", of_halls("hall:gpumon_gpus_hot:count"), "hall")},
        link=links.POWER,
    )
