"""What follows from readings: extremes, sums, doubts about a counter, each MIG instance's joules.

A snapshot goes in and a fuller one comes out, whichever source it is of; times are the source's
own, so a replay at sixty times the speed has the same outcome.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from gpumon.derive.energy_check import EnergyCheck
from gpumon.derive.extremes import PowerExtremes
from gpumon.derive.mig_energy import MigEnergy
from gpumon.model import Snapshot


class Derivation:
    """All that follows, from one snapshot to the next."""

    def __init__(self) -> None:
        """Start without a past."""
        self._extremes = PowerExtremes()
        self._check = EnergyCheck()
        self._mig = MigEnergy()

    def update(
        self, snapshot: Snapshot, jobs: Mapping[str, Sequence[str]] | None = None
    ) -> Snapshot:
        """Return the snapshot with what follows from it and from those before it.

        ``jobs`` are the ids of those that hold each GPU, by its uuid.
        """
        jobs = jobs or {}
        power = self._extremes.node(snapshot)
        self._check.forget(snapshot)
        # One copy of a reading, with all that follows: it has seventy fields.
        gpus = tuple(
            gpu.changed(
                jobs=tuple(jobs.get(gpu.identity.uuid, ())),
                **self._extremes.of(gpu),
                **self._check.of(gpu),
            )
            for gpu in snapshot.gpus
        )
        return self._mig.update(dataclasses.replace(snapshot, gpus=gpus, power=power))


__all__ = ["Derivation", "EnergyCheck", "MigEnergy", "PowerExtremes"]
