"""A recording, played."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from gpumon.clock import Clock
from gpumon.errors import UsageError
from gpumon.model import EnergyInfo, GpuReading, GpuState, PowerSample, Snapshot
from gpumon.refusals import Refusals
from gpumon.sources.energy import PowerIntegral, error_ratio, has_duty_samples
from gpumon.sources.gate import Gate
from gpumon.sources.replay.frame import Frame, Recording, open_text
from gpumon.sources.replay.recording import SnapshotLog
from gpumon.sources.replay.smilog import SmiLog
from gpumon.sources.spec import SourceSpec

OPTIONS = ("gpus", "speed", "loop", "tz")

LOOP_PAUSE = 1.0
"""Seconds between the last frame of a recording and its first one of the next round."""

_TZ = re.compile(r"(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)")


class ReplaySource:
    """Implements Source over a recording; its time is the recording's own.

    A recording that has ended keeps its last readings, whose age then grows.
    """

    def __init__(self, spec: SourceSpec, clock: Clock) -> None:
        """Open the file and read its beginning; UsageError or UnavailableError if that fails.

        Options: ``gpus`` (rows per tick if no column names the GPU), ``speed`` (seconds of
        the recording in one second, or ``max`` for all at once), ``loop``, ``tz`` (``+01:00``
        or ``Z``; a log without carries this machine's local time).
        """
        spec.check_options(OPTIONS)
        self._clock = clock
        self._loop = "loop" in spec.options
        at_once = spec.options.get("speed") == "max"
        self._speed = float("inf") if at_once else spec.number("speed", 1.0)
        if self._loop and at_once:
            raise UsageError("replay: loop with speed=max never ends", "leave one of them out")
        self._path = Path(spec.subject)
        self._recording = _open(spec)
        self._frames = self._recording.frames()
        self._next: Frame | None = self._following()
        if self._next is None:
            why = "".join(f"; {remark}" for remark in self._recording.remarks)
            raise UsageError(f"{spec.subject}: no readings in it{why}", "record for longer")
        self._opened = clock.monotonic()
        self._start = self._now = self._next.time
        self._last = self._next
        self._shift = 0.0
        self._up = True
        self._errors: tuple[str, ...] = ()
        self._left_out: list[str] = []
        self._refusals = Refusals(self._left_out.append)
        self._gate = Gate(self._refusals)
        self._held: dict[str, GpuReading] = {}
        self._samples: dict[str, list[PowerSample]] = {}
        self._integrals: dict[str, PowerIntegral] = {}
        self._info = dataclasses.replace(
            self._recording.recorded, source="replay", detail=str(spec).partition(":")[2]
        )

    def read(self) -> Snapshot:
        """Return the state at this moment of the recording."""
        monotonic = self._clock.monotonic()
        played = (monotonic - self._opened) * self._speed if monotonic > self._opened else 0.0
        until = float("inf") if self._speed == float("inf") else self._start + played
        for frame in self._due(until):
            self._take(frame)
        late = {
            uuid: max(0.0, min(until, 1e18) - reading.time) / self._speed
            for uuid, reading in self._held.items()
        }
        return self._snapshot({uuid: monotonic - age for uuid, age in late.items()})

    def play(self, step: float) -> Iterator[Snapshot]:
        """Yield what was known each ``step`` seconds of the recording, without waiting.

        If the recording says nothing for longer there is nothing in between.
        """
        while self._next is not None:
            for frame in self._due(self._next.time + self._shift + step):
                self._take(frame)
            yield self._snapshot({uuid: reading.time for uuid, reading in self._held.items()})

    def _snapshot(self, read_at: Mapping[str, float]) -> Snapshot:
        gpus = tuple(
            dataclasses.replace(
                reading,
                read_at=read_at[uuid],
                power_samples=tuple(self._samples.pop(uuid, ())),
            )
            for uuid, reading in sorted(self._held.items(), key=lambda item: item[1].identity.index)
        )
        return Snapshot(
            time=self._now,
            source=self._info,
            node=self._recording.node,
            up=self._up,
            gpus=gpus,
            host=self._last.host,
            ledger=self._last.ledger,
            errors=tuple(dict.fromkeys((*self._errors, *self._at_its_end(), *self._impossible()))),
            origins=self._last.origins,
            refused=self._refusals.take(),
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the values must know of what was played so far."""
        return (*self._recording.remarks, *self._impossible())

    def _at_its_end(self) -> tuple[str, ...]:
        """Return what turned out when the recording had ended."""
        return self._recording.remarks if self._next is None and self._up else ()

    def _impossible(self) -> tuple[str, ...]:
        """Return a remark on readings that cannot be."""
        if not self._left_out:
            return ()
        others = len(self._left_out) - 1
        more = f", and {others} more of other GPUs or quantities" if others else ""
        return (f"impossible readings are left out: {self._left_out[0]}{more}",)

    def leave_alone(self, index: int, reason: str) -> None:
        """A recording cannot stand still."""

    def close(self) -> None:
        """Nothing is held but the file, which goes with the iterator."""
        self._frames = iter(())

    def _due(self, until: float) -> Iterator[Frame]:
        while self._next is not None and self._next.time + self._shift <= until:
            yield self._next
            self._now = max(self._now, self._next.time + self._shift)
            self._next = self._following()
            if self._next is None and self._loop:
                self._frames = self._recording.frames()
                self._next = self._following()
                assert self._next is not None  # it was there the first time
                self._shift = self._now + LOOP_PAUSE - self._next.time

    def _following(self) -> Frame | None:
        """Return the file's next frame, or None at its end."""
        try:
            return next(self._frames, None)
        except (
            ArithmeticError,
            LookupError,
            MemoryError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as e:
            # A recording is anybody's text: what it can hold is not ours to foresee.
            raise UsageError(
                f"{self._path}: cannot be read ({type(e).__name__}: {e})",
                "expected an nvidia-smi CSV log or a gpumon recording",
            ) from None

    def _take(self, frame: Frame) -> None:
        self._up, self._errors, self._last = frame.up, frame.errors, frame
        if frame.complete:
            present = {reading.identity.uuid for reading in frame.gpus}
            self._held = {uuid: gpu for uuid, gpu in self._held.items() if uuid in present}
        for uuid in frame.gone:
            for known in (self._held, self._samples, self._integrals):
                known.pop(uuid, None)
        for said in frame.gpus:
            reading = self._gate.gpu(said, frame.time)
            uuid, time = reading.identity.uuid, reading.time + self._shift
            self._samples.setdefault(uuid, []).extend(
                PowerSample(sample.time + self._shift, sample.watts)
                for sample in reading.power_samples
            )
            self._held[uuid] = self._with_energy(dataclasses.replace(reading, time=time))

    def _with_energy(self, reading: GpuReading) -> GpuReading:
        """Integrate power if the recording has no joules of its own."""
        if reading.energy_info is not None:
            return reading
        if reading.state is not GpuState.OK:
            off = reading.state in (GpuState.LOST, GpuState.RESET_REQUIRED)
            if off and reading.identity.uuid in self._integrals:
                self._integrals[reading.identity.uuid].interrupt()
            return reading
        integral = self._integrals.setdefault(reading.identity.uuid, PowerIntegral())
        if reading.power_watts is not None:
            integral.add(reading.time, reading.power_watts)
        return dataclasses.replace(
            reading,
            energy_joules=integral.joules,
            energy_info=EnergyInfo("integral"),
            energy_error_ratio=error_ratio(
                method="integral",
                sampled=self._recording.sampled and has_duty_samples(reading.identity.name),
            ),
        )


def _open(spec: SourceSpec) -> Recording:
    path = Path(spec.subject)
    with open_text(path) as file:
        try:
            own = file.read(1) == "{"
        except (UnicodeDecodeError, OSError, EOFError, zlib.error):
            own = False
    if own:
        return SnapshotLog(path)
    gpus = spec.number("gpus", 1) if "gpus" in spec.options else None
    return SmiLog(path, gpus, _time_zone(spec.options.get("tz")))


def _time_zone(text: str | None) -> dt.tzinfo | None:
    if text is None:
        return None
    if text in ("Z", "UTC"):
        return dt.timezone.utc
    match = _TZ.fullmatch(text)
    if match is None:
        raise UsageError(f"replay: tz={text!r} is not an offset from UTC", "for example tz=+01:00")
    offset = dt.timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    if offset >= dt.timedelta(hours=24):
        raise UsageError(f"replay: tz={text!r} is not an offset from UTC", "for example tz=+01:00")
    return dt.timezone(-offset if match["sign"] == "-" else offset)
