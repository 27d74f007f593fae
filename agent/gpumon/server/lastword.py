"""What the reader said last, and how much of it still holds: the judge of freshness."""

from __future__ import annotations

import dataclasses

from gpumon.clock import SYSTEM, Clock
from gpumon.model import GpuReading, GpuState, NodeReading, Snapshot, SourceInfo
from gpumon.times import format_time

SILENCE_SECONDS = 5.0
"""A reader reports each tick within a second whatever one GPU does; silent for this long beyond two
ticks, it is the driver, or the reader, that is gone, and what it said last is not the present."""


class LastWord:
    """Holds the last snapshot; every other method only looks."""

    def __init__(
        self, node: str, source: SourceInfo, *, interval: float = 1.0, clock: Clock = SYSTEM
    ) -> None:
        """Begin before the first word; ``interval`` is the reader's, in seconds."""
        self._node = node
        self._source = source
        self._silence = SILENCE_SECONDS + 2 * interval
        self._clock = clock
        self._heard_at = clock.monotonic()
        self._gone = ""
        self.released = ""
        self.snapshot: Snapshot | None = None

    @property
    def source(self) -> SourceInfo:
        """The source of the readings, as far as it has reported itself."""
        return self.snapshot.source if self.snapshot else self._source

    @property
    def gone(self) -> str:
        """Why there is no reader, or nothing while there is one."""
        return self._gone

    def heard(self) -> None:
        """Take note that the reader has spoken."""
        self._heard_at, self._gone = self._clock.monotonic(), ""

    def keep(self, snapshot: Snapshot) -> None:
        """Keep what it said."""
        self.snapshot = snapshot

    def lose(self, reason: str) -> None:
        """Take note that there is no reader; what it said stands until it is too old."""
        self._gone = reason

    def release(self, reason: str) -> None:
        """Take note that the GPUs are not read on purpose, and why in words."""
        self.released = reason

    def resume(self) -> None:
        """Take note that they are read again; until the first word they are not known."""
        self.released = ""
        self._heard_at = self._clock.monotonic()
        if self.snapshot is not None:
            reason = "it has not answered since it was released"
            ghosts = without_readings(self.snapshot, GpuState.ERROR, reason)
            self.snapshot = dataclasses.replace(self.snapshot, gpus=ghosts, power=NodeReading())

    def current(self) -> Snapshot | None:
        """Return what is known now; None before the first word.

        After too long a silence that is who the GPUs were, and why there is no more.
        """
        last = self.snapshot
        if self.released:
            last = last or Snapshot(time=0.0, source=self._source, node=self._node)
            return self._down(last, GpuState.RELEASED, self.released)
        quiet = self._clock.monotonic() - self._heard_at
        if last is None or quiet <= self._silence:
            return last
        if self._gone:
            return self._down(last, GpuState.ERROR, self._gone)
        since = format_time(self._clock.time() - quiet)[:19]
        return self._down(last, GpuState.HUNG, f"the driver has answered nothing since {since}Z")

    def why_not_ready(self, fresh_seconds: float) -> str:
        """Return why the readings are not to be relied upon, or nothing if they are.

        One that is older than ``fresh_seconds`` is not.
        """
        snapshot = self.current()
        if snapshot is None:
            return self._gone or "no reading yet"
        if not snapshot.up:
            return "; ".join(snapshot.errors) or "the source is down"
        monotonic = self._clock.monotonic()
        ages = [gpu.age(monotonic) for gpu in snapshot.gpus if gpu.state is GpuState.OK]
        if not any(age is not None and age <= fresh_seconds for age in ages):
            return f"no GPU has been read in the last {fresh_seconds:g} s"
        return ""

    def _down(self, last: Snapshot, state: GpuState, reason: str) -> Snapshot:
        return dataclasses.replace(
            last,
            time=self._clock.time(),
            up=False,
            gpus=without_readings(last, state, reason),
            power=NodeReading(),
            errors=(reason,),
        )


def without_readings(snapshot: Snapshot, state: GpuState, reason: str) -> tuple[GpuReading, ...]:
    """Return the GPUs of a snapshot as they are while nothing is known of them but who they are."""
    return tuple(
        GpuReading(
            identity=gpu.identity, state=state, reason=reason, time=gpu.time, read_at=gpu.read_at
        )
        for gpu in snapshot.gpus
    )
