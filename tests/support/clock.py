"""A clock that a test moves."""

from __future__ import annotations


class FakeClock:
    """Implements gpumon.clock.Clock; both clocks pass together."""

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        """Start at a time (unix seconds); the monotonic clock starts at 1000."""
        self._time = time
        self._monotonic = 1000.0

    def time(self) -> float:
        """Return unix seconds."""
        return self._time

    def monotonic(self) -> float:
        """Return monotonic seconds."""
        return self._monotonic

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self._time += seconds
        self._monotonic += seconds
