"""Extremes of the last half minute, of each GPU and of what the GPUs draw together."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from gpumon.model import GpuReading, GpuState, NodeReading, Snapshot

WINDOW_SECONDS = 30.0
"""How far back extremes look: two scrapes at the usual 15 s, so none is missed between them."""

BIN_SECONDS = 0.1
"""Step on which the GPUs' samples are added up: the driver's own buffer has one each 20-100 ms."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Extremes:
    """Lowest and highest of something over one tick, which ended at ``time``."""

    time: float
    low: float
    high: float
    ramp: float | None = None


class _Window:
    """The extremes of the ticks of the last WINDOW_SECONDS."""

    def __init__(self) -> None:
        self._ticks: collections.deque[_Extremes] = collections.deque()

    def add(self, tick: _Extremes) -> None:
        if self._ticks and tick.time < self._ticks[-1].time:
            self._ticks.clear()  # the clock was set back: what was before is not before any more
        self._ticks.append(tick)
        while self._ticks[0].time <= tick.time - WINDOW_SECONDS:
            self._ticks.popleft()

    @property
    def empty(self) -> bool:
        return not self._ticks

    def low(self) -> float:
        return min([tick.low for tick in self._ticks])

    def forget_lows(self) -> None:
        """Forget the lowest values; the highest, and the steepest, stay."""
        again = [dataclasses.replace(tick, low=math.inf) for tick in self._ticks]
        self._ticks = collections.deque(again)

    def high(self) -> float:
        return max([tick.high for tick in self._ticks])

    def ramp(self) -> float | None:
        return _largest(tick.ramp for tick in self._ticks)


class _NodeSum:
    """The sum over the GPUs, bin by bin; each GPU holds its last sample until its next one."""

    def __init__(self) -> None:
        self._held: dict[str, float] = {}
        self._members: set[str] = set()
        self.changed = False
        """Whether other GPUs than a tick before are in the sum."""
        self._recent: collections.deque[tuple[int, float]] = collections.deque()

    def add(self, readings: Iterable[GpuReading]) -> _Extremes | None:
        """Take in one tick's samples; None if no GPU has any."""
        bins: dict[int, dict[str, float]] = {}
        present = set()
        for reading in readings:
            present.add(reading.identity.uuid)
            for sample in reading.power_samples:
                of_bin = bins.setdefault(round(sample.time / BIN_SECONDS), {})
                of_bin[reading.identity.uuid] = sample.watts
        self.changed = present != self._members
        if self.changed:
            # A GPU went away or came back: what it drew no longer counts, or does again. That is
            # a step of what is added up, and of no power, so nothing from before is compared with.
            self._members = present
            self._held = {uuid: w for uuid, w in self._held.items() if uuid in present}
            self._recent.clear()
        sums = []
        for number in sorted(bins):
            self._held.update(bins[number])
            if self._held.keys() == present:
                sums.append((number, _total(self._held.values())))
        if not sums:
            return None
        last = sums[-1][0]
        sums = [total for total in sums if total[0] > last - WINDOW_SECONDS / BIN_SECONDS]
        watts = [total for _, total in sums]
        return _Extremes(
            last * BIN_SECONDS, min(watts), max(watts), _largest(map(self._ramp, sums))
        )

    def _ramp(self, total: tuple[int, float]) -> float | None:
        """Return the greatest change against the sums of the second before, in watts.

        None if there is none: samples more than a second apart say nothing about a second.
        """
        number, watts = total
        if self._recent and number < self._recent[-1][0]:
            self._recent.clear()
        while self._recent and self._recent[0][0] < number - round(1 / BIN_SECONDS):
            self._recent.popleft()
        change = _largest(abs(watts - earlier) for _, earlier in self._recent)
        self._recent.append(total)
        return None if change is None else round(change, 3)


class PowerExtremes:
    """Fills in peak and trough of each GPU and of the node, from one snapshot to the next."""

    def __init__(self) -> None:
        """Start with an empty window."""
        self._gpus: dict[str, _Window] = {}
        self._sum = _NodeSum()
        self._node = _Window()

    def update(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the extremes of the window that ends with it."""
        power = self.node(snapshot)
        gpus = tuple(dataclasses.replace(gpu, **self.of(gpu)) for gpu in snapshot.gpus)
        return dataclasses.replace(snapshot, gpus=gpus, power=power)

    def node(self, snapshot: Snapshot) -> NodeReading:
        """Take in a snapshot and return what its GPUs draw together; call it before ``of``."""
        ok = [gpu for gpu in snapshot.gpus if gpu.state is GpuState.OK]
        self._gpus = {g.identity.uuid: self._gpus.get(g.identity.uuid, _Window()) for g in ok}
        return self._node_reading(ok)

    def of(self, gpu: GpuReading) -> dict[str, Any]:
        """Return the extremes of a GPU of that snapshot, by its reading's fields."""
        window = self._gpus.get(gpu.identity.uuid)
        if window is None:
            return {}
        if gpu.power_samples:
            end = gpu.power_samples[-1].time
            # One tick of a fast replay may be longer than the window.
            watts = [s.watts for s in gpu.power_samples if s.time > end - WINDOW_SECONDS]
            window.add(_Extremes(end, min(watts), max(watts)))
        if window.empty:
            return {}
        return {"power_peak_watts": window.high(), "power_trough_watts": window.low()}

    def _node_reading(self, gpus: list[GpuReading]) -> NodeReading:
        counted = _each_once(gpu for gpu in gpus if gpu.power_watts is not None)
        tick = self._sum.add(counted)
        if self._sum.changed:
            # A sum over fewer GPUs is no trough of what all of them drew.
            self._node.forget_lows()
        if tick is not None:
            self._node.add(tick)
        if not counted:
            return NodeReading()
        total = _total(gpu.power_watts or 0.0 for gpu in counted)
        if self._node.empty:
            return NodeReading(gpu_power_watts=total)
        low = self._node.low()
        return NodeReading(
            gpu_power_watts=total,
            gpu_power_peak_watts=self._node.high(),
            gpu_power_trough_watts=low if math.isfinite(low) else None,
            gpu_power_ramp_watts_per_second=self._node.ramp(),
        )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _total(watts: Iterable[float]) -> float:
    """Add up, to the milliwatt that the driver reads in."""
    return round(sum(watts), 3)


def _each_once(gpus: Iterable[GpuReading]) -> list[GpuReading]:
    """Leave out a GPU whose module another GPU has answered for already (GB200: two a module)."""
    counted: dict[str, GpuReading] = {}
    for gpu in gpus:
        module = gpu.identity.serial if gpu.power_scope == "module" else ""
        counted.setdefault(module or gpu.identity.uuid, gpu)
    return list(counted.values())
