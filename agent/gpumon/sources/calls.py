"""The calls of one thread into a driver: how long the one under way has taken, and what it met.

Neutral: any source whose calls may fail or never return stands on these.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from gpumon.clock import Clock
from gpumon.sources.spec import ENOUGH

CALL_DEADLINE = ENOUGH.call
"""Seconds after which a call counts as hung (design: what may fail)."""


class DriverFault(enum.Enum):
    """What a driver's refusal means for the code that reads a GPU."""

    LOST = "lost"
    """The GPU is no longer there; only a reset or a reboot brings it back."""
    RESET_REQUIRED = "reset_required"
    """The GPU waits for a reset."""
    DRIVER_GONE = "driver_gone"
    """The driver was unloaded or replaced: every handle is dead, and everything starts over."""
    HANDLE_REFUSED = "handle_refused"
    """The driver does not know the GPU's handle; of one that was good before, it was replaced."""
    DENIED = "denied"
    """This user may not have the value."""
    UNSUPPORTED = "unsupported"
    """This GPU, driver or mode does not have the value."""
    OTHER = "other"
    """Any other refusal; it may pass."""


class SourceFaultError(Exception):
    """A call into a driver was refused; ``fault`` is what that means."""

    fault: DriverFault = DriverFault.OTHER


class LateAnswerError(Exception):
    """A call returned, but so late that its value is no longer of this tick."""


class Calls:
    """The calls of one thread, with the time the one under way was made.

    Another thread asks whether it hangs; nothing is locked, since an attribute is written as a
    whole.
    """

    def __init__(self, clock: Clock, deadline: float = CALL_DEADLINE) -> None:
        """Time calls by the clock's monotonic time; past ``deadline`` seconds one hangs."""
        self._clock = clock
        self._deadline = deadline
        self._under_way: tuple[str, float, float] | None = None

    def timed(self, function: str, target: Callable[..., Any], *args: Any) -> Any:
        """Call a target by its name for people; LateAnswerError if it returns too late."""
        since = self._clock.monotonic()
        self._under_way = (function, since, self._clock.time())
        try:
            return target(*args)
        finally:
            self._under_way = None
            if self._clock.monotonic() - since > self._deadline:
                raise LateAnswerError(function)

    def overdue(self) -> tuple[str, float] | None:
        """Return the function that is past its deadline and when it was called (unix seconds)."""
        under_way = self._under_way
        if under_way is None or self._clock.monotonic() - under_way[1] <= self._deadline:
            return None
        return under_way[0], under_way[2]

    def left(self) -> float:
        """Return the seconds that the call under way still has; of none, those of a new one."""
        under_way = self._under_way
        taken = 0.0 if under_way is None else self._clock.monotonic() - under_way[1]
        return max(0.0, self._deadline - taken)
