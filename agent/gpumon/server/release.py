"""Letting go of the driver, so that a GPU can be reset or the driver reloaded, and taking it up.

An open handle blocks a reset, so the process that holds it ends. A release lasts: an agent that is
restarted meanwhile stays away, until it gets the order to resume or the time is over.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gpumon.clock import SYSTEM, Clock
from gpumon.reader.supervisor import Supervisor
from gpumon.server.node import Node
from gpumon.statedb.facts import keep_fact, load_fact
from gpumon.statedb.file import StateFile
from gpumon.times import format_time

log = logging.getLogger(__name__)

LONGEST_SECONDS = 7 * 86400.0
"""Nobody means to release for longer; a slip of the finger must not blind a node for a year."""


_FACT = "released_until"
"""In the state file while released: unix seconds, or empty if only an order ends it."""


class Release:
    """Carries out the orders ``release`` and ``resume``."""

    def __init__(
        self, supervisor: Supervisor, node: Node, state: StateFile, clock: Clock = SYSTEM
    ) -> None:
        """Go on with the release of an earlier agent: call before the supervisor runs."""
        self._supervisor = supervisor
        self._node = node
        self._state = state
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        fact = state.load(lambda db: load_fact(db, _FACT), None)
        until = float(fact) if fact else None
        if fact is not None and (until is None or until > clock.time()):
            supervisor.hold()
            self._left(until)
            log.warning("still released%s: gpumon resume ends it", _until(until))

    async def handle(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order and say how it went."""
        if order.get("order") == "resume":
            return self.resume()
        seconds = order.get("seconds")
        timed = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if order.get("order") == "release" and (
            seconds is None or (timed and 0 < seconds <= LONGEST_SECONDS)
        ):
            return await self.release(seconds)
        return {"done": False, "text": "the orders are release (for up to a week) and resume"}

    async def release(self, seconds: float | None) -> dict[str, Any]:
        """Let go for some seconds, or until the order to resume."""
        until = None if seconds is None else self._clock.time() + seconds
        self._remember("" if until is None else str(until))
        self._left(until)
        log.warning("released%s: the GPUs are not read", _until(until))
        if await self._supervisor.release():
            text = f"released{_until(until)}: nothing is held, a GPU can be reset"
            return {"done": True, "text": text, "until": until}
        text = (
            "no longer reading, but a call hangs in the driver, and its process keeps the GPUs "
            "until it returns: only a reboot helps if it never does"
        )
        log.error("%s", text)
        return {"done": False, "text": text, "until": until}

    def resume(self) -> dict[str, Any]:
        """Read again."""
        if not self._node.released:
            return {"done": True, "text": "nothing was released"}
        if self._timer is not None:
            self._timer.cancel()
        self._remember(None)
        self._node.resume()
        self._supervisor.resume()
        log.warning("resumed: the GPUs are read again")
        return {"done": True, "text": "resumed: the GPUs are read again"}

    def _remember(self, fact: str | None) -> None:
        self._state.save(lambda db: keep_fact(db, _FACT, fact))

    def _left(self, until: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if until is not None:
            wait = until - self._clock.time()
            self._timer = asyncio.get_running_loop().call_later(wait, self.resume)
        self._node.release(f"released{_until(until)} (gpumon resume ends it)")


def _until(until: float | None) -> str:
    return "" if until is None else f" until {format_time(until)[:19]}Z"
