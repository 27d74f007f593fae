"""GPU performance monitoring: activity of SMs, tensor pipes and memory, Hopper and later.

NVML computes these from two samples of hardware counters; the mean over exactly the time between
two ticks comes from keeping the sample of the tick before. Nothing sleeps, no privilege is needed,
and profilers are not disturbed (GPM does not use the perfmon hardware).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pynvml

from gpumon.sources.nvml.library import Door

MIN_INTERVAL = 0.1
"""Seconds two samples must be apart (nvml.h: nvmlGpmMetricsGet)."""


class GpmReader:
    """The two samples of one GPU, and the struct they are compared in."""

    def __init__(self, door: Door, handle: Any, metric_ids: Sequence[int]) -> None:
        """Allocate both samples; raises FaultError where the GPU has no GPM or no room is left."""
        self._door = door
        self._handle = handle
        self._ids = tuple(metric_ids)
        self._older = door.call("nvmlGpmSampleAlloc")
        self._newer = door.call("nvmlGpmSampleAlloc")
        self._taken: float | None = None
        # 19 kB: allocated once, not each tick.
        self._request = pynvml.c_nvmlGpmMetricsGet_t()
        self._request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        self._request.numMetrics = len(self._ids)
        for position, metric_id in enumerate(self._ids):
            self._request.metrics[position].metricId = metric_id

    @staticmethod
    def supported(door: Door, handle: Any) -> bool:
        """Tell whether this GPU has GPM; raises FaultError where even that cannot be asked."""
        return bool(door.get("nvmlGpmQueryDeviceSupport", handle).isSupportedDevice)

    def read(self, monotonic: float) -> dict[int, float]:
        """Return the mean of each metric since the last reading, in NVML's unit, by metric id.

        Empty on the first reading, and where less than 0.1 s passed.
        """
        if self._taken is not None and monotonic - self._taken < MIN_INTERVAL:
            return {}
        self._door.get("nvmlGpmSampleGet", self._handle, self._newer)
        first, self._taken = self._taken is None, monotonic
        self._older, self._newer = self._newer, self._older
        if first:
            return {}
        self._request.sample1, self._request.sample2 = self._newer, self._older
        self._door.call("nvmlGpmMetricsGet", self._request)
        answers = self._request.metrics[: len(self._ids)]
        return {m.metricId: m.value for m in answers if m.nvmlReturn == 0}
