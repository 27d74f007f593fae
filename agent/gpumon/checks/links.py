"""NVLink, its fabric, and PCI Express."""

from __future__ import annotations

from collections.abc import Iterator

from gpumon.checks.model import Finding, Level, Observation, gpu_check, passed, skipped
from gpumon.model import GpuReading

_BAD_KINDS = frozenset(
    (
        *("replay", "recovery", "crc", "recovery_failed"),
        *("effective", "malformed_packet", "buffer_overrun", "integrity"),
    )
)
"""Kinds of NVLink errors that point at a link (those of NvlinkErrors)."""


@gpu_check(
    name="nvlink",
    title="all NVLinks are up, without a rate of errors",
    fails="a link is down",
    warns="a rate of errors (`--window`)",
    alerts=("NvlinkDown", "NvlinkErrors"),
    thresholds=("links.nvlink_errors_per_second",),
)
def nvlink(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge whether all NVLinks are up, and at what rate errors occur."""
    links, active = gpu.nvlink_links, gpu.nvlink_links_active
    if not links or active is None:
        yield skipped("it has no NVLink, or does not report it")
    elif gpu.mig_mode:
        yield skipped("MIG switches NVLink off")
    elif gpu.fabric_state not in (None, "completed"):
        yield skipped("it has not joined its fabric")
    elif not active and gpu.fabric_state is None:
        yield skipped(f"none of {links} NVLinks is up: it has no bridge")
    elif active < links:
        yield Finding(
            Level.FAIL,
            f"{links - active} of {links} NVLinks down",
            "Look for Xid 74 or 149, reset the GPU, then check both ends of the link.",
            "NvlinkDown",
        )
    else:
        yield from _nvlink_errors(gpu, seen)
        yield passed(f"{active} of {links} NVLinks up")


def _nvlink_errors(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    rate = seen.rate(_bad(gpu), _bad(seen.before(gpu)))
    if rate is not None and rate > seen.number("links.nvlink_errors_per_second"):
        yield Finding(
            Level.WARN,
            f"{rate:.2f} NVLink errors a second",
            f"See which link it is (nvidia-smi nvlink -e -i {gpu.identity.index}), and reseat it.",
            "NvlinkErrors",
        )


def _bad(gpu: GpuReading | None) -> int | None:
    errors = gpu.nvlink_errors if gpu is not None else None
    return None if errors is None else sum(n for kind, n in errors.items() if kind in _BAD_KINDS)


_FATAL = frozenset(("join_failed", "unhealthy"))
"""Conditions of a fabric in which no job over NVLink should start."""


@gpu_check(
    name="fabric",
    title="the NVLink fabric is joined and healthy",
    fails="not joined, joining has failed, or the driver calls the fabric unhealthy",
    warns="degraded bandwidth, limited capacity, routes, configuration",
    alerts=("FabricNotReady", "FabricUnhealthy"),
)
def fabric(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge whether the GPU has joined its NVLink fabric, and how that is."""
    if gpu.fabric_state is None:
        yield skipped("it has no fabric to join")
        return
    if gpu.fabric_state != "completed":
        yield Finding(
            Level.FAIL,
            f"it has not joined its NVLink fabric ({gpu.fabric_state}): no CUDA program starts",
            "Look at nvidia-fabricmanager (on NVL72 at the IMEX domain and the switches' manager).",
            "FabricNotReady",
        )
        return
    unhealthy = [name for name, held in (gpu.fabric_unhealthy or {}).items() if held]
    if unhealthy:
        yield Finding(
            Level.FAIL if _FATAL.intersection(unhealthy) else Level.WARN,
            f"its NVLink fabric is unhealthy: {', '.join(unhealthy)}",
            "Ask the fabric manager for its view of this GPU's links.",
            "FabricUnhealthy",
        )
        return
    yield passed("it has joined its NVLink fabric")


@gpu_check(
    name="pcie-width",
    title="PCI Express has all its lanes",
    warns="fewer lanes than GPU and slot both have",
    alerts=("PcieWidthReduced",),
)
def pcie_width(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge the number of PCI Express lanes, which does not change with load."""
    width, most = gpu.pcie_link_width, gpu.pcie_link_width_max
    if width is None or most is None:
        yield skipped("it does not report its lanes")
    elif width < most:
        yield Finding(
            Level.WARN,
            f"PCI Express with {width} of {most} lanes",
            "Reboot once; then reseat the board or its riser, and look at the slot's settings.",
            "PcieWidthReduced",
        )
    else:
        yield passed(f"{width} of {most} lanes")


@gpu_check(
    name="pcie-generation",
    title="PCI Express has its generation, under load",
    warns="below the highest, under load",
    alerts=("PcieGenerationReduced",),
    thresholds=("links.pcie_busy_ratio",),
)
def pcie_generation(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge the PCI Express generation: below the highest it is judged under load only."""
    now, most = gpu.pcie_link_generation, gpu.pcie_link_generation_max
    busy = seen.number("links.pcie_busy_ratio")
    use = gpu.utilization_ratio
    if now is None or most is None:
        yield skipped("it does not report its generation")
    elif now >= most:
        yield passed(f"generation {now} of {most}")
    elif use is None or use <= busy:
        yield skipped(
            f"generation {now} of {most}, as some boards are when idle; judged under load"
        )
    else:
        yield Finding(
            Level.WARN,
            f"PCI Express generation {now} of {most} at {use:.0%} utilization",
            "Look for AER messages in the kernel's log; reseat the board or its riser.",
            "PcieGenerationReduced",
        )


@gpu_check(
    name="pcie-replays",
    title="PCI Express sends few packets again (needs --window)",
    warns="a rate of packets sent again (`--window`)",
    alerts=("PcieReplays",),
    thresholds=("links.replays_per_second",),
)
def pcie_replays(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge how often PCI Express sends a packet again."""
    before = seen.before(gpu)
    rate = seen.rate(gpu.pcie_replays, before.pcie_replays if before is not None else None)
    if gpu.pcie_replays is None:
        yield skipped("it counts no packets that were sent again")
    elif rate is None:
        yield skipped(f"{gpu.pcie_replays} packets sent again so far; --window measures the rate")
    elif rate > seen.number("links.replays_per_second"):
        yield Finding(
            Level.WARN,
            f"{rate:.2f} PCI Express packets a second are sent again",
            "Reseat the board or its riser; if it goes on, replace the riser, then the board.",
            "PcieReplays",
        )
    else:
        yield passed(f"{rate:.2f} packets a second are sent again")
