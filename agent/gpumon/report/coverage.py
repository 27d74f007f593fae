"""How much of a recording's time has data, and what may have been drawn in the rest of it."""

from __future__ import annotations

import array
import dataclasses
import statistics
from collections.abc import Iterator

from gpumon.model import GpuReading, Snapshot

LATE_INTERVALS = 3.0
LATE_SECONDS = 2.0
"""Readings that are further apart than this many of the usual intervals, and this many seconds,
have a hole between them: nvidia-smi stalls for a second now and then."""

_NAMED = 8
"""GPUs whose holes are named one by one: those of a node."""


@dataclasses.dataclass(slots=True)
class _Gpu:
    """What is known of a GPU's readings: the first and last that say what it drew, and their gaps.

    ``broken`` is why the last reading says nothing, empty while it does.
    """

    index: int
    first: float | None = None
    last: float | None = None
    joules: float | None = None
    watts: float = 0.0
    broken: bool = False
    reason: str = ""
    gaps: array.array[float] = dataclasses.field(default_factory=lambda: array.array("d"))
    breaks: array.array[float] = dataclasses.field(default_factory=lambda: array.array("d"))

    def add(self, reading: GpuReading) -> None:
        """Take in a reading; one that was taken in before says nothing new."""
        if not _says_what_it_drew(reading):
            self.broken = True
            self.reason = reading.reason or self.reason
            return
        if self.last is not None and reading.time <= self.last and not self.broken:
            return
        self.watts = max(self.watts, reading.power_watts or 0.0)
        if self.last is None:
            self.first = reading.time
        else:
            self._gap(reading, reading.time - self.last)
        self.last, self.joules, self.broken = reading.time, reading.energy_joules, False

    def _gap(self, reading: GpuReading, seconds: float) -> None:
        if _is_counted(reading) and (self.joules or 0.0) <= (reading.energy_joules or 0.0):
            return  # the device counted on, whoever read it
        (self.breaks if self.broken else self.gaps).append(seconds)

    def missing(self, since: float, until: float) -> float:
        """Return the seconds of a span of which nothing is known."""
        if self.first is None or self.last is None:
            return until - since
        usual = statistics.median(self.gaps) if self.gaps else 0.0
        late = max(LATE_SECONDS, LATE_INTERVALS * usual)
        holes = [gap for gap in self.gaps if gap > late]
        holes += [gap for gap in (self.first - since, until - self.last) if gap > late]
        holes += self.breaks
        if self.broken and until - self.last <= late:
            holes.append(until - self.last)
        return sum(max(0.0, hole - usual) for hole in holes)


def _is_counted(reading: GpuReading) -> bool:
    return reading.energy_info is not None and reading.energy_info.method == "counter"


def _says_what_it_drew(reading: GpuReading) -> bool:
    if not reading.up or reading.energy_joules is None:
        return False
    return _is_counted(reading) or reading.power_watts is not None


class Coverage:
    """The GPUs of a recording, as it is played."""

    def __init__(self) -> None:
        """Start with none."""
        self._gpus: dict[str, _Gpu] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Take in what was known at a moment."""
        for reading in snapshot.gpus:
            gpu = self._gpus.setdefault(reading.identity.uuid, _Gpu(reading.identity.index))
            gpu.add(reading)

    def forget(self, uuids: set[str]) -> None:
        """Forget all GPUs but these: a log may name one only later."""
        self._gpus = {uuid: gpu for uuid, gpu in self._gpus.items() if uuid in uuids}

    def without_data_ratio(self, since: float, until: float) -> float | None:
        """Return the share of the GPUs' time of which nothing is known; None for no time at all."""
        whole = (until - since) * len(self._gpus)
        if whole <= 0:
            return None
        return sum(gpu.missing(since, until) for gpu in self._gpus.values()) / whole

    def unknown_joules(self, since: float, until: float) -> float:
        """Return what the GPUs drew at most in that time, by the highest power of each."""
        return sum(gpu.missing(since, until) * gpu.watts for gpu in self._gpus.values())

    def remarks(self, since: float, until: float) -> Iterator[str]:
        """Yield which GPUs have no data for how long, the worst first."""
        found = [(gpu.missing(since, until), gpu) for gpu in self._gpus.values()]
        worst = sorted((f for f in found if f[0] > 0), key=lambda f: (-f[0], f[1].index))
        for seconds, gpu in worst[:_NAMED]:
            why = f" ({gpu.reason})" if gpu.reason else ""
            yield f"GPU {gpu.index}: no data for {seconds:.1f} of {until - since:.1f} s{why}."
        if len(worst) > _NAMED:
            yield f"Likewise of {len(worst) - _NAMED} more GPUs."
