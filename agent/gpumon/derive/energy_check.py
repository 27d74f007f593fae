"""Whether a device's energy counter can be believed.

Counters have been seen to read 43 % less than the power they count (Zeus issue 181, one GPU in
five seconds of idling), so each is held against the integral of its own power readings. What is
found is a flag for people and rules: the counter stays what is exposed.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

from gpumon.model import GpuReading, GpuState, Snapshot

WINDOW_SECONDS = 300.0
"""How far back a counter is compared with its power."""

LEAST_SECONDS = 120.0
"""Anything shorter says nothing: a second's mean lags behind the counter by half a second."""

DIVERGENCE = 0.10
"""Share of the integral by which they may differ; sensors and counter agree within 2 % (H200, over
200 ms and more), and what they share, the sensor's gain, does not show."""

STUCK_SECONDS = 10.0
"""Counters are updated every 20 to 100 ms; one that stands for this long under power is stuck."""

JUMP = 1.3
"""Times the power limit that no GPU draws over a second (design: the ledger)."""

STEP_SECONDS = 0.9
"""Checkpoints are so far apart at least, or the counter's own step of 100 ms would be a jump."""

SPACING_SECONDS = 5.0
"""Checkpoints this many seconds apart are remembered."""

COARSE_SECONDS = 2.0
"""Over a longer tick the mean of its two ends says nothing about a load that swings within seconds;
its samples do, if there are any."""

HOLE_SECONDS = 60.0
"""Over a longer hole nobody knows the power."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Point:
    """What was known at a time: the counter and the integral, in joules."""

    time: float
    counter: float
    integral: float


class EnergyCheck:
    """Fills in ``energy_suspect`` and ``energy_divergence_ratio``."""

    def __init__(self) -> None:
        """Know nothing of any counter."""
        self._counters: dict[str, _Counter] = {}

    def update(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with a verdict on each device's counter."""
        self.forget(snapshot)
        gpus = tuple(dataclasses.replace(gpu, **self.of(gpu)) for gpu in snapshot.gpus)
        return dataclasses.replace(snapshot, gpus=gpus)

    def forget(self, snapshot: Snapshot) -> None:
        """Forget the counters of GPUs that are no longer there."""
        present = {gpu.identity.uuid for gpu in snapshot.gpus}
        self._counters = {uuid: c for uuid, c in self._counters.items() if uuid in present}

    def of(self, gpu: GpuReading) -> dict[str, Any]:
        """Return the verdict on a GPU's counter, by its reading's fields."""
        method = gpu.energy_info.method if gpu.energy_info else ""
        scope = gpu.energy_info.scope if gpu.energy_info else ""
        known = gpu.energy_joules is not None and gpu.power_watts is not None
        if (
            gpu.state is not GpuState.OK
            or method != "counter"
            or scope != gpu.power_scope
            or not known
        ):
            return {}
        counter = self._counters.setdefault(gpu.identity.uuid, _Counter())
        counter.add(gpu)
        return {
            "energy_suspect": counter.suspicions(),
            "energy_divergence_ratio": counter.divergence(),
        }


class _Counter:
    """One device's counter, and the integral of its power beside it."""

    def __init__(self) -> None:
        self._points: collections.deque[_Point] = collections.deque()
        self._last: _Point | None = None
        self._watts = 0.0
        self._moved_at = 0.0
        self._jumped_at: float | None = None

    def add(self, gpu: GpuReading) -> None:
        """Take in a reading; one less than a step after the last one is passed over."""
        watts, joules = gpu.power_watts or 0.0, gpu.energy_joules or 0.0
        last = self._last
        if last is not None and 0 <= gpu.time - last.time < STEP_SECONDS:
            return
        if last is None or not 0 < gpu.time - last.time <= HOLE_SECONDS or joules < last.counter:
            self._restart(gpu.time, joules)  # a reset, a hole, or a clock that was set back
            self._watts = watts
        else:
            seconds = gpu.time - last.time
            limit = max(gpu.power_limit_watts or 0.0, gpu.power_limit_default_watts or 0.0)
            if joules > last.counter or watts <= 0:
                self._moved_at = gpu.time
            if limit and joules - last.counter > JUMP * limit * seconds:
                self._restart(gpu.time, joules)
                self._jumped_at = gpu.time
            else:
                mean = (self._watts + watts) / 2
                if seconds > COARSE_SECONDS:
                    mean = _mean_of_samples(gpu, last.time) or mean
                integral = last.integral + seconds * mean
                self._remember(_Point(gpu.time, joules, integral))
            self._watts = watts

    def divergence(self) -> float | None:
        """Return by how much the counter exceeds the integral, as a share of it."""
        first, last = self._points[0], self._last
        assert last is not None
        integral = last.integral - first.integral
        if last.time - first.time < LEAST_SECONDS or integral <= 0:
            return None
        return round((last.counter - first.counter) / integral - 1, 4)

    def suspicions(self) -> frozenset[str]:
        """Return what is wrong with the counter now; a jump is remembered for a window."""
        assert self._last is not None
        now = self._last.time
        divergence = self.divergence()
        found = set()
        if divergence is not None and abs(divergence) > DIVERGENCE:
            found.add("diverging")
        if now - self._moved_at >= STUCK_SECONDS:
            found.add("stuck")
        if self._jumped_at is not None and now - self._jumped_at < WINDOW_SECONDS:
            found.add("jump")
        return frozenset(found)

    def _restart(self, time: float, joules: float) -> None:
        self._points.clear()
        self._remember(_Point(time, joules, 0.0))
        self._moved_at = time
        if self._jumped_at is not None and time < self._jumped_at:
            self._jumped_at = None

    def _remember(self, point: _Point) -> None:
        self._last = point
        if not self._points or point.time - self._points[-1].time >= SPACING_SECONDS:
            self._points.append(point)
        while point.time - self._points[0].time > WINDOW_SECONDS:
            self._points.popleft()


def _mean_of_samples(gpu: GpuReading, since: float) -> float | None:
    """Return the mean power since a time, each sample for the time up to it; None without any."""
    joules, at = 0.0, since
    for sample in gpu.power_samples:
        if sample.time > at:
            joules += sample.watts * (sample.time - at)
            at = sample.time
    return joules / (at - since) if at > since else None
