"""What follows from readings: extremes, sums, doubts, how long a trouble has lasted, MIG's joules.

A snapshot goes in and a fuller one comes out, whichever source it is of; times are the source's
own, so a replay at sixty times the speed has the same outcome.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpumon.derive.contradictions import contradictions
from gpumon.derive.energy_check import EnergyCheck
from gpumon.derive.extremes import PowerExtremes
from gpumon.derive.mig_energy import MigEnergy
from gpumon.derive.since import Since
from gpumon.model import Snapshot


class Derivation:
    """All that follows, from one snapshot to the next."""

    def __init__(self) -> None:
        """Start without a past."""
        self._extremes = PowerExtremes()
        self._check = EnergyCheck()
        self._mig = MigEnergy()
        self._since = Since()

    def update(
        self, snapshot: Snapshot, known: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Snapshot:
        """Return the snapshot with what follows from it and from those before it.

        ``known`` is what else is known of each GPU, by its uuid and its reading's fields: it goes
        into the same copy of the reading, which has seventy fields.
        """
        known = known or {}
        power = self._extremes.node(snapshot)
        self._check.forget(snapshot)
        self._since.forget(snapshot)
        gpus = tuple(
            gpu.changed(
                **known.get(gpu.identity.uuid, {}),
                **self._extremes.of(gpu),
                **self._check.of(gpu),
                **self._since.of(gpu, snapshot.time),
                contradicted=contradictions(gpu),
            )
            for gpu in snapshot.gpus
        )
        return self._mig.update(dataclasses.replace(snapshot, gpus=gpus, power=power))


__all__ = ["Derivation", "EnergyCheck", "MigEnergy", "PowerExtremes", "Since"]
