"""The seam of the workload managers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gpumon.model import Allocation, GpuReading, Job


class Manager(Protocol):
    """Knows who holds which GPU; asked on every tick, so it never waits."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def errors(self) -> int:
        """How often it could not be asked, or answered nonsense."""
        ...

    @property
    def success(self) -> bool:
        """Whether what it said last is news."""
        ...

    @property
    def unresolved(self) -> int:
        """How many jobs hold a GPU now of which it is not known which one it is."""
        ...

    def allocation(
        self, gpus: Sequence[GpuReading], shown: Mapping[str, Job], time: float
    ) -> Allocation | None:
        """Return who holds what, at a time in unix seconds; None while that is not known at all.

        ``shown`` are the jobs that the ledger still shows, by their id.
        """
        ...

    async def run(self) -> None:
        """Do what takes longer, beside the ticks, until cancelled."""
        ...
