"""What is known of this node now: fed by the reader, asked by scrapes, the page and the API."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from gpumon.clock import SYSTEM, Clock
from gpumon.derive import Derivation
from gpumon.host import HostView
from gpumon.kernellog import KernelLog
from gpumon.ledger import Ledger
from gpumon.model import (
    Denied,
    GpuIdentity,
    GpuReading,
    GpuState,
    LedgerRule,
    NodeReading,
    NvswitchReading,
    Snapshot,
    SourceInfo,
)
from gpumon.model.agent import AgentReading, BuildInfo, WorkloadInfo
from gpumon.model.events import kernel_address
from gpumon.model.origins import NODE, Origins
from gpumon.server.chronicle import Chronicle
from gpumon.server.xidmemory import XidMemory
from gpumon.statedb.expected import ExpectedGpus
from gpumon.statedb.file import StateFile
from gpumon.times import format_time
from gpumon.workloads.manager import Manager

log = logging.getLogger(__name__)

SILENCE_SECONDS = 5.0
"""A reader answers each tick within a second whatever one GPU does; silent for this long beyond two
ticks, it is the driver, or the reader, that is gone, and what it said last is not the present."""

FRESH_SECONDS = 10.0
"""A node whose newest reading is older than this is not ready."""

LOOK_SECONDS = 5.0
"""How often it is looked whether GPUs have fallen silent."""

HISTORY_SECONDS = 300
"""How far back the page's sparklines go, one point a second at most."""


class Node:
    """Implements the reader's Listener; every other method only looks."""

    def __init__(  # noqa: PLR0913 - what a node is made of
        self,
        name: str,
        expected: ExpectedGpus,
        source: SourceInfo,
        *,
        xids: XidMemory | None = None,
        host: HostView | None = None,
        kernel_log: KernelLog | None = None,
        ledger: Ledger | None = None,
        manager: Manager | None = None,
        chronicle: Chronicle | None = None,
        interval: float = 1.0,
        clock: Clock = SYSTEM,
    ) -> None:
        """Make a node that has been told nothing yet; ``name`` is shown, not put on series."""
        self._name = name
        self._expected = expected
        self._source = source
        self._host = host
        self._kernel_log = kernel_log
        self._ledger = ledger
        self._manager = manager
        self._chronicle = chronicle or Chronicle(StateFile(None), clock)
        self._xids = xids or XidMemory(StateFile(None), clock)
        self._silence = SILENCE_SECONDS + 2 * interval
        self._clock = clock
        self._derivation = Derivation()
        self._snapshot: Snapshot | None = None
        self._heard_at = clock.monotonic()
        self._gone = ""
        self._released = ""
        self.first_word = asyncio.Event()
        self._restarts = 0
        self._history: dict[str, collections.deque[tuple[float, float]]] = {}
        self._errors: tuple[str, ...] = ()

    def snapshot(self, snapshot: Snapshot) -> None:
        """Take in what the reader read."""
        self.first_word.set()
        self._heard_at, self._gone = self._clock.monotonic(), ""
        if snapshot.up:
            self._expected.saw(snapshot.source, len(snapshot.gpus), self._clock.time())
        elif self._snapshot is not None and not snapshot.gpus:
            # The driver as a whole is away: who the GPUs were is still worth saying.
            reason = "; ".join(snapshot.errors)
            ghosts = _without_readings(self._snapshot, GpuState.ERROR, reason)
            snapshot = dataclasses.replace(snapshot, gpus=ghosts)
        snapshot = dataclasses.replace(snapshot, gpus=self._recognised(snapshot.gpus))
        self._xids.identify(gpu.identity for gpu in snapshot.gpus)
        self._xids.observe(snapshot.events)
        name = self._name or snapshot.node
        self._snapshot = dataclasses.replace(
            self._derivation.update(snapshot, self._known(snapshot)),
            node=name,
            gpus_expected=self._expected.count(snapshot.source, self._clock.time()),
        )
        self._remember(self._snapshot)
        self._log_changes(snapshot)
        self.look()

    def gone(self, reason: str) -> None:
        """Take note that there is no reader; what it said stands until it is too old."""
        self.first_word.set()
        self._gone = reason

    def restarted(self) -> None:
        """Count a reader that was replaced."""
        self._restarts += 1
        self._chronicle.note("reader", f"replaced: {self._gone or 'it stood still'}")

    def release(self, reason: str) -> None:
        """Take note that the GPUs are not read on purpose, and why in words."""
        self.first_word.set()
        self._released = reason
        self._chronicle.note("order", reason)

    def resume(self) -> None:
        """Take note that they are read again; until the first word they are not known."""
        self._released = ""
        self._chronicle.note("order", "resumed: the GPUs are read again")
        self._heard_at = self._clock.monotonic()
        if self._snapshot is not None:
            reason = "it has not answered since it was released"
            ghosts = _without_readings(self._snapshot, GpuState.ERROR, reason)
            self._snapshot = dataclasses.replace(self._snapshot, gpus=ghosts, power=NodeReading())

    def look(self) -> None:
        """Note what changed; what does not answer any more changes without a word."""
        now = self._read()
        if now is not None:
            self._chronicle.observe(now)

    async def keep_looking(self) -> None:
        """Look from time to time, until cancelled: silence sends no snapshot."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    @property
    def released(self) -> str:
        """Why the GPUs are not read on purpose, or nothing."""
        return self._released

    @property
    def gpus_up(self) -> int:
        """How many GPUs answer."""
        snapshot = self._read()
        return sum(gpu.up for gpu in snapshot.gpus) if snapshot else 0

    def now(self) -> Snapshot | None:
        """Return what is known; None before the first word.

        Where the reader has been silent for too long, nothing is known but who the GPUs were, and
        what is remembered of them.
        """
        now = self._read()
        if now is None:
            return None
        host = now.host if self._host is None else self._host.reading()
        gpus = self._xids.complete(now.gpus)
        ledger = self._ledger.state() if self._ledger else now.ledger
        return dataclasses.replace(
            now,
            gpus=gpus,
            host=host,
            ledger=ledger,
            denied=self._denied(),
            origins=self._origins(now),
        )

    def _origins(self, now: Snapshot) -> Mapping[int, Origins]:
        """Return where values come from, the node's own among them."""
        return now.origins if self._host is None else {**now.origins, NODE: self._host.origins()}

    def _known(self, snapshot: Snapshot) -> dict[str, dict[str, Any]]:
        """Return what else is known of each GPU, by its uuid and its reading's fields."""
        holders = self._enter(snapshot)
        uuids = [gpu.identity.uuid for gpu in snapshot.gpus]
        return {u: {**self._xids.remembered(u), "jobs": holders.get(u, ())} for u in uuids}

    def _enter(self, snapshot: Snapshot) -> Mapping[str, tuple[str, ...]]:
        """Enter a tick in the ledger, and return the jobs that hold each GPU."""
        if self._ledger is None or self._manager is None:
            return {}
        time = self._clock.time()
        shown = {job_id: job.job for job_id, job in self._ledger.open_jobs.items()}
        allocation = self._manager.allocation(snapshot.gpus, shown, time)
        self._ledger.update(snapshot, allocation, time, self._beyond_gpus(snapshot))
        for correction in self._ledger.corrected():
            self._chronicle.corrected(*correction)
        return self._ledger.holders()

    def _beyond_gpus(self, snapshot: Snapshot) -> tuple[str, float] | None:
        """Return how what the node draws beyond its GPUs is known, and in watts."""
        watts = self._host.node_watts() if self._host else None
        if watts is None:
            return None
        method, node_watts = watts
        gpu_watts = sum(gpu.power_watts or 0.0 for gpu in snapshot.gpus)
        return method, max(0.0, node_watts - gpu_watts)

    def _denied(self) -> tuple[Denied, ...]:
        """Return what of the node this user may not read."""
        log = self._kernel_log.denied if self._kernel_log else None
        return (*((log,) if log else ()), *(self._host.denied() if self._host else ()))

    def gpu_watts(self) -> float | None:
        """Return what the GPUs draw together now, or None where that is not known."""
        now = self._read()
        return now.power.gpu_power_watts if now else None

    def _read(self) -> Snapshot | None:
        last = self._snapshot
        if self._released:
            last = last or Snapshot(time=0.0, source=self._source, node=self._name)
            return dataclasses.replace(
                last,
                time=self._clock.time(),
                up=False,
                gpus=_without_readings(last, GpuState.RELEASED, self._released),
                power=NodeReading(),
                errors=(self._released,),
            )
        quiet = self._clock.monotonic() - self._heard_at
        if last is None or quiet <= self._silence:
            return last
        since = format_time(self._clock.time() - quiet)[:19]
        reason = self._gone or f"the driver has answered nothing since {since}Z"
        state = GpuState.ERROR if self._gone else GpuState.HUNG
        return dataclasses.replace(
            last,
            time=self._clock.time(),
            up=False,
            gpus=_without_readings(last, state, reason),
            power=NodeReading(),
            errors=(reason,),
        )

    def ready(self) -> str:
        """Return why the node is not ready to be relied upon, or nothing where it is."""
        snapshot = self.now()
        if snapshot is None:
            return self._gone or "no reading yet"
        if not snapshot.up:
            return "; ".join(snapshot.errors) or "the source is down"
        monotonic = self._clock.monotonic()
        ages = [gpu.age(monotonic) for gpu in snapshot.gpus if gpu.state is GpuState.OK]
        if not any(age is not None and age <= FRESH_SECONDS for age in ages):
            return f"no GPU has been read in the last {FRESH_SECONDS:.0f} s"
        return ""

    def agent_reading(self) -> AgentReading:
        """Return the agent's own metrics."""
        snapshot = self._read()
        up = snapshot is not None and snapshot.up
        source = snapshot.source if snapshot else self._source
        return AgentReading(
            build=BuildInfo(),
            source_info=source,
            source_up=up,
            released=bool(self._released),
            gpus=len(snapshot.gpus) if snapshot and up else 0,
            gpus_expected=self._expected.count(source, self._clock.time()),
            collector_success=self._collectors(snapshot, up=up),
            collector_duration_seconds={
                **({"reader": snapshot.read_seconds} if snapshot else {}),
                **(self._host.collector_seconds() if self._host else {}),
            },
            reader_restarts=self._restarts,
            unattributed_xids=self._xids.unattributed,
            **self._book_keeping(),
        )

    def _book_keeping(self) -> dict[str, Any]:
        """Return what the agent tells of its ledger and of who tells it whose the GPUs are."""
        if self._ledger is None or self._manager is None:
            return {}
        return {
            "ledger_info": LedgerRule(),
            "ledger_corrections": self._ledger.corrections,
            "workload_manager_info": WorkloadInfo(self._manager.name),
            "workload_manager_errors": self._manager.errors,
        }

    def _collectors(self, snapshot: Snapshot | None, *, up: bool) -> dict[str, int]:
        """Return which collectors work; what is left alone on purpose does not fail."""
        host = dict(self._host.collector_success()) if self._host else {}
        if self._kernel_log is not None and self._kernel_log.denied is None:
            host["kernel_log"] = int(not self._kernel_log.problem)
        if self._manager is not None:
            host[self._manager.name] = int(self._manager.success)
        if self._released:
            return host
        parts = snapshot.collectors if snapshot and up else {}
        return {"reader": int(up), **{name: int(works) for name, works in parts.items()}, **host}

    def nvswitches(self) -> tuple[NvswitchReading, ...]:
        """Return the NVSwitches that have reported errors."""
        return self._xids.nvswitches()

    def gpu_at(self, pci: str) -> GpuIdentity | None:
        """Return the GPU at an address of the kernel's form (``0000:29:00``), or None."""
        gpus = self._snapshot.gpus if self._snapshot else ()
        found = (g.identity for g in gpus if kernel_address(g.identity.pci_bus_id) == pci)
        return next(found, None)

    def history(self) -> dict[str, list[tuple[float, float]]]:
        """Return (unix seconds, watts) of the last minutes by GPU uuid, oldest first."""
        return {uuid: list(points) for uuid, points in self._history.items()}

    def _recognised(self, gpus: tuple[GpuReading, ...]) -> tuple[GpuReading, ...]:
        """Give a GPU that has not even said who it is the identity it had before."""
        if self._snapshot is None or all(gpu.identity.uuid for gpu in gpus):
            return gpus
        known = {gpu.identity.index: gpu.identity for gpu in self._snapshot.gpus}
        return tuple(
            gpu
            if gpu.identity.uuid
            else dataclasses.replace(gpu, identity=known.get(gpu.identity.index, gpu.identity))
            for gpu in gpus
        )

    def _remember(self, snapshot: Snapshot) -> None:
        present = {gpu.identity.uuid for gpu in snapshot.gpus}
        self._history = {uuid: h for uuid, h in self._history.items() if uuid in present}
        for gpu in snapshot.gpus:
            if gpu.power_watts is not None:
                points = self._history.setdefault(
                    gpu.identity.uuid, collections.deque(maxlen=HISTORY_SECONDS)
                )
                if points and gpu.time < points[-1][0]:
                    points.clear()  # the clock was set back
                if not points or gpu.time > points[-1][0]:
                    points.append((gpu.time, gpu.power_watts))

    def _log_changes(self, snapshot: Snapshot) -> None:
        """Log what went wrong when it does, not each tick that it lasts."""
        for error in snapshot.errors:
            if error not in self._errors:
                log.warning("%s", error)
        self._errors = snapshot.errors


def _without_readings(snapshot: Snapshot, state: GpuState, reason: str) -> tuple[GpuReading, ...]:
    return tuple(
        GpuReading(
            identity=gpu.identity, state=state, reason=reason, time=gpu.time, read_at=gpu.read_at
        )
        for gpu in snapshot.gpus
    )
