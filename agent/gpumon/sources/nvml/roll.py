"""Which GPUs there are: as NVML lists them, as the PCI bus has them, and where they differ.

NVML makes its list when it is initialized, and a GPU that comes later (hot plug, a board that a
virtual machine gives back) is not in it. So both are looked at again now and then: the bus costs
no call, and the count is asked in a thread of its own, for it may wait in the driver.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gpumon.clock import Clock
from gpumon.derive.seats import seats
from gpumon.model import GpuIdentity, GpuReading, PassedThrough
from gpumon.model.terms import unknown_uuid
from gpumon.sources.calls import SourceFaultError
from gpumon.sources.nvml.bus import DEVICES, OURS, boards

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""How often it is looked whether there are other GPUs than before."""

RENEW_SECONDS = 300.0
"""How often NVML is initialized again for a new GPU: doing it again and again has hung drivers
(NVIDIA go-nvml issue 152)."""


class Counts(Protocol):
    """What counts the GPUs that the driver lists."""

    def count(self) -> int:
        """Return their number; raises SourceFaultError."""
        ...


class Roll:
    """Belongs to the source's thread; only the count is asked in another."""

    def __init__(self, library: Counts, clock: Clock, folder: Path = DEVICES) -> None:
        """Know nothing; ``folder`` is where the bus lists its devices."""
        self._library = library
        self._clock = clock
        self._folder = folder
        self._listed = 0
        self._counted: int | None = None
        self._thread: threading.Thread | None = None
        self._look_at = 0.0
        self._renew_at = 0.0
        self._bound: frozenset[str] = frozenset()
        self._first: frozenset[str] | None = None
        self._tried: frozenset[str] = frozenset()
        self._elsewhere: tuple[PassedThrough, ...] = ()

    def begin(self) -> None:
        """Take note that NVML has just been initialized."""
        self._listed, self._counted = 0, None
        self._look_at = self._clock.monotonic() + LOOK_SECONDS
        self._scan()
        if self._first is None:
            # In a container the bus has GPUs that this one may not see: they are never missed.
            self._first = self._bound
        self._tried |= self._bound

    def listed(self, count: int) -> None:
        """Take note that it lists this number of GPUs."""
        self._listed = count

    def look(self) -> None:
        """Look at the bus, and have the GPUs counted, if it is time to."""
        if self._clock.monotonic() < self._look_at or self._busy():
            return
        self._look_at = self._clock.monotonic() + LOOK_SECONDS
        self._scan()
        self._thread = threading.Thread(target=self._count, name="count", daemon=False)
        self._thread.start()

    def grown(self) -> bool:
        """Return whether there are more GPUs than NVML listed, and it may list them again."""
        more = self._counted is not None and self._counted > self._listed
        new = bool(self._bound - self._tried)
        return (more or new) and self._clock.monotonic() >= self._renew_at

    def renewed(self) -> None:
        """Take note that NVML is initialized again for that."""
        self._renew_at = self._clock.monotonic() + RENEW_SECONDS
        new = sorted(self._bound - self._tried)
        at = f" at {', '.join(new)}" if new else ""
        log.warning("there are more GPUs than before%s: NVML is initialized again", at)

    def join(self, seconds: float | None) -> bool:
        """Wait for a count that is under way, forever if None; return whether it is done."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self._busy()

    def named(self, gpus: tuple[GpuReading, ...]) -> tuple[GpuReading, ...]:
        """Return readings none of which has the uuid of another, or none at all.

        A GPU that has not said where it is gets the address that only it can be at, and what
        stands for its uuid is made of that.
        """
        if all(gpu.identity.known for gpu in gpus) and not _doubled(gpus):
            return gpus
        found = seats([gpu.identity for gpu in gpus], self._bound)
        doubled = _doubled(gpus)
        return tuple(
            dataclasses.replace(gpu, identity=_named(gpu.identity, found, doubled)) for gpu in gpus
        )

    def passed_through(self) -> tuple[PassedThrough, ...]:
        """Return the GPUs of this machine that another driver has."""
        return self._elsewhere

    def unlisted(self, gpus: Sequence[GpuReading]) -> tuple[str, ...]:
        """Return the addresses of GPUs that have come to NVIDIA's driver and that NVML lacks."""
        new = self._bound - (self._first or frozenset())
        return tuple(sorted(new - {gpu.identity.pci_bus_id for gpu in gpus})) if new else ()

    def _busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _scan(self) -> None:
        found = boards(self._folder)
        self._bound = frozenset(board.pci_bus_id for board in found if board.driver == OURS)
        self._elsewhere = tuple(
            PassedThrough(board.pci_bus_id, board.driver)
            for board in found
            if board.driver not in ("", OURS)
        )

    def _count(self) -> None:
        try:
            self._counted = self._library.count()
        except SourceFaultError:  # the GPUs' own calls say what is wrong with the driver
            self._counted = None


def _doubled(gpus: Sequence[GpuReading]) -> frozenset[int]:
    """Return the indices of GPUs whose uuid is that of one before them."""
    first: dict[str, int] = {}
    return frozenset(
        gpu.identity.index
        for gpu in gpus
        if first.setdefault(gpu.identity.uuid, gpu.identity.index) != gpu.identity.index
    )


def _named(
    identity: GpuIdentity, addresses: dict[int, str], doubled: frozenset[int]
) -> GpuIdentity:
    if identity.known and identity.index not in doubled:
        return identity
    address = identity.pci_bus_id or addresses.get(identity.index, "")
    return dataclasses.replace(
        identity, pci_bus_id=address, uuid=unknown_uuid(address or f"gpu{identity.index}")
    )
