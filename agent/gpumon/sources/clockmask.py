"""The mask of reasons for throttled clocks, which NVML returns and nvidia-smi prints."""

from __future__ import annotations

from gpumon.model.bounds import ALL_ONES

_BITS = {
    0x2: "applications_clocks",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal",
    0x40: "hw_thermal",
    0x80: "hw_power_brake",
    0x100: "display_clocks",
}
"""nvml.h: nvmlClocksEventReason*. Bit 0x1, GpuIdle, is not a reason: an idle GPU is not
throttled."""


def throttle_reasons(mask: int) -> frozenset[str] | int:
    """Return the reasons whose bits are set in a mask.

    A mask with all bits set is not one: it stays as it is, and the gate refuses it.
    """
    if mask in ALL_ONES:
        return mask
    return frozenset(reason for bit, reason in _BITS.items() if mask & bit)
