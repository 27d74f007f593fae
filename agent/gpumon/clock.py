"""Time, as an argument: the wall clock for dates, the monotonic clock for ages and schedules."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """A source of time; tests bring their own."""

    def time(self) -> float:
        """Return unix seconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump, comparable between the processes of one machine."""
        ...


class SystemClock:
    """This machine's clocks."""

    def time(self) -> float:
        """Return unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC in seconds."""
        return time.monotonic()


SYSTEM = SystemClock()


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id(file: Path = _BOOT_ID) -> str:
    """Return the kernel's random name of this boot; empty if it does not say."""
    try:
        return file.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


class Schedule:
    """Ticks a whole period apart, so that work of any length makes no drift."""

    def __init__(self, period: float, clock: Clock = SYSTEM) -> None:
        """Start a schedule of one tick each ``period`` seconds; the first is due now."""
        self._period = period
        self._clock = clock
        self._due = clock.monotonic()

    def until_next(self) -> float:
        """Return the seconds until the next tick; ticks that were missed are skipped."""
        late = self._clock.monotonic() - self._due
        self._due += self._period * max(1, math.ceil(late / self._period))
        return max(0.0, self._due - self._clock.monotonic())
