"""Values that take several calls (``gpumon.model.origin.Composite`` names them)."""

from __future__ import annotations

from typing import Any

from gpumon.sources.nvml.library import SERIOUS, Code, Door, FaultError

# nvmlTemperatureThresholds_t: where the clocks are halved, and where they begin to fall.
_SLOWDOWN, _GPU_MAX = 1, 3


def margin_from_thresholds(door: Door, handle: Any) -> int:
    """Return the degrees Celsius left to the nearest threshold that slows the GPU down.

    For GPUs before Ada, which give no margin but absolute thresholds; later ones give it, and
    drop the thresholds (nvml.h: nvmlDeviceGetTemperatureThreshold).
    """
    thresholds = []
    for threshold in (_SLOWDOWN, _GPU_MAX):
        try:
            thresholds.append(door.get("nvmlDeviceGetTemperatureThreshold", handle, threshold))
        except FaultError as fault:
            if fault.code in SERIOUS:
                raise
    if not thresholds:
        raise FaultError(Code.NOT_SUPPORTED, "margin_from_thresholds", "no threshold is told")
    return int(min(thresholds) - door.get("nvmlDeviceGetTemperature", handle, 0))


COMPOSITES = {"margin_from_thresholds": margin_from_thresholds}
