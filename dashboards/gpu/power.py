"""GPU: power, energy and how far it can be trusted, heat, clocks and what holds them down."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.gpu.series import gpu
from dashboards.kit import limits, links, panels, style, tables
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import aggregate, coded, increase, kilowatt_hours, rate, where
from dashboards.kit.style import State
from dashboards.node.activity import THROTTLED, THROTTLED_STATES
from gpumon.derive.energy_check import DIVERGENCE

JOULES = gpu("gpumon_gpu_energy_joules_total")

_COVERED = (
    "(max_over_time(timestamp({0})[$__range:10s]) - min_over_time(timestamp({0})[$__range:10s]))"
)
"""Seconds of the time shown in which the counter was there."""


def power() -> tuple[Panel, ...]:
    """Return power, and whose it is."""
    return (
        panels.lines(
            Text(
                "Power over time",
                "Mean of about a second, and the highest and lowest sample within 30 s, against "
                "the limit in force (dashed). A limit below the default was set by somebody, or "
                "by the platform. A wide gap between peak and trough is a load that swings.",
            ),
            Size(14, 9),
            {
                "mean": gpu("gpumon_gpu_power_watts"),
                "peak": gpu("gpumon_gpu_power_peak_watts"),
                "trough": gpu("gpumon_gpu_power_trough_watts"),
                LIMIT: gpu("gpumon_gpu_power_limit_watts"),
                "default limit": gpu("gpumon_gpu_power_limit_default_watts"),
            },
            colors={
                "mean": style.WELL,
                "peak": style.WARNING,
                "trough": style.FINE,
                "default limit": style.NEUTRAL,
            },
        ),
        panels.lines(
            Text(
                "Power by who pays",
                "From the ledger's joules: each goes to the job that held the GPU, or to nobody. "
                "A click on a line leads to its job.",
            ),
            Size(10, 9),
            {
                "job {{job_id}}": aggregate(
                    "sum", rate(gpu("gpumon_job_gpu_energy_joules_total")), "job_id"
                ),
                "nobody": aggregate("sum", rate(gpu("gpumon_unallocated_energy_joules_total"))),
            },
            colors={"nobody": style.NEUTRAL},
            stacked=True,
            link=links.JOB_OF_THIS,
        ),
    )


def energy() -> tuple[Panel, ...]:
    """Return joules, how they are known, and what speaks against them."""
    return (
        _energy_in_the_time_shown(),
        _how_the_joules_are_known(),
        _error_of_the_joules(),
        _joules_against_power(),
        _energy_counter_in_doubt(),
    )


def _energy_in_the_time_shown() -> Panel:
    return panels.value(
        Text(
            "Energy in the time shown",
            "From the device's counter, or the integral of its power. An idle H100 draws "
            "about 1.7 kWh a day.",
        ),
        Size(4, 5),
        {"energy": aggregate("sum", kilowatt_hours(increase(JOULES)))},
    )


def _how_the_joules_are_known() -> Panel:
    return tables.facts(
        Text(
            "How the joules are known",
            "Counter: the device counts them, exact over gaps. Integral: summed from power. "
            "Scope module: with the CPU on the same module, and once for all its GPUs.",
        ),
        Size(5, 5),
        gpu("gpumon_gpu_energy_info"),
        {"method": "Method", "scope": "Scope"},
    )


def _error_of_the_joules() -> Panel:
    return panels.value(
        Text(
            "Error of the joules",
            limits.JOULES_ERROR,
        ),
        Size(3, 5),
        {"error": gpu("gpumon_gpu_energy_error_ratio")},
        thresholds=limits.joules_error(),
    )


def _joules_against_power() -> Panel:
    return panels.value(
        Text(
            "Joules against power",
            "Counter less mean power times the time shown, as a share of it. Normal: within "
            f"{limits.percent(DIVERGENCE)}, and nearer to 0 the longer the time shown. Else "
            "one of the two is wrong.",
        ),
        Size(3, 5),
        {
            "off": where(
                f"increase({{0}}[$__range]) / {_COVERED} / avg_over_time({{1}}[$__range]) - 1",
                JOULES,
                gpu("gpumon_gpu_power_watts"),
                unit=units.PercentUnit,
            )
        },
        thresholds=style.thresholds(style.BAD, (-DIVERGENCE, style.WELL), (DIVERGENCE, style.BAD)),
    )


def _energy_counter_in_doubt() -> Panel:
    return panels.timeline(
        Text(
            "Energy counter in doubt",
            f"Normal: none. {limits.COUNTER_IN_DOUBT}",
        ),
        Size(9, 5),
        "{{reason}}",
        aggregate("max", gpu("gpumon_gpu_energy_suspect"), "reason"),
        {0: State("none", style.WELL), 1: State("in doubt", style.BAD)},
    )


def heat() -> tuple[Panel, ...]:
    """Return temperatures, and how far they are from a slowdown."""
    return (
        panels.lines(
            Text(
                "Temperatures",
                "Normal depends on model and cooling: look at the margin. Memory: absent where it "
                f"has no sensor; from {limits.MEMORY_HOT} degrees on (dashed) it slows the GPU "
                "down too.",
            ),
            Size(9),
            {
                "GPU": gpu("gpumon_gpu_temperature_celsius"),
                "memory": gpu("gpumon_gpu_memory_temperature_celsius"),
            },
            thresholds=limits.no_more_than(limits.MEMORY_HOT),
        ),
        panels.lines(
            Text(
                "Temperature margin",
                f"Low is bad, whatever the model. Normal: above {limits.LOW_MARGIN} degrees; "
                "at 0 the GPU slows itself down.",
            ),
            Size(9),
            {"margin": gpu("gpumon_gpu_temperature_margin_celsius")},
            axis=(None, None),
            low=True,
            thresholds=limits.margin(),
        ),
        panels.lines(
            Text(
                "Fan speed",
                "Absent where the chassis cools, as with SXM boards. At 100 % for long: dust, or "
                "a fan that is wearing out.",
            ),
            Size(6),
            {"fan": gpu("gpumon_gpu_fan_speed_ratio")},
            axis=(0, 1),
            absent="absent: no fan, or no answer",
        ),
    )


def clocks() -> tuple[Panel, ...]:
    """Return clocks, and each reason that holds them down."""
    return (
        panels.lines(
            Text(
                "Clocks",
                "Against the highest SM clock there is (dashed). Lower under load: see beside it "
                "what holds it down. An idle GPU clocks down by itself.",
            ),
            Size(8, 9),
            {
                "{{clock}}": gpu("gpumon_gpu_clock_hertz"),
                LIMIT: gpu("gpumon_gpu_clock_max_hertz", clock="sm"),
            },
        ),
        panels.timeline(
            Text(
                "Reasons that hold the clocks down",
                "One band each. The power cap is normal under full load. hw_slowdown says that "
                "one of the other hw_ reasons halves the clock, or worse: never normal.",
            ),
            Size(9, 9),
            "{{reason}}",
            coded("gpumon_gpu_throttled", "reason", THROTTLED, "reason", of=gpu),
            THROTTLED_STATES,
        ),
        panels.lines(
            Text(
                "Share of time held down",
                "By reason, counted by the driver, so that nothing is missed between readings. "
                "Normal: sw_power_cap under load, everything else 0.",
            ),
            Size(7, 9),
            {"{{reason}}": rate(gpu("gpumon_gpu_throttle_seconds_total"))},
            axis=(0, 1),
        ),
    )
