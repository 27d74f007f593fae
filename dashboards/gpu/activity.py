"""GPU: what it does and for whom, and what goes over its links."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.gpu.series import gpu, new, recorded
from dashboards.kit import limits, links, panels, style
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import aggregate, rate, where
from dashboards.kit.style import State


def activity() -> tuple[Panel, ...]:
    """Return how busy the GPU and its memory are, and who keeps them so."""
    return (
        _activity(),
        _memory(),
        _who_held_it(),
        _straggler_score_in_its_job(),
        _processes(),
    )


def _activity() -> Panel:
    return panels.lines(
        Text(
            "Activity",
            "Utilisation says only that some kernel was there. SM activity: how much of the "
            "GPU worked. Tensor near 0 in training: no tensor cores. DRAM high, tensor low: "
            "bound by memory. Occupancy is low in good matrix kernels too.",
        ),
        Size(14, 9),
        {
            "SM active": gpu("gpumon_gpu_sm_active_ratio"),
            "tensor active": gpu("gpumon_gpu_tensor_active_ratio"),
            "DRAM active": gpu("gpumon_gpu_dram_active_ratio"),
            "SM occupancy": gpu("gpumon_gpu_sm_occupancy_ratio"),
            "utilisation": gpu("gpumon_gpu_utilization_ratio"),
            "memory access": gpu("gpumon_gpu_memory_access_ratio"),
        },
        axis=(0, 1),
    )


def _memory() -> Panel:
    return panels.lines(
        Text(
            "Memory",
            "Used, against what there is (dashed). Frameworks take nearly all at once, so "
            "full is normal; used without activity is a job that holds a GPU idle.",
        ),
        Size(10, 9),
        {
            "used": gpu("gpumon_gpu_memory_used_bytes"),
            LIMIT: gpu("gpumon_gpu_memory_total_bytes"),
        },
    )


def _who_held_it() -> Panel:
    return panels.timeline(
        Text(
            "Who held it",
            "A band for each job within the time shown. Where there is none, nobody held it. "
            "A click on a band leads to its job.",
        ),
        Size(8, 7),
        "job {{job_id}}",
        aggregate("max", where("({0} > bool 0)", gpu("gpumon_job_gpu_share")), "job_id"),
        {0: State("shares it, pays nothing", style.NEUTRAL), 1: State("holds it", style.WELL)},
        link=links.JOB_OF_THIS,
        absent="none that answers",
    )


def _straggler_score_in_its_job() -> Panel:
    return panels.lines(
        Text(
            "Straggler score in its job",
            "Distance of its power from the job's median, in robust standard deviations. "
            f"Beyond {limits.STRAGGLES} (dashed), either way, it works otherwise than its "
            "peers. Absent while nobody holds it.",
        ),
        Size(8, 7),
        {"job {{job_id}}": recorded("uuid:gpumon_gpu_straggler_score:z")},
        axis=(None, None),
        thresholds=limits.score_lines(),
        link=links.JOB_OF_THIS,
        absent="none that answers",
    )


def _processes() -> Panel:
    return panels.lines(
        Text(
            "Processes",
            "That have a context on it. Normal: one or a few for each job. More than 0 while "
            "nobody holds it: left behind, see gpumon info on the node.",
        ),
        Size(8, 7),
        {"processes": gpu("gpumon_gpu_processes")},
    )


def nvlink() -> tuple[Panel, ...]:
    """Return what goes over NVLink, and how well its links are."""
    return (
        panels.lines(
            Text(
                "NVLink traffic",
                "Data without protocol, all links together. An H100 does 450 GB/s each way. None "
                "where GPUs are not linked.",
            ),
            Size(10),
            {
                "sent": rate(gpu("gpumon_gpu_nvlink_transmit_bytes_total")),
                "received": rate(gpu("gpumon_gpu_nvlink_receive_bytes_total")),
            },
        ),
        panels.lines(
            Text(
                "NVLinks up",
                "Normal: as many as there are (dashed). A link that is down slows every job over "
                "several GPUs.",
            ),
            Size(6),
            {
                "up": gpu("gpumon_gpu_nvlink_links_active"),
                LIMIT: gpu("gpumon_gpu_nvlink_links"),
            },
        ),
        panels.lines(
            Text(
                "NVLink errors by kind",
                "New ones at each point. Some replays are normal; recoveries, and anything that "
                "keeps coming, are not: reseat the board, then replace it.",
            ),
            Size(8),
            {"{{kind}}": new(gpu("gpumon_gpu_nvlink_errors_total"))},
        ),
    )


def pcie() -> tuple[Panel, ...]:
    """Return what goes over PCI Express, and how well that link is."""
    return (
        panels.lines(
            Text(
                "PCI Express traffic",
                "Sixteen lanes of generation 5 do about 60 GB/s each way. Steadily near that: the "
                "host feeds the GPU too slowly.",
            ),
            Size(10),
            {
                "sent": rate(gpu("gpumon_gpu_pcie_transmit_bytes_total")),
                "received": rate(gpu("gpumon_gpu_pcie_receive_bytes_total")),
            },
        ),
        panels.lines(
            Text(
                "PCI Express lanes and generation",
                "Against what GPU and slot both have (grey). The generation may fall when idle, "
                "the width does not: fewer lanes are a bad contact. A GH200 has one lane, by "
                "design.",
            ),
            Size(6),
            {
                "lanes": gpu("gpumon_gpu_pcie_link_width"),
                LIMIT: gpu("gpumon_gpu_pcie_link_width_max"),
                "generation": gpu("gpumon_gpu_pcie_link_generation"),
                "generation, at most": gpu("gpumon_gpu_pcie_link_generation_max"),
            },
            colors={
                "lanes": style.WELL,
                "generation": style.WARNING,
                "generation, at most": style.NEUTRAL,
            },
        ),
        panels.lines(
            Text(
                "PCI Express replays",
                "Packets sent again, new ones at each point. A few are normal; thousands an hour "
                "are a bad contact.",
            ),
            Size(8),
            {"replays": new(gpu("gpumon_gpu_pcie_replays_total"))},
        ),
    )
