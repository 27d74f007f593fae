"""GPU performance monitoring: activity of SMs, tensor pipes and memory, Hopper and later.

NVML computes these from two samples of hardware counters; the mean over exactly the time between
two ticks comes from keeping the sample of the tick before. Nothing sleeps, no privilege is needed,
and profilers are not disturbed (GPM does not use the perfmon hardware).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Sequence
from typing import Any

import pynvml

from gpumon.sources.nvml.library import Door, FaultError

MIN_INTERVAL = 0.1
"""Seconds two samples must be apart (nvml.h: nvmlGpmMetricsGet)."""


_METRIC = struct.Struct("=IId24x")
"""nvmlGpmMetric_t: id, return code, value, and three names that nobody asks for."""

_METRICS_AT = pynvml.c_nvmlGpmMetricsGet_t.metrics.offset


class GpmReader:
    """The two samples of one GPU or MIG instance, and the struct they are compared in."""

    def __init__(
        self, door: Door, handle: Any, metric_ids: Sequence[int], gpu_instance: int | None = None
    ) -> None:
        """Allocate both samples; raises FaultError if no room is left.

        ``handle`` is the GPU's, of which ``gpu_instance`` may name a part.
        """
        self._door = door
        self._handle = handle
        self._gpu_instance = gpu_instance
        self._ids = tuple(metric_ids)
        # The sample of the tick before, and one to take the next into: they change places.
        self._last = door.call("nvmlGpmSampleAlloc")
        self._spare = door.call("nvmlGpmSampleAlloc")
        self._taken: float | None = None
        self._means: dict[int, float] = {}
        # 19 kB: allocated once, not each tick.
        self._request = pynvml.c_nvmlGpmMetricsGet_t()
        self._request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        self._request.numMetrics = len(self._ids)
        for position, metric_id in enumerate(self._ids):
            self._request.metrics[position].metricId = metric_id

    @staticmethod
    def supported(door: Door, handle: Any) -> bool:
        """Return whether this GPU has GPM; raises FaultError if even that cannot be asked."""
        return bool(door.get("nvmlGpmQueryDeviceSupport", handle).isSupportedDevice)

    def read(self, monotonic: float) -> dict[int, float]:
        """Return the mean of each metric since the last reading, in NVML's unit, by metric id.

        Empty on the first reading; if less than 0.1 s passed, the means of the one before.
        """
        if self._taken is not None and monotonic - self._taken < MIN_INTERVAL:
            return self._means
        self._take(self._spare)
        older, newer, first = self._last, self._spare, self._taken is None
        self._last, self._spare, self._taken = newer, older, monotonic
        if first:
            return {}
        self._request.sample1, self._request.sample2 = older, newer
        self._door.call("nvmlGpmMetricsGet", self._request)
        # Unpacked at once: the binding decodes each attribute in Python. Exact numbers are tested.
        end = _METRICS_AT + len(self._ids) * _METRIC.size
        answers = _METRIC.iter_unpack(memoryview(self._request).cast("B")[_METRICS_AT:end])
        self._means = {metric_id: value for metric_id, code, value in answers if code == 0}
        return self._means

    def _take(self, sample: Any) -> None:
        if self._gpu_instance is None:
            self._door.get("nvmlGpmSampleGet", self._handle, sample)
        else:
            self._door.get("nvmlGpmMigSampleGet", self._handle, self._gpu_instance, sample)

    def close(self) -> None:
        """Free both samples."""
        for sample in (self._last, self._spare):
            with contextlib.suppress(FaultError):
                self._door.call("nvmlGpmSampleFree", sample)
