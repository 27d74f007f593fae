"""This machine's GPUs, by NVIDIA's library."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gpumon.clock import Clock
from gpumon.errors import UnavailableError
from gpumon.model import GpuReading, GpuState, Snapshot, SourceInfo
from gpumon.sources.nvml.gpu import Gpu
from gpumon.sources.nvml.library import FaultError, Library
from gpumon.sources.nvml.worker import FindGpu, GpuWorker

log = logging.getLogger(__name__)

TICK_PATIENCE = 0.5
"""Seconds a tick waits for the GPUs; a later one is served with its last reading and its age."""

FIRST_PATIENCE = 2.0
"""The same for the first tick, when each GPU is probed."""

START_RETRY_SECONDS = 2.0
"""How often a driver that is not there is looked for."""


class NvmlSource:
    """Implements Source over NVML; initialised once, and again only when the driver is reloaded."""

    def __init__(self, clock: Clock, library: Library | None = None, find: FindGpu = Gpu) -> None:
        """Make the source; the driver is looked for at the first read."""
        self._clock = clock
        self._library = library or Library()
        self._find = find
        self._workers: list[GpuWorker] = []
        self._info: SourceInfo | None = None
        self._failure: UnavailableError | None = None
        self._retry_at = 0.0

    def read(self) -> Snapshot:
        """Return what every GPU said last; raises UnavailableError where there is no driver."""
        if any(worker.driver_gone for worker in self._workers):
            log.warning("the driver was reloaded: starting again")
            self._let_go(patience=1.0)
        first = self._info is None
        info = self._info or self._start()
        for worker in self._workers:
            worker.request()
        deadline = self._clock.monotonic() + (FIRST_PATIENCE if first else TICK_PATIENCE)
        for worker in self._workers:
            worker.wait(max(0.0, deadline - self._clock.monotonic()))
        readings = tuple(worker.current() for worker in self._workers)
        return Snapshot(
            time=self._clock.time(),
            source=info,
            # One GPU that hangs is that GPU; all of them are the driver's global lock.
            up=not readings or any(gpu.state is not GpuState.HUNG for gpu in readings),
            gpus=readings,
            errors=_reasons(readings),
        )

    def close(self) -> None:
        """Let go of the driver once every call has returned, however long that takes."""
        self._let_go(patience=None)

    def _start(self) -> SourceInfo:
        if self._failure is not None and self._clock.monotonic() < self._retry_at:
            raise self._failure
        try:
            self._library.start()
            count = self._library.count()
        except FaultError as fault:
            self._library.stop()
            self._retry_at = self._clock.monotonic() + START_RETRY_SECONDS
            raise UnavailableError(
                f"NVML does not list its GPUs ({fault})", "check that nvidia-smi -L answers"
            ) from None
        except UnavailableError as failure:
            self._failure = failure
            self._retry_at = self._clock.monotonic() + START_RETRY_SECONDS
            raise
        driver, nvml, cuda = self._library.version()
        self._failure = None
        self._info = SourceInfo("nvml", driver_version=driver, nvml_version=nvml, cuda_version=cuda)
        self._workers = [GpuWorker(index, self._find, self._clock) for index in range(count)]
        log.info("driver %s, %d GPUs", driver, count)
        return self._info

    def _let_go(self, patience: float | None) -> None:
        for worker in self._workers:
            worker.stop()
        ended = [_join(worker.join, patience) for worker in self._workers]
        self._workers = []
        if self._info is not None and all(ended):
            self._library.stop()
        self._info = None


def _join(join: Callable[[float], bool], patience: float | None) -> bool:
    if patience is not None:
        return join(patience)
    while not join(3600.0):
        pass
    return True


def _reasons(readings: tuple[GpuReading, ...]) -> tuple[str, ...]:
    return tuple(
        f"gpu {reading.identity.index} is {reading.state.value}: {reading.reason}"
        for reading in readings
        if reading.reason
    )
