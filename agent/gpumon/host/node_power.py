"""What the whole node draws: measured if something measures it, else estimated and said to be.

A BMC or a power meter sees everything behind the power supplies. Without one, the parts that are
known are added up: GPUs, CPUs, and an overhead (fans, network, disks, losses) that the operator
declares, because nothing in the machine reports it.
"""

from __future__ import annotations

from typing import NamedTuple

FRESH_SECONDS = 60.0
"""A measurement that is older is no longer used: four of the BMC's usual periods."""

HOLE_SECONDS = 60.0
"""Over a longer hole nobody knows what was drawn; a shorter one is bridged, as the GPUs' are."""

Known = tuple[str, str]
"""How power is known: method (measured, estimated) and source."""


class Sample(NamedTuple):
    """A measurement: watts, and when (monotonic seconds)."""

    watts: float
    at: float


class NodePower:
    """Chooses the best power there is, and integrates it."""

    def __init__(self, overhead_watts: float | None = None) -> None:
        """Start at zero joules; ``overhead_watts`` is what neither GPUs nor CPUs draw."""
        self._overhead = overhead_watts
        self._joules: dict[Known, float] = {}
        self._before: tuple[Known, float, float] | None = None
        self.now: tuple[Known, float] | None = None

    def update(
        self,
        monotonic: float,
        measured: dict[str, Sample],
        gpu_watts: float | None,
        cpu_watts: float | None,
    ) -> None:
        """Take in what is known at a moment: measurements by source, best first, and parts."""
        self.now = self._choose(monotonic, measured, gpu_watts, cpu_watts)
        if self.now is None:
            return
        known, watts = self.now
        before, self._before = self._before, (known, monotonic, watts)
        joules = self._joules.setdefault(known, 0.0)
        # A hand-over from one method to another counts for the one that takes over.
        if before is not None and 0 < monotonic - before[1] <= HOLE_SECONDS:
            mean = (before[2] + watts) / 2 if before[0] == known else watts
            self._joules[known] = joules + mean * (monotonic - before[1])

    @property
    def joules(self) -> dict[Known, float] | None:
        """Joules since the start by how they were known, which add up; None before the first."""
        return {known: round(j, 3) for known, j in self._joules.items()} or None

    def _choose(
        self,
        monotonic: float,
        measured: dict[str, Sample],
        gpu_watts: float | None,
        cpu_watts: float | None,
    ) -> tuple[Known, float] | None:
        for source, sample in measured.items():
            if monotonic - sample.at <= FRESH_SECONDS:
                return ("measured", source), sample.watts
        if gpu_watts is None or (cpu_watts is None and self._overhead is None):
            return None  # GPUs alone are no node
        parts = {"gpus": gpu_watts, "cpus": cpu_watts, "overhead": self._overhead}
        known = {name: watts for name, watts in parts.items() if watts is not None}
        return ("estimated", "+".join(known)), round(sum(known.values()), 3)
