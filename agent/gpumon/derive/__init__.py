"""What follows from readings: extremes, sums, doubts about a counter, each MIG instance's joules.

A snapshot goes in and a fuller one comes out, whichever source it is of; times are the source's
own, so a replay at sixty times the speed has the same outcome.
"""

from __future__ import annotations

from gpumon.derive.energy_check import EnergyCheck
from gpumon.derive.extremes import PowerExtremes
from gpumon.derive.mig_energy import MigEnergy
from gpumon.model import Snapshot


class Derivation:
    """All that follows, from one snapshot to the next."""

    def __init__(self) -> None:
        """Start without a past."""
        self._steps = (PowerExtremes(), EnergyCheck(), MigEnergy())

    def update(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with what follows from it and from those before it."""
        for step in self._steps:
            snapshot = step.update(snapshot)
        return snapshot


__all__ = ["Derivation", "EnergyCheck", "MigEnergy", "PowerExtremes"]
