"""GPU node: what the GPUs do, what holds them back, and what goes over their links."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import limits, panels, style
from dashboards.kit import links as to
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import aggregate, coded, increase, node, rate
from dashboards.kit.style import State

GPU = "GPU {{gpu}}"

THROTTLED = {
    "sw_power_cap": 1,
    "sw_thermal": 2,
    "hw_slowdown": 3,
    "hw_thermal": 3,
    "hw_power_brake": 3,
}
"""How bad each reason is; the worst that holds is shown."""

THROTTLED_STATES = {
    0: State("free", style.NEUTRAL),
    1: State("power cap", style.WELL),
    2: State("too hot (software)", style.WARNING),
    3: State("hardware slowdown", style.BAD),
}


def activity() -> tuple[Panel, ...]:
    """Return how busy GPUs and memory are."""
    return (
        _utilisation_by_gpu(),
        _sm_activity_by_gpu(),
        _tensor_activity_by_gpu(),
        _memory_bandwidth_by_gpu(),
        _memory_used_by_gpu(),
        _sm_clock_by_gpu(),
        _processes_by_gpu(),
    )


def _utilisation_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "Utilisation by GPU",
            "Says only that some kernel was there: one thread makes 100 %. Use SM activity to "
            "judge how well a GPU is used. Absent in MIG mode.",
        ),
        Size(8),
        {GPU: node("gpumon_gpu_utilization_ratio")},
        axis=(0, 1),
        link=to.GPU,
    )


def _sm_activity_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "SM activity by GPU",
            f"Below {limits.IDLE_WORDS} a GPU is idle. Training keeps it at 50 to 90 %; one "
            "GPU far from its peers is a straggler. Hopper and later.",
        ),
        Size(8),
        {GPU: node("gpumon_gpu_sm_active_ratio")},
        axis=(0, 1),
        link=to.GPU,
    )


def _tensor_activity_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "Tensor activity by GPU",
            "Where matrix work is done. Near 0 in a training job: it does not use the tensor "
            "cores. Hopper and later.",
        ),
        Size(8),
        {GPU: node("gpumon_gpu_tensor_active_ratio")},
        axis=(0, 1),
        link=to.GPU,
    )


def _memory_bandwidth_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "Memory bandwidth by GPU",
            "High with low tensor activity: bound by memory, as inference often is. Hopper "
            "and later.",
        ),
        Size(6),
        {GPU: node("gpumon_gpu_dram_active_ratio")},
        axis=(0, 1),
        link=to.GPU,
    )


def _memory_used_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "Memory used by GPU",
            "Against what there is (dashed). Frameworks take nearly all at once, so full is "
            "normal; used without activity is a job that holds a GPU idle.",
        ),
        Size(6),
        {
            GPU: node("gpumon_gpu_memory_used_bytes"),
            LIMIT: aggregate("min", node("gpumon_gpu_memory_total_bytes")),
        },
        link=to.GPU,
    )


def _sm_clock_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "SM clock by GPU",
            "Against the highest there is (dashed). Lower under load: see below what holds it "
            "down. Idle GPUs clock down by themselves.",
        ),
        Size(6),
        {
            GPU: node("gpumon_gpu_clock_hertz", clock="sm"),
            LIMIT: aggregate("max", node("gpumon_gpu_clock_max_hertz", clock="sm")),
        },
        link=to.GPU,
    )


def _processes_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "Processes by GPU",
            "That have a context on it. Normal: one or a few while a job holds the GPU. More "
            "than 0 where nobody holds it: left behind, see gpumon info on the node.",
        ),
        Size(6),
        {GPU: node("gpumon_gpu_processes")},
        link=to.GPU,
    )


def throttling() -> tuple[Panel, ...]:
    """Return what holds clocks down, now and over time."""
    return (
        panels.timeline(
            Text(
                "Worst reason by GPU",
                "The power cap is normal under full load. Too hot: look at cooling. A hardware "
                "slowdown is never normal: heat, or the supply's power brake.",
            ),
            Size(12),
            GPU,
            coded("gpumon_gpu_throttled", "reason", THROTTLED, "gpu"),
            THROTTLED_STATES,
            link=to.GPU,
        ),
        panels.lines(
            Text(
                "Share of time held down, by reason",
                "Of the GPU that loses most. Counted by the driver, so nothing is missed between "
                "readings. Normal: sw_power_cap under load, everything else 0.",
            ),
            Size(12),
            {
                "{{reason}}": aggregate(
                    "max", rate(node("gpumon_gpu_throttle_seconds_total")), "reason"
                )
            },
            axis=(0, 1),
        ),
    )


def links() -> tuple[Panel, ...]:
    """Return what goes over NVLink and PCI Express, and links that are not at their best."""
    return (
        _nvlink_traffic_by_gpu(),
        _pci_express_traffic_by_gpu(),
        _nvlinks_down_by_gpu(),
        _pci_express_lanes_missing_by_gpu(),
        _nvlink_errors(),
        _pci_express_replays_by_gpu(),
    )


def _nvlink_traffic_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "NVLink traffic by GPU",
            "Data without protocol, one way. An H100 does 450 GB/s each way. GPUs of one job "
            "should be alike; none where GPUs are not linked.",
        ),
        Size(12),
        {
            "GPU {{gpu}} sent": rate(node("gpumon_gpu_nvlink_transmit_bytes_total")),
            "GPU {{gpu}} received": rate(node("gpumon_gpu_nvlink_receive_bytes_total")),
        },
        link=to.GPU,
    )


def _pci_express_traffic_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "PCI Express traffic by GPU",
            "Sixteen lanes of generation 5 do about 60 GB/s each way. Steadily near that: the "
            "host feeds the GPUs too slowly.",
        ),
        Size(12),
        {
            "GPU {{gpu}} sent": rate(node("gpumon_gpu_pcie_transmit_bytes_total")),
            "GPU {{gpu}} received": rate(node("gpumon_gpu_pcie_receive_bytes_total")),
        },
        link=to.GPU,
    )


def _nvlinks_down_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "NVLinks down by GPU",
            "Normal: 0. A link that is down slows every job over several GPUs.",
        ),
        Size(6),
        {GPU: node("gpumon_gpu_nvlink_links") - node("gpumon_gpu_nvlink_links_active")},
        link=to.GPU,
        thresholds=style.ANY_BAD,
    )


def _pci_express_lanes_missing_by_gpu() -> Panel:
    return panels.lines(
        Text(
            "PCI Express lanes missing by GPU",
            "Normal: 0, idle or not (the generation may fall when idle, the width does not). "
            "Otherwise reseat the board or the riser.",
        ),
        Size(6),
        {GPU: node("gpumon_gpu_pcie_link_width_max") - node("gpumon_gpu_pcie_link_width")},
        link=to.GPU,
        thresholds=style.ANY_BAD,
    )


def _nvlink_errors() -> Panel:
    return panels.bars(
        Text(
            "NVLink errors",
            "All GPUs, over the time shown. Some replays are normal; recoveries, and anything "
            "that keeps growing on one GPU, are not.",
        ),
        Size(6),
        "{{kind}}",
        aggregate("sum", increase(node("gpumon_gpu_nvlink_errors_total")), "kind"),
    )


def _pci_express_replays_by_gpu() -> Panel:
    return panels.bars(
        Text(
            "PCI Express replays by GPU",
            "Over the time shown. A few are normal; thousands an hour are a bad contact.",
        ),
        Size(6),
        GPU,
        increase(node("gpumon_gpu_pcie_replays_total")),
        link=to.GPU,
    )
