"""What is known of a node now: hears the reader, and completes its words with all else.

``lastword`` judges how much of them still holds, ``bookkeeper`` enters them in the ledger,
``history`` keeps the last minutes for the page, ``selfreport`` is what the agent reports about
itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from gpumon.clock import SYSTEM, Clock
from gpumon.derive import Derivation
from gpumon.derive.totals import node_totals, with_job_totals
from gpumon.model import (
    Denied,
    GpuIdentity,
    NvswitchReading,
    Snapshot,
    SourceInfo,
)
from gpumon.model.agent import AgentReading
from gpumon.model.events import kernel_address
from gpumon.model.origins import NODE, Origins
from gpumon.server import selfreport
from gpumon.server.history import PowerHistory
from gpumon.server.lastword import LastWord
from gpumon.server.parts import NodeParts
from gpumon.server.repairs import Repairs
from gpumon.server.xidmemory import owner_of
from gpumon.thresholds import Thresholds

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often it is looked whether GPUs have fallen silent."""


class Node:
    """Implements the reader's Listener; every other method only looks."""

    def __init__(
        self,
        name: str,
        source: SourceInfo,
        parts: NodeParts,
        *,
        interval: float = 1.0,
        clock: Clock = SYSTEM,
    ) -> None:
        """Begin before the first word; ``name`` is shown, not put on series.

        ``interval`` is the reader's, in seconds.
        """
        self._name = name
        self._parts = parts
        self._clock = clock
        self._last = LastWord(name, source, interval=interval, clock=clock)
        self._derivation = Derivation()
        self._repairs = Repairs(parts.xids)
        self._history = PowerHistory()
        self._restarts = 0
        self._errors: tuple[str, ...] = ()
        self.first_word = asyncio.Event()

    def snapshot(self, snapshot: Snapshot) -> None:
        """Take in what the reader read."""
        self.first_word.set()
        self._last.heard()
        self._parts.refusals.add(snapshot.refused)
        time = self._clock.time()
        if snapshot.up:
            boards = sum(map(len, (snapshot.gpus, snapshot.passed_through, snapshot.unlisted)))
            self._parts.expected.saw(snapshot.source, boards, time)
        snapshot = self._parts.identities.recognised(snapshot, self._last.snapshot, time)
        self._parts.xids.identify(gpu.identity for gpu in snapshot.gpus)
        self._parts.xids.observe(snapshot.events)
        complete = dataclasses.replace(
            self._derivation.update(snapshot, self._known(snapshot)),
            node=self._name or snapshot.node,
            gpus_expected=self._parts.expected.count(
                snapshot.source, time, len(snapshot.passed_through)
            ),
        )
        self._last.keep(complete)
        self._history.add(complete)
        self._log_changes(snapshot)
        self.look()

    def gone(self, reason: str) -> None:
        """Take note that there is no reader; what it said stands until it is too old."""
        self.first_word.set()
        self._last.lose(reason)

    def restarted(self) -> None:
        """Count a reader that was replaced."""
        self._restarts += 1
        self._parts.chronicle.note("reader", f"replaced: {self._last.gone or 'it stood still'}")

    def release(self, reason: str) -> None:
        """Take note that the GPUs are not read on purpose, and why in words."""
        self.first_word.set()
        self._last.release(reason)
        self._parts.chronicle.note("order", reason)

    def resume(self) -> None:
        """Take note that they are read again; until the first word they are not known."""
        self._last.resume()
        self._repairs.resumed(self._clock.time())
        self._parts.chronicle.note("order", "resumed: the GPUs are read again")

    def look(self) -> None:
        """Note what changed; what does no longer answer changes without a word."""
        now = self._last.current()
        if now is not None:
            self._parts.chronicle.observe(now)

    async def keep_looking(self) -> None:
        """Look from time to time, until cancelled: silence sends no snapshot."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    @property
    def released(self) -> str:
        """Why the GPUs are not read on purpose, or nothing."""
        return self._last.released

    @property
    def gpus_up(self) -> int:
        """How many GPUs answer."""
        snapshot = self._last.current()
        return sum(gpu.up for gpu in snapshot.gpus) if snapshot else 0

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds in force on this node."""
        return self._parts.thresholds

    def now(self) -> Snapshot | None:
        """Return what is known; None before the first word.

        After too long a silence nothing is known but who the GPUs were, and what is remembered of
        them.
        """
        now = self._last.current()
        if now is None:
            return None
        parts = self._parts
        books = parts.books.state() if parts.books else None
        active_ratio = self.thresholds.number("activity.idle_ratio")
        return dataclasses.replace(
            now,
            gpus=parts.xids.complete(now.gpus),
            totals=node_totals(now.gpus, books, active_ratio),
            host=parts.host.reading() if parts.host else now.host,
            ledger=now.ledger if books is None else with_job_totals(now.gpus, books),
            denied=self._denied(),
            origins=self._origins(now),
            agent=selfreport.facts(self.agent_reading(), self.nvswitches()),
        )

    def ready(self) -> str:
        """Return why the node is not ready to be relied upon, or nothing if it is."""
        return self._last.why_not_ready(self.thresholds.number("monitor.fresh_seconds"))

    def agent_reading(self) -> AgentReading:
        """Return the agent's own metrics."""
        return selfreport.agent_reading(
            self._last, self._parts, restarts=self._restarts, time=self._clock.time()
        )

    def gpu_watts(self) -> float | None:
        """Return what the GPUs draw together now, or None if that is not known."""
        now = self._last.current()
        return now.power.gpu_power_watts if now else None

    def nvswitches(self) -> tuple[NvswitchReading, ...]:
        """Return the NVSwitches that have reported errors."""
        return self._parts.xids.nvswitches()

    def gpu_at(self, pci: str) -> GpuIdentity | None:
        """Return the GPU at an address of the kernel's form (``0000:29:00``), or None."""
        gpus = self._last.snapshot.gpus if self._last.snapshot else ()
        found = (g.identity for g in gpus if kernel_address(g.identity.pci_bus_id) == pci)
        return next(found, None)

    def history(self) -> dict[str, list[tuple[float, float]]]:
        """Return (unix seconds, watts) of the last minutes by GPU uuid, oldest first."""
        return self._history.points()

    def _known(self, snapshot: Snapshot) -> dict[str, dict[str, Any]]:
        """Return what else is known of each GPU, by its uuid and its reading's fields."""
        books = self._parts.books
        holders = books.enter(snapshot) if books else {}
        self._repairs.observe(snapshot, books.began_again() if books else (), self._clock.time())
        remembered = self._parts.xids.remembered
        gpus = [gpu.identity for gpu in snapshot.gpus]
        return {g.uuid: {**remembered(owner_of(g)), "jobs": holders.get(g.uuid, ())} for g in gpus}

    def _denied(self) -> tuple[Denied, ...]:
        """Return what of the node this user may not read."""
        log_denied = self._parts.kernel_log.denied if self._parts.kernel_log else None
        host_denied = self._parts.host.denied() if self._parts.host else ()
        return (*((log_denied,) if log_denied else ()), *host_denied)

    def _origins(self, now: Snapshot) -> Mapping[int, Origins]:
        """Return where values come from, the node's own among them."""
        host = self._parts.host
        return now.origins if host is None else {**now.origins, NODE: host.origins()}

    def _log_changes(self, snapshot: Snapshot) -> None:
        """Log what went wrong when it does, not each tick that it lasts."""
        for error in snapshot.errors:
            if error not in self._errors:
                log.warning("%s", error)
        self._errors = snapshot.errors
