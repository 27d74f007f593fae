"""Two accelerators with their vendor's own reasons for throttling, and without Xids.

The second is lost while the file that ACME_LOST names is there.
"""

from __future__ import annotations

import os
from pathlib import Path

from gpumon.clock import Clock
from gpumon.model import EnergyInfo, GpuIdentity, GpuReading, GpuState, Snapshot, SourceInfo
from gpumon.sources.calls import Calls, DriverFault, SourceFaultError
from gpumon.sources.origins import OriginTables
from gpumon.sources.spec import Patience
from gpumon.sources.worker import GpuWorker

ORIGINS = {
    "power_watts": "acme_socket_power",
    "energy_joules": "acme_energy_count",
    "temperature_celsius": "acme_temperature",
    "throttle_reasons": "acme_limiters",
    "fan_speed_ratio": "",
}
WATTS = 500.0


class LostError(SourceFaultError):
    """The GPU fell off the bus."""

    fault = DriverFault.LOST


class AcmeGpu:
    """One accelerator: 500 W since the clock's zero."""

    handle = None

    def __init__(self, calls: Calls, index: int, clock: Clock, origins: int) -> None:
        """Find it; raises SourceFaultError if it is lost."""
        self._calls = calls
        self._clock = clock
        self._origins = origins
        self.identity = GpuIdentity(
            index=index,
            uuid=f"ACME-{index:04d}",
            name="Acme X1",
            architecture="Coyote",
            serial=f"A-{index}",
            pci_bus_id=f"00000000:0{index + 1}:00.0",
            minor_number=index,
        )
        self.read()

    def read(self) -> GpuReading:
        """Read it; raises SourceFaultError."""
        return self._calls.timed("acme_read", self._read)

    def _read(self) -> GpuReading:
        lost = os.environ.get("ACME_LOST")
        if self.identity.index == 1 and lost and Path(lost).exists():
            raise LostError("acme_read: the device is gone")
        monotonic = self._clock.monotonic()
        return GpuReading(
            identity=self.identity,
            state=GpuState.OK,
            time=self._clock.time(),
            read_at=monotonic,
            power_watts=WATTS,
            power_limit_watts=750.0,
            energy_joules=WATTS * monotonic,
            energy_info=EnergyInfo("counter"),
            temperature_celsius=61.0 + self.identity.index,
            utilization_ratio=1.0,
            throttle_reasons=frozenset({"prochot"} if self.identity.index else ()),
            processes=0,
            origins=self._origins,
        )

    def close(self) -> None:
        """Nothing is held."""


class AcmeSource:
    """See ``gpumon.sources.Source``."""

    def __init__(self, clock: Clock, patience: Patience) -> None:
        """Start a worker for each GPU."""
        tables = OriginTables()
        number = tables.number(ORIGINS)
        self._tables = tables
        self._clock = clock
        self._workers = []
        for index in range(2):
            calls = Calls(clock, patience.call)
            self._workers.append(
                GpuWorker(
                    index,
                    lambda calls=calls, index=index: AcmeGpu(calls, index, clock, number),
                    calls,
                    clock,
                )
            )

    def read(self) -> Snapshot:
        """Read both."""
        for worker in self._workers:
            if worker.request():
                worker.wait(1.0)
        return Snapshot(
            time=self._clock.time(),
            source=SourceInfo("acme", driver_version="7.1"),
            gpus=tuple(worker.current() for worker in self._workers),
            origins=self._tables.tables,
        )

    def leave_alone(self, index: int, reason: str) -> None:
        """Ask a GPU nothing any more."""
        self._workers[index].leave_alone(reason)

    def close(self) -> None:
        """End the threads."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(None)
