"""Watches this machine's clock: whether something keeps it, when it is set, when the machine slept.

Events are dated by a clock that may be wrong. What was written meanwhile is marked, and nothing
that is old is forgotten by such a clock: one that is years ahead would forget everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from gpumon.clock import SYSTEM, Clock, boot_id
from gpumon.host import timekeeping
from gpumon.host.timekeeping import Timekeeping
from gpumon.model.agent import BootInfo
from gpumon.server.chronicle import Chronicle
from gpumon.statedb.file import StateFile

TICK_SECONDS = 5.0
"""How often it is looked whether the clock was set."""

LOOK_SECONDS = 60.0
"""How often its keeper is asked."""

STEP_SECONDS = timekeeping.WORTH_SAYING_SECONDS
"""A change of the clock that is worth a note."""


class Senses(NamedTuple):
    """How this machine is asked: for the clock's keepers, the time since the boot, and its name."""

    look: Callable[[], Timekeeping] = timekeeping.look
    uptime: Callable[[], float] = timekeeping.uptime
    boot: Callable[[], str] = boot_id


THIS_MACHINE = Senses()


class ClockView(Protocol):
    """Knows how a node's clock is."""

    def reading(self) -> dict[str, Any]:
        """Return what the agent reports of it, by the fields of its reading."""
        ...


class ClockWatch:
    """Belongs to the agent's event loop."""

    def __init__(
        self,
        chronicle: Chronicle,
        state: StateFile,
        *,
        set_by: Callable[[float], None],
        clock: Clock = SYSTEM,
        senses: Senses = THIS_MACHINE,
    ) -> None:
        """Note a boot that is another than the last agent's, and look at the kernel's clock.

        ``set_by`` is called with the seconds by which the clock was set.
        """
        self._chronicle = chronicle
        self._state = state
        self._clock = clock
        self._senses = senses
        self._boot = senses.boot()
        self._set_by = set_by
        self._ahead, self._asleep = self._references()
        self._due = clock.monotonic()
        self.keeping: Timekeeping | None = None
        # Until its keepers were asked; whatever is written now may forget what is old.
        state.forgets = timekeeping.kernel_clock().kept is not False
        chronicle.booted(self._boot, senses.uptime())

    async def run(self) -> None:
        """Watch, until cancelled."""
        while True:
            self.tick()
            if self._clock.monotonic() >= self._due:
                self._due = self._clock.monotonic() + LOOK_SECONDS
                self.take(await asyncio.to_thread(self._senses.look))
            await asyncio.sleep(TICK_SECONDS)

    def tick(self) -> None:
        """Note that the clock was set, or that the machine slept, since the last tick."""
        ahead, asleep = self._references()
        slept, moved = asleep - self._asleep, ahead - self._ahead
        # A slow correction adds up over a day and is none: only what comes at once is a step.
        self._ahead, self._asleep = ahead, asleep
        if slept > STEP_SECONDS:
            self._chronicle.note("clock", f"the machine slept for {slept:.0f} s")
        if abs(moved - slept) > STEP_SECONDS:
            step = moved - slept
            word = "forward" if step > 0 else "back"
            self._chronicle.note("clock", f"set {word} by {abs(step):.1f} s")
            self._set_by(step)
            self._due = self._clock.monotonic()
        self._chronicle.clock_goes_on()

    def take(self, keeping: Timekeeping) -> None:
        """Take in what the clock's keepers say."""
        self.keeping = keeping
        wrong = keeping.wrong
        if wrong is None:
            self._state.forgets = True
            return
        self._state.forgets = not wrong
        self._chronicle.clock(wrong)

    def reading(self) -> dict[str, Any]:
        """Return what the agent reports of its clock, by the fields of its reading."""
        return {
            "clock_synchronized": self.keeping.synchronized if self.keeping else None,
            "clock_offset_seconds": self.keeping.offset_seconds if self.keeping else None,
            "boot_info": BootInfo(self._boot) if self._boot else None,
        }

    def _references(self) -> tuple[float, float]:
        """Return how far the clock, and the time since the boot, are ahead of the steady clock."""
        steady = self._clock.monotonic()
        return self._clock.time() - steady, self._senses.uptime() - steady
