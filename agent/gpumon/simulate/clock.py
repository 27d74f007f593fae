"""The fleet's time: it begins at a moment, and goes at a chosen speed."""

from __future__ import annotations

from gpumon.clock import Clock


class FleetClock:
    """Time of the fleet, from the opening on: ``speed`` fleet-seconds a second of ``base``.

    Implements ``gpumon.clock.Clock``: what asks it lives in the fleet's time.
    """

    def __init__(self, base: Clock, *, start: float | None = None, speed: float = 1.0) -> None:
        """Begin now, at unix second ``start``; without one at the base's own time."""
        self._base = base
        self._opened = base.monotonic()
        self._speed = speed
        self.start = base.time() if start is None else start

    def monotonic(self) -> float:
        """Return the seconds since the opening, never 0: that is what was never read."""
        return 1.0 + (self._base.monotonic() - self._opened) * self._speed

    def time(self) -> float:
        """Return unix seconds of the fleet."""
        return self.start + self.seconds()

    def seconds(self) -> float:
        """Return the seconds since the opening."""
        return self.monotonic() - 1.0


class SteppedClock:
    """A base clock that is set by hand: for a day that is made in minutes."""

    def __init__(self, time: float) -> None:
        """Stand at a unix second."""
        self._start = self._now = time

    def step(self, seconds: float) -> None:
        """Go on."""
        self._now += seconds

    def time(self) -> float:
        """Return unix seconds."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds since the beginning."""
        return self._now - self._start
