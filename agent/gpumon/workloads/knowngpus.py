"""The GPUs of this node, by the names that every workload manager has for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gpumon.model import GpuReading, GpuState, MigIdentity


class Place(NamedTuple):
    """A GPU, or these instances of it."""

    uuid: str
    mig_uuids: tuple[str, ...] = ()


class Instance(NamedTuple):
    """A MIG instance as its device files name it.

    N of /dev/nvidiaN, and the driver's numbers of the GPU instance and of the compute instance in
    it; None is all of these.
    """

    minor: int
    gpu_instance: int
    compute_instance: int | None = None


_FORMER_UUID = re.compile(r"MIG-(GPU-[0-9A-Za-z-]{1,64})/(\d{1,3})/(\d{1,3})", re.ASCII)
"""MIG-GPU-UUID/GPU instance/compute instance, as drivers before 470 and Slurm wrote it."""


class KnownGpus:
    """The GPUs that jobs may hold.

    It remembers: a GPU that does not answer is held by its job all the same, and so are its
    instances, which it no longer reports.
    """

    def __init__(self) -> None:
        """Know no GPUs."""
        self._gpus: frozenset[str] = frozenset()
        self._by_index: dict[int, str] = {}
        self._by_minor: dict[int, str] = {}
        self._without_minor: dict[int, str] = {}
        self._instances: dict[str, tuple[MigIdentity, ...]] = {}

    def see(self, gpus: Sequence[GpuReading]) -> None:
        """Take in the GPUs there are; if there are none, nobody could read them."""
        if not gpus:
            return
        identities = [gpu.identity for gpu in gpus]
        self._gpus = frozenset(gpu.uuid for gpu in identities)
        self._by_index = {gpu.index: gpu.uuid for gpu in identities}
        self._by_minor = {
            gpu.minor_number: gpu.uuid for gpu in identities if gpu.minor_number is not None
        }
        self._without_minor = {
            gpu.index: gpu.uuid for gpu in identities if gpu.minor_number is None
        }
        for gpu in gpus:
            if gpu.mig or gpu.state is GpuState.OK:
                self._instances[gpu.identity.uuid] = tuple(one.identity for one in gpu.mig)
        self._instances = {
            uuid: those for uuid, those in self._instances.items() if uuid in self._gpus
        }

    def named(self, uuid: str) -> Place | None:
        """Return the GPU, or the instance of one, that has a UUID."""
        if uuid in self._gpus:
            return Place(uuid)
        for gpu, those in self._instances.items():
            if any(one.mig_uuid == uuid for one in those):
                return Place(gpu, (uuid,))
        if former := _FORMER_UUID.fullmatch(uuid):
            return self._instance(former[1], int(former[2]), int(former[3]))
        return None

    def at_instance(self, name: Instance) -> Place | None:
        """Return the instance that has these device files; its GPU if no instance is known."""
        gpu = self.at_minor_or_index(name.minor)
        if gpu is None or not self.instances(gpu.uuid):
            return gpu
        return self._instance(gpu.uuid, name.gpu_instance, name.compute_instance)

    def _instance(self, uuid: str, gpu: int, compute: int | None) -> Place | None:
        found = tuple(
            one.mig_uuid
            for one in self.instances(uuid)
            if one.gpu_instance == gpu and compute in (None, one.compute_instance)
        )
        return Place(uuid, found) if found else None

    def at_index(self, number: int) -> Place | None:
        """Return the GPU with an index: the driver counts in PCI order, as nvidia-smi does."""
        return _whole(self._by_index.get(number))

    def at_minor(self, number: int) -> Place | None:
        """Return the GPU that is /dev/nvidiaN."""
        return _whole(self._by_minor.get(number))

    def at_minor_or_index(self, number: int) -> Place | None:
        """Return the GPU that is /dev/nvidiaN; one without that number (simulated) by its index."""
        return self.at_minor(number) or _whole(self._without_minor.get(number))

    @property
    def all_instances(self) -> Mapping[str, tuple[MigIdentity, ...]]:
        """The instances of the GPUs of which they are known, by UUID."""
        return self._instances

    def instances(self, uuid: str) -> tuple[MigIdentity, ...]:
        """Return the instances of a GPU."""
        return self._instances.get(uuid, ())


def _whole(uuid: str | None) -> Place | None:
    return None if uuid is None else Place(uuid)
