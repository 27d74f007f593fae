"""The checks by name, in the order in which a report lists them."""

from __future__ import annotations

from collections.abc import Sequence

from gpumon.checks import gpu, links, memory, node, power
from gpumon.checks.model import Check
from gpumon.errors import UsageError, hint

CHECKS = (
    Check(
        name="driver",
        title="the driver answers",
        node=node.driver,
        alerts=("SourceDown",),
    ),
    Check(
        name="count",
        title="as many GPUs are there as should be",
        node=node.count,
        alerts=("GpuMissing",),
    ),
    Check(
        name="state",
        title="the GPU answers: it is not lost, hung, or in need of a reset",
        gpu=gpu.state,
        of_state=True,
        alerts=("GpuLost", "GpuHung", "GpuResetRequired", "GpuReadError"),
    ),
    Check(
        name="age",
        title="its readings are of now",
        gpu=gpu.age,
        alerts=("ReadingsStale",),
        thresholds=("monitor.stale_seconds",),
    ),
    Check(
        name="recovery",
        title="the driver asks for no reset or reboot",
        gpu=gpu.recovery,
        alerts=("GpuNeedsReset", "GpuNeedsReboot"),
    ),
    Check(
        name="xid",
        title="no Xid of the hardware or the driver in the last minutes",
        gpu=gpu.xids,
        of_state=True,
        alerts=(
            "GpuXidReboot",
            "GpuXidCritical",
            "GpuGspTimeout",
            "GpuXidHardware",
            "GpuXidDriver",
        ),
        thresholds=("xid.recent",),
    ),
    Check(
        name="ecc",
        title="no memory errors beyond correction, no storm of corrected ones",
        gpu=memory.ecc,
        alerts=("GpuEccUncorrectable", "GpuEccStorm", "GpuSramThresholdExceeded"),
        thresholds=("memory.corrected_per_second",),
    ),
    Check(
        name="remap",
        title="no memory row waits to be replaced, or could not be",
        gpu=memory.remap,
        alerts=("GpuRowRemapFailed", "GpuRowRemapPending", "GpuRemapBanksExhausted"),
    ),
    Check(
        name="nvlink",
        title="all NVLinks are up, without a rate of errors",
        gpu=links.nvlink,
        alerts=("NvlinkDown", "NvlinkErrors"),
        thresholds=("links.nvlink_errors_per_second",),
    ),
    Check(
        name="fabric",
        title="the NVLink fabric is joined and healthy",
        gpu=links.fabric,
        alerts=("FabricNotReady", "FabricUnhealthy"),
    ),
    Check(
        name="pcie-width",
        title="PCI Express has all its lanes",
        gpu=links.pcie_width,
        alerts=("PcieWidthReduced",),
    ),
    Check(
        name="pcie-generation",
        title="PCI Express has its generation, under load",
        gpu=links.pcie_generation,
        alerts=("PcieGenerationReduced",),
        thresholds=("links.pcie_busy_ratio",),
    ),
    Check(
        name="pcie-replays",
        title="PCI Express sends few packets again (needs --window)",
        gpu=links.pcie_replays,
        alerts=("PcieReplays",),
        thresholds=("links.replays_per_second",),
    ),
    Check(
        name="margin",
        title="degrees are left until it slows down, and its memory is not hot",
        gpu=power.margin,
        alerts=("GpuMarginLow", "GpuMemoryHot"),
        thresholds=("heat.margin_low_celsius", "heat.hbm_celsius"),
    ),
    Check(
        name="throttle",
        title="neither heat nor the power brake holds its clocks down",
        gpu=power.throttle,
        alerts=(
            "GpuHardwareSlowdown",
            "GpuPowerBrake",
            "GpuThermalThrottling",
            "GpuCurrentLimited",
        ),
        thresholds=("heat.throttled_ratio", "power.edp_time_ratio", "power.edp_power_ratio"),
    ),
    Check(
        name="limit",
        title="the power limit is the one it comes up with",
        gpu=power.limit,
        alerts=("PowerLimitBelowDefault",),
        thresholds=("power.cap_ratio",),
    ),
    Check(
        name="persistence",
        title="the driver keeps the GPU initialised",
        gpu=power.persistence,
    ),
    Check(
        name="clocks",
        title="the SM clock is not low under load without a reason",
        gpu=power.clocks,
        alerts=("JobStraggler",),
        thresholds=("clocks.busy_ratio", "clocks.low_ratio"),
    ),
)

NAMES = tuple(check.name for check in CHECKS)


def chosen(only: Sequence[str], skip: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks to run; UsageError for a name that there is not, or where none is left."""
    for name in (*only, *skip):
        if name not in NAMES:
            raise UsageError(
                f"no check {name!r}", f"gpumon check --list names them{hint(name, NAMES)}"
            )
    left = tuple(c for c in CHECKS if (not only or c.name in only) and c.name not in skip)
    if not left:
        raise UsageError("no check is left", "name fewer with --skip")
    return left
