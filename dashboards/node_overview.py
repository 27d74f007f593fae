"""GPU node: what counts now, power and energy, heat."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards import panels, style
from dashboards.panels import LIMIT, Size, Text
from dashboards.promql import aggregate, increase, kilowatt_hours, node, zero_where_absent
from dashboards.style import State

GPU = "GPU {{gpu}}"

LOW_MARGIN, LOWEST_MARGIN = 10, 5
"""Degrees to the nearest slowdown at which to look closer, and to act."""

ENERGY = node("gpumon_gpu_energy_joules_total")


def now() -> tuple[Panel, ...]:
    """Return the numbers to look at first."""
    return (
        panels.value(
            Text(
                "Agent",
                "Without an answer nothing below is about now: is the agent running, does the "
                "address in Prometheus's configuration reach it?",
            ),
            Size(3, 4),
            {"agent": node("up")},
            states={0: State("no answer", style.BAD), 1: State("answers", style.WELL)},
            absent="not scraped",
        ),
        panels.value(
            Text(
                "Driver",
                "Down: no driver, or none of its calls return. The agent's log says which, and "
                "what to do.",
            ),
            Size(3, 4),
            {"driver": node("gpumon_source_up")},
            states={0: State("down", style.BAD), 1: State("up", style.WELL)},
            absent="no answer",
        ),
        panels.value(
            Text("GPUs", "Normal: as many answer as are expected."),
            Size(4, 4),
            {
                "answer": zero_where_absent(aggregate("sum", node("gpumon_gpu_up"))),
                "expected": aggregate("max", node("gpumon_gpus_expected")),
            },
        ),
        panels.value(
            Text(
                "GPUs missing",
                "Expected, but gone or not answering. Normal: 0. The states below say which one "
                "it is, and the table at the end in which slot.",
            ),
            Size(3, 4),
            {
                "missing": aggregate("max", node("gpumon_gpus_expected"))
                - zero_where_absent(aggregate("sum", node("gpumon_gpu_up")))
            },
            thresholds=style.thresholds(style.WELL, (1, style.BAD)),
            absent="no answer",
        ),
        panels.value(
            Text(
                "Power now",
                "Of all GPUs: now, the highest of the last 30 s, and what their limits add up to. "
                "The rest of the node comes on top. Peaks may pass the limit for an instant; the "
                "mean stays below it.",
            ),
            Size(5, 4),
            {
                "now": node("gpumon_node_gpu_power_watts"),
                "peak": node("gpumon_node_gpu_power_peak_watts"),
                LIMIT: aggregate("sum", node("gpumon_gpu_power_limit_watts")),
            },
        ),
        panels.value(
            Text(
                "Lowest temperature margin",
                f"Of the GPU nearest to a slowdown. Normal: above {LOW_MARGIN} degrees. Below "
                f"{LOWEST_MARGIN} look at the cooling now.",
            ),
            Size(3, 4),
            {"margin": aggregate("min", node("gpumon_gpu_temperature_margin_celsius"))},
            thresholds=style.thresholds(
                style.BAD, (LOWEST_MARGIN, style.WARNING), (LOW_MARGIN, style.WELL)
            ),
        ),
        panels.value(
            Text(
                "Energy",
                "All GPUs together, over the time shown at the top right. Idle GPUs draw too: "
                "an H100 about 1.7 kWh a day.",
            ),
            Size(3, 4),
            {"energy": aggregate("sum", kilowatt_hours(increase(ENERGY)))},
        ),
    )


def power() -> tuple[Panel, ...]:
    """Return power by GPU and of the node, and energy by GPU."""
    limit = aggregate("min", node("gpumon_gpu_power_limit_watts"))
    return (
        panels.lines(
            Text(
                "Power by GPU",
                "Against the lowest limit of the node's GPUs (dashed). Under load a GPU runs close "
                "to its limit; a limit below the usual one was set by somebody, or by the "
                "platform. One GPU below its peers in the same job waits for something.",
            ),
            Size(12),
            {GPU: node("gpumon_gpu_power_watts"), LIMIT: limit},
        ),
        panels.lines(
            Text(
                "Peak power by GPU",
                "What power supplies see and a mean hides. Short peaks above the limit (dashed) "
                "are normal, since the limit holds for the mean.",
            ),
            Size(12),
            {GPU: node("gpumon_gpu_power_peak_watts"), LIMIT: limit},
        ),
        panels.lines(
            Text(
                "Power of all GPUs",
                "Mean, and the highest and lowest sum within 30 s. A wide gap between the two is a "
                "job whose GPUs swing in step.",
            ),
            Size(10),
            {
                "mean": node("gpumon_node_gpu_power_watts"),
                "peak": node("gpumon_node_gpu_power_peak_watts"),
                "trough": node("gpumon_node_gpu_power_trough_watts"),
                LIMIT: aggregate("sum", node("gpumon_gpu_power_limit_watts")),
            },
        ),
        panels.lines(
            Text(
                "Steepest swing",
                "How fast the load on the supply changes. Training swings at each step; what is "
                "too fast, the power supply's owner knows.",
            ),
            Size(7),
            {"all GPUs": node("gpumon_node_gpu_power_ramp_watts_per_second")},
        ),
        panels.bars(
            Text(
                "Energy by GPU",
                "Over the time shown. GPUs of one job should be alike.",
            ),
            Size(7),
            GPU,
            kilowatt_hours(increase(ENERGY)),
        ),
    )


def heat() -> tuple[Panel, ...]:
    """Return temperatures, and how far they are from a slowdown."""
    return (
        panels.lines(
            Text(
                "Temperature margin by GPU",
                "The one to watch: low is bad, whatever the model. Normal: above "
                f"{LOW_MARGIN} degrees; at 0 the GPU slows itself down.",
            ),
            Size(9),
            {GPU: node("gpumon_gpu_temperature_margin_celsius")},
            axis=(None, None),
            thresholds=style.thresholds(
                style.BAD, (LOWEST_MARGIN, style.WARNING), (LOW_MARGIN, style.WELL)
            ),
        ),
        panels.lines(
            Text(
                "Temperature by GPU",
                "Normal depends on model and cooling: compare GPUs with their neighbours. In air, "
                "those in the second row are some degrees warmer.",
            ),
            Size(5),
            {GPU: node("gpumon_gpu_temperature_celsius")},
        ),
        panels.lines(
            Text(
                "Memory temperature by GPU",
                "Absent where the memory has no sensor. Near its limit (95 degrees on an A100) "
                "hot memory slows the GPU down too.",
            ),
            Size(5),
            {GPU: node("gpumon_gpu_memory_temperature_celsius")},
        ),
        panels.lines(
            Text(
                "Fan speed by GPU",
                "Absent where the chassis cools, as with SXM boards. At 100 % for long: dust, or "
                "a fan that is wearing out.",
            ),
            Size(5),
            {GPU: node("gpumon_gpu_fan_speed_ratio")},
            axis=(0, 1),
        ),
    )
