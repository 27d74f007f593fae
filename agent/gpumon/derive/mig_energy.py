"""Each MIG instance's part of its GPU's joules.

NVML gives power and energy for the whole GPU only, so they are divided: by SMs times their activity
if GPM reports it (Hopper and later), else, and while none is active, by SMs. The instances' joules
always add up to what the GPU drew since it was first seen divided, in whole millijoules; what a GPU
draws while idle is thus borne by its instances too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gpumon.model import GpuReading, MigEnergyInfo, MigReading, Snapshot

BY_ACTIVITY = MigEnergyInfo("sm_activity")
BY_SHARE = MigEnergyInfo("sm_share")


class MigEnergy:
    """Fills in ``energy_joules`` and ``energy_info`` of MIG instances."""

    def __init__(self) -> None:
        """Start at zero joules."""
        self._counters: dict[str, int] = {}
        self._instances: dict[str, int] = {}

    def update(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with each instance's joules since it was first seen."""
        if not any(gpu.mig for gpu in snapshot.gpus):
            self._counters, self._instances = {}, {}
            return snapshot
        there = {instance.identity.mig_uuid for gpu in snapshot.gpus for instance in gpu.mig}
        # A GPU that does not answer now has its instances still.
        silent = {gpu.identity.uuid for gpu in snapshot.gpus if not gpu.up}
        if not silent:
            self._instances = {uuid: mj for uuid, mj in self._instances.items() if uuid in there}
        gpus = tuple(self._divided(gpu) if gpu.mig else gpu for gpu in snapshot.gpus)
        divided = {gpu.identity.uuid for gpu in snapshot.gpus if gpu.mig} | silent
        self._counters = {uuid: mj for uuid, mj in self._counters.items() if uuid in divided}
        return dataclasses.replace(snapshot, gpus=gpus)

    def _divided(self, gpu: GpuReading) -> GpuReading:
        if gpu.energy_joules is None:
            return gpu
        now = round(gpu.energy_joules * 1000)
        drawn = max(0, now - self._counters.get(gpu.identity.uuid, now))  # less is a reset
        self._counters[gpu.identity.uuid] = now
        weights, method = mig_weights(gpu.mig)
        for instance, part in zip(gpu.mig, divide(drawn, weights), strict=True):
            uuid = instance.identity.mig_uuid
            self._instances[uuid] = self._instances.get(uuid, 0) + part
        mig = tuple(
            dataclasses.replace(
                instance,
                energy_joules=self._instances[instance.identity.mig_uuid] / 1000,
                energy_info=method,
            )
            for instance in gpu.mig
        )
        return dataclasses.replace(gpu, mig=mig)


def mig_weights(instances: Sequence[MigReading]) -> tuple[list[float], MigEnergyInfo]:
    """Return each instance's weight, and the method that a GPU with these is divided by."""
    sizes = [float(instance.multiprocessors or 1) for instance in instances]
    if any(instance.sm_active_ratio is None for instance in instances):
        return sizes, BY_SHARE
    active = [
        size * (instance.sm_active_ratio or 0.0)
        for size, instance in zip(sizes, instances, strict=True)
    ]
    return (active if sum(active) > 0 else sizes), BY_ACTIVITY


def divide(whole: int, weights: Sequence[float]) -> list[int]:
    """Divide a whole number by weights (not all 0) into whole numbers that add up to it."""
    if len(weights) == 1:
        return [whole]
    parts: list[int] = []
    total, given, weight = sum(weights), 0, 0.0
    for each in weights[:-1]:
        weight += each
        until = round(whole * weight / total)
        parts.append(until - given)
        given = until
    return [*parts, whole - given]
