"""GPU node: what counts now, power and energy, heat."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import limits, links, panels, style
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import (
    Expr,
    aggregate,
    increase,
    kilowatt_hours,
    node,
    rate,
    where,
    zero_where_absent,
)
from dashboards.kit.style import State

GPU = "GPU {{gpu}}"

ENERGY = node("gpumon_gpu_energy_joules_total")
CPU = node("gpumon_node_cpu_energy_joules_total", domain=("package", "dram"))
"""Domains that add up: cores are part of their package, and psys contains both."""
EXPECTED = where(
    "(max({0}) or max({1} > 0))",
    node("gpumon_gpus_expected"),
    node("instance:gpumon_gpus_silent:sum"),
)
"""Whether its agent answers or not."""


def now() -> tuple[Panel, ...]:
    """Return the numbers to look at first."""
    return (
        _agent(),
        _driver(),
        _gpus(),
        _gpus_missing(),
        _power_now(),
        _lowest_temperature_margin(),
        _energy(),
    )


def _agent() -> Panel:
    return panels.value(
        Text(
            "Agent",
            "Without an answer nothing below is about now: is the agent running, does the "
            "address in Prometheus's configuration reach it?",
        ),
        Size(3, 4),
        {"agent": node("up")},
        states={0: State("no answer", style.BAD), 1: State("answers", style.WELL)},
        absent="not scraped",
    )


def _driver() -> Panel:
    return panels.value(
        Text(
            "Driver",
            "Down: no driver, or none of its calls return. The agent's log says which, and "
            "what to do.",
        ),
        Size(3, 4),
        {"driver": node("gpumon_source_up")},
        states={0: State("down", style.BAD), 1: State("up", style.WELL)},
        absent="no answer",
    )


def _gpus() -> Panel:
    return panels.value(
        Text(
            "GPUs",
            "Normal: as many answer as are expected. Behind an agent that does not answer, as "
            "many are expected as there were.",
        ),
        Size(4, 4),
        {
            "answer": zero_where_absent(aggregate("sum", node("gpumon_gpu_up"))),
            "expected": EXPECTED,
        },
    )


def _gpus_missing() -> Panel:
    return panels.value(
        Text(
            "GPUs missing",
            "Expected, but neither answering nor released on purpose; all of them while the "
            "agent is silent. Normal: 0. The states below say which one "
            "it is, and the table at the end in which slot.",
        ),
        Size(3, 4),
        {
            "missing": where(
                "clamp_min({0} - {1} - (max({2}) * {0} or 0 * {0}), 0)",
                EXPECTED,
                zero_where_absent(aggregate("sum", node("gpumon_gpu_up"))),
                node("gpumon_released"),
            )
        },
        thresholds=style.ANY_BAD,
        absent="no answer",
    )


def _power_now() -> Panel:
    return panels.value(
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
    )


def _lowest_temperature_margin() -> Panel:
    return panels.value(
        Text(
            "Lowest temperature margin",
            f"Of the GPU nearest to a slowdown. Normal: above {limits.LOW_MARGIN} degrees. "
            f"Below {limits.LOWEST_MARGIN} look at the cooling now.",
        ),
        Size(3, 4),
        {"margin": aggregate("min", node("gpumon_gpu_temperature_margin_celsius"))},
        thresholds=limits.margin(),
    )


def _energy() -> Panel:
    return panels.value(
        Text(
            "Energy",
            "All GPUs together, over the time shown at the top right. Idle GPUs draw too: "
            "an H100 about 1.7 kWh a day.",
        ),
        Size(3, 4),
        {"energy": aggregate("sum", kilowatt_hours(increase(ENERGY)))},
    )


def power() -> tuple[Panel, ...]:
    """Return power by GPU and of the node, and energy by GPU."""
    limit = aggregate("min", node("gpumon_gpu_power_limit_watts"))
    return (
        _power_by_gpu(limit),
        _peak_power_by_gpu(limit),
        _power_of_all_gpus(),
        _steepest_swing(),
        _energy_by_gpu(),
        _power_of_the_whole_node(),
        _cpus_and_memory_of_the_host(),
    )


def _power_by_gpu(limit: Expr) -> Panel:
    return panels.lines(
        Text(
            "Power by GPU",
            "Against the lowest limit of the node's GPUs (dashed). Under load a GPU runs close "
            "to its limit; a limit below the usual one was set by somebody, or by the "
            "platform. One GPU below its peers in the same job waits for something.",
        ),
        Size(12),
        {GPU: node("gpumon_gpu_power_watts"), LIMIT: limit},
        link=links.GPU,
    )


def _peak_power_by_gpu(limit: Expr) -> Panel:
    return panels.lines(
        Text(
            "Peak power by GPU",
            "What power supplies see and a mean hides. Short peaks above the limit (dashed) "
            "are normal, since the limit holds for the mean.",
        ),
        Size(12),
        {GPU: node("gpumon_gpu_power_peak_watts"), LIMIT: limit},
        link=links.GPU,
    )


def _power_of_all_gpus() -> Panel:
    return panels.lines(
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
    )


def _steepest_swing() -> Panel:
    return panels.lines(
        Text(
            "Steepest swing",
            "How fast the load on the supply changes. Training swings at each step; what is "
            "too fast, the power supply's owner knows.",
        ),
        Size(7),
        {"all GPUs": node("gpumon_node_gpu_power_ramp_watts_per_second")},
    )


def _energy_by_gpu() -> Panel:
    return panels.bars(
        Text(
            "Energy by GPU",
            "Over the time shown. GPUs of one job should be alike.",
        ),
        Size(7),
        GPU,
        kilowatt_hours(increase(ENERGY)),
        link=links.GPU,
    )


def _power_of_the_whole_node() -> Panel:
    return panels.lines(
        Text(
            "Power of the whole node",
            "Measured by its BMC or a meter, or else estimated: GPUs, CPUs and a declared "
            "overhead. CPUs by RAPL: absent where the agent may not read it. What remains are "
            "fans, network and losses.",
        ),
        Size(12),
        {
            "node, {{method}}": aggregate("sum", node("gpumon_node_power_watts"), "method"),
            "all GPUs": node("gpumon_node_gpu_power_watts"),
            "CPU, {{domain}}": aggregate("sum", rate(CPU), "domain"),
        },
    )


def _cpus_and_memory_of_the_host() -> Panel:
    return panels.lines(
        Text(
            "CPUs and memory of the host",
            "Shares in use. CPUs near 100 % with GPUs below their peers: the host feeds them "
            "too slowly. Memory near 100 %: something is about to be killed.",
        ),
        Size(12),
        {
            "CPUs": node("gpumon_node_cpu_utilization_ratio"),
            "memory": where(
                "1 - {0} / {1}",
                node("gpumon_node_memory_available_bytes"),
                node("gpumon_node_memory_total_bytes"),
            ),
        },
        axis=(0, 1),
    )


def heat() -> tuple[Panel, ...]:
    """Return temperatures, and how far they are from a slowdown."""
    return (
        panels.lines(
            Text(
                "Temperature margin by GPU",
                "The one to watch: low is bad, whatever the model. Normal: above "
                f"{limits.LOW_MARGIN} degrees; at 0 the GPU slows itself down.",
            ),
            Size(9),
            {GPU: node("gpumon_gpu_temperature_margin_celsius")},
            axis=(None, None),
            low=True,
            link=links.GPU,
            thresholds=limits.margin(),
        ),
        panels.lines(
            Text(
                "Temperature by GPU",
                "Normal depends on model and cooling: compare GPUs with their neighbours. In air, "
                "those in the second row are some degrees warmer.",
            ),
            Size(5),
            {GPU: node("gpumon_gpu_temperature_celsius")},
            link=links.GPU,
        ),
        panels.lines(
            Text(
                "Memory temperature by GPU",
                f"Absent where the memory has no sensor. From {limits.MEMORY_HOT} degrees on "
                "(dashed) hot memory slows the GPU down too.",
            ),
            Size(5),
            {GPU: node("gpumon_gpu_memory_temperature_celsius")},
            thresholds=limits.no_more_than(limits.MEMORY_HOT),
            link=links.GPU,
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
            link=links.GPU,
            absent="absent: no fans, or no answer",
        ),
    )
