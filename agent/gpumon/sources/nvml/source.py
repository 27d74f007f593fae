"""This machine's GPUs, by NVIDIA's library."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from gpumon.clock import Clock
from gpumon.errors import SourceBrokenError, UnavailableError
from gpumon.model import GpuReading, GpuState, Snapshot, SourceInfo, Tier
from gpumon.sources.nvml.bus import DEVICES
from gpumon.sources.nvml.events import EventThread
from gpumon.sources.nvml.gpu import Gpu
from gpumon.sources.nvml.library import Door, FaultError, Library
from gpumon.sources.nvml.roll import Roll
from gpumon.sources.nvml.table import Row, rows_for
from gpumon.sources.origins import OriginTables
from gpumon.sources.spec import ENOUGH, Patience
from gpumon.sources.worker import GpuWorker, Readable

log = logging.getLogger(__name__)

TICK_PATIENCE = 0.5
"""Seconds a tick waits for the GPUs; a later one is served with its last reading and its age."""

GPU_PATIENCE = 0.05
"""Seconds of it for each GPU (a healthy one responds in one or two milliseconds); the next one is
asked then, and the slow one goes on beside it."""

FIRST_PATIENCE = 2.0
"""The same for the first tick, when each GPU is probed."""

START_RETRY_SECONDS = 2.0
"""How often a driver that is not there is looked for."""

COUNT_RETRY_SECONDS = 10.0
"""How often a driver that lists no GPU is asked again."""

JOIN_SECONDS = 2.0
"""How long the threads may take to end after a reload of the driver."""


_STARTING = " (without persistence mode it may take seconds to start)"
"""Of a GPU that was not found yet: the driver initializes it when it is first asked for."""


class FindGpu(Protocol):
    """How a GPU is found: raises FaultError if it cannot be."""

    def __call__(
        self, door: Door, index: int, clock: Clock, rows: Mapping[str, Row], tables: OriginTables, /
    ) -> Readable:
        """Find and probe the GPU of NVML's index."""
        ...


class NvmlSource:
    """Implements Source over NVML; initialized once, and again only when the driver is reloaded."""

    def __init__(
        self,
        clock: Clock,
        tier: Tier = Tier.FULL,
        library: Library | None = None,
        find: FindGpu = Gpu,
        patience: Patience = ENOUGH,
        bus: Path = DEVICES,
    ) -> None:
        """Make a source of the catalogue's metrics up to a tier.

        The driver is looked for at the first read. ``bus`` is where the PCI bus lists its devices.
        """
        self._patience = patience
        self._clock = clock
        self._tier = tier
        self._library = library or Library()
        self._roll = Roll(self._library, clock, bus)
        self._find = find
        self._tables = OriginTables()
        self._rows: Mapping[str, Row] = {}
        self._workers: list[GpuWorker] = []
        self._events: EventThread | None = None
        self._info: SourceInfo | None = None
        self._failure: UnavailableError | None = None
        self._left_alone: dict[int, str] = {}
        self._retry_at = 0.0

    def read(self) -> Snapshot:
        """Return what every GPU said last; raises UnavailableError if there is no driver.

        Raises SourceBrokenError if the driver was reloaded while a call hangs in the old one:
        then only a new process can begin again.
        """
        if self._driver_gone():
            log.warning("the driver was reloaded: starting again")
            self._let_go()
        elif self._roll.grown() and self._may_renew():
            self._roll.renewed()
            self._let_go()
        first = self._info is None
        info = self._info or self._start()
        if not self._workers:
            self._count()
        deadline = self._clock.monotonic() + TICK_PATIENCE
        if first:
            deadline = self._patience.until or self._clock.monotonic() + FIRST_PATIENCE
        asked = []
        for worker in self._workers:
            if worker.request():
                # One after the other: eight threads at once would fight for the interpreter's
                # lock, which costs more than the calls.
                worker.wait(min(GPU_PATIENCE, max(0.0, deadline - self._clock.monotonic())))
                asked.append(worker)
        for worker in asked:
            worker.settle(max(0.0, deadline - self._clock.monotonic()))
        readings = self._roll.named(tuple(worker.current() for worker in self._workers))
        self._roll.look()
        unlisted = self._roll.unlisted(readings)
        return Snapshot(
            time=self._clock.time(),
            source=info,
            # One GPU that hangs is that GPU; all of them are the driver's global lock.
            up=not readings or any(gpu.state is not GpuState.HUNG for gpu in readings),
            gpus=readings,
            errors=(
                (*_reasons(readings), *_unlisted(unlisted))
                if readings
                else ("the driver shows no GPU", *_unlisted(unlisted))
            ),
            origins=self._tables.tables,
            passed_through=self._roll.passed_through(),
            unlisted=unlisted,
            **self._news(),
        )

    def leave_alone(self, index: int, reason: str) -> None:
        """Stop asking the GPU of NVML's index, as long as this driver is loaded."""
        self._left_alone[index] = reason
        for worker in self._workers:
            if worker.index == index:
                worker.leave_alone(reason)

    def close(self) -> None:
        """Let go of the driver once every call has returned, however long that takes."""
        for worker in self._workers:
            worker.stop()
        if self._events is not None:
            self._events.stop()
            self._events.join(None)
        for worker in self._workers:
            worker.join(None)
        self._roll.join(None)
        if self._info is not None:
            self._library.stop()
        self._workers, self._events, self._info = [], None, None

    def _news(self) -> dict[str, Any]:
        """Return the events since the last snapshot, and whether any would have been heard."""
        if self._events is None:
            return {}
        found = {w.identity.pci_bus_id: w.handle for w in self._workers if w.handle is not None}
        self._events.watch(found)
        healthy = self._events.healthy()
        return {
            "events": self._events.take(),
            "collectors": {} if healthy is None else {"events": healthy},
        }

    def _driver_gone(self) -> bool:
        return any(worker.driver_gone for worker in self._workers)

    def _may_renew(self) -> bool:
        """Return whether NVML can be let go of: no call hangs, and no GPU must be left alone."""
        hangs = any(worker.current().state is GpuState.HUNG for worker in self._workers)
        return self._info is not None and not hangs and not self._left_alone

    def _start(self) -> SourceInfo:
        if self._failure is not None and self._clock.monotonic() < self._retry_at:
            raise self._failure
        self._retry_at = self._clock.monotonic() + START_RETRY_SECONDS
        try:
            self._library.start()
        except UnavailableError as failure:
            self._failure = failure
            raise
        driver, nvml, cuda = self._library.version()
        self._failure = None
        self._rows = rows_for(driver, self._tier)
        self._info = SourceInfo("nvml", driver_version=driver, nvml_version=nvml, cuda_version=cuda)
        self._retry_at = 0.0
        self._roll.begin()
        return self._info

    def _count(self) -> None:
        """Make a worker for each GPU; if there is none, look again now and then."""
        if self._clock.monotonic() < self._retry_at:
            return
        self._retry_at = self._clock.monotonic() + COUNT_RETRY_SECONDS
        try:
            count = self._library.count()
        except FaultError as fault:
            self._library.stop()
            self._info = None
            raise UnavailableError(
                f"NVML does not list its GPUs ({fault})", "check that nvidia-smi -L responds"
            ) from None
        self._roll.listed(count)
        self._workers = [self._worker(index) for index in range(count)]
        for index, reason in self._left_alone.items():
            self.leave_alone(index, reason)
        if count:
            self._events = EventThread(self._clock)
        log.info("driver %s, %d GPUs", self._info.driver_version if self._info else "", count)

    def _worker(self, index: int) -> GpuWorker:
        door = Door(self._clock, self._patience.call)
        find = functools.partial(self._find, door, index, self._clock, self._rows, self._tables)
        return GpuWorker(index, find, door, self._clock, _STARTING)

    def _let_go(self) -> None:
        threads: list[GpuWorker | EventThread] = [*self._workers]
        if self._events is not None:
            threads.append(self._events)
        for thread in threads:
            thread.stop()
        deadline = self._clock.monotonic() + JOIN_SECONDS
        left = [
            thread
            for thread in threads
            if not thread.join(max(0.0, deadline - self._clock.monotonic()))
        ]
        if left or not self._roll.join(max(0.0, deadline - self._clock.monotonic())):
            raise SourceBrokenError(
                "the driver was reloaded while a call hangs in it", "a new reader is started"
            )
        self._library.stop()
        self._workers, self._events, self._info = [], None, None
        self._left_alone.clear()


def _reasons(readings: tuple[GpuReading, ...]) -> tuple[str, ...]:
    return tuple(
        f"gpu {reading.identity.index} is {reading.state.value}: {reading.reason}"
        for reading in readings
        if reading.reason
    )


def _unlisted(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        f"the GPU at {address} has come to the driver, and NVML does not list it: "
        "gpumon release, then gpumon resume"
        for address in addresses
    )
