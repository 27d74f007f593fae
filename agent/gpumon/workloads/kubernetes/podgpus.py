"""Which GPU, or which instance of it, a device's name in Kubernetes means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpumon.model import GpuReading, GpuState, MigIdentity
from gpumon.workloads.kubernetes.podresources import ClaimedDevice, PodDevices

RESOURCES = re.compile(r"nvidia\.com/(?:gpu(?:\.shared)?|mig-.+)")
"""Resources of NVIDIA's device plugin that are GPUs; time-sliced ones may be called ``.shared``."""

DRIVER = "gpu.nvidia.com"
"""NVIDIA's driver of claims for GPUs; compute-domain.nvidia.com, its other one, gives channels."""

CDI_VENDORS = frozenset({"nvidia.com", DRIVER, f"k8s.{DRIVER}"})
"""Vendors in CDI names: the container toolkit's, and that of the driver of claims."""

_GKE = re.compile(r"nvidia(\d+)(?:/gi(\d+))?(?:/vgpu\d+)?")
"""Google's device plugin names device files: N of /dev/nvidiaN, and the GPU instance."""

_CLAIMED = re.compile(r"(?:.*-)?gpu-(\d+)(?:-mig-(.+)-\d+-\d+)?")
"""The driver of claims names GPUs by minor number, instances by profile, its id and placement; in
CDI names the claim's uid stands before (NVIDIA/k8s-dra-driver-gpu: CanonicalName)."""


class Place(NamedTuple):
    """A GPU, or these instances of it."""

    uuid: str
    mig_uuids: tuple[str, ...] = ()


class PodGpus:
    """The GPUs that pods may hold, by all their names.

    It remembers: a GPU that does not answer is held by its pod all the same, and so are its
    instances, of which it tells nothing any more.
    """

    def __init__(self) -> None:
        """Know no GPUs."""
        self._gpus: frozenset[str] = frozenset()
        self._by_index: dict[int, str] = {}
        self._by_minor: dict[int, str] = {}
        self._instances: dict[str, tuple[MigIdentity, ...]] = {}

    def see(self, gpus: Sequence[GpuReading]) -> None:
        """Take in the GPUs there are; where there are none, nobody could read them."""
        if not gpus:
            return
        identities = [gpu.identity for gpu in gpus]
        self._gpus = frozenset(gpu.uuid for gpu in identities)
        self._by_index = {gpu.index: gpu.uuid for gpu in identities}
        self._by_minor = {
            gpu.minor_number: gpu.uuid for gpu in identities if gpu.minor_number is not None
        }
        for gpu in gpus:
            if gpu.mig or gpu.state is GpuState.OK:
                self._instances[gpu.identity.uuid] = tuple(one.identity for one in gpu.mig)
        self._instances = {
            uuid: those for uuid, those in self._instances.items() if uuid in self._gpus
        }

    def places(self, pod: PodDevices) -> Iterator[tuple[str, Place | None]]:
        """Yield each GPU that a pod was given, by its name, and where that is, or None."""
        for devices in pod.devices:
            if RESOURCES.fullmatch(devices.resource):
                for name in devices.ids:
                    yield name, self.find(name)
        for claimed in pod.claimed:
            names = _names(claimed)
            if names:
                found = (self.find(name) for name in names)
                yield names[0], next((place for place in found if place), None)

    def find(self, name: str) -> Place | None:
        """Return what a device's name means, or None where that is not known for sure.

        ``name::n`` is the n-th share of a time-sliced one.
        """
        name = name.partition("::")[0]
        if name in self._gpus:
            return Place(name)
        if name.startswith("MIG-"):
            return self._instance(name)
        index, colon, _ = name.partition(":")
        if index.isdecimal():
            uuid = self._by_index.get(int(index))
            # NVML's numbers of instances have gaps where some were taken away: of several it is
            # not known which one is meant.
            return self._only(uuid) if colon else self._whole(uuid)
        if gke := _GKE.fullmatch(name):
            uuid = self._by_minor.get(int(gke[1]))
            return self._whole(uuid) if gke[2] is None else self._gpu_instance(uuid, int(gke[2]))
        if claimed := _CLAIMED.fullmatch(name):
            uuid = self._by_minor.get(int(claimed[1]))
            return self._whole(uuid) if claimed[2] is None else self._only(uuid, claimed[2])
        return None

    def _whole(self, uuid: str | None) -> Place | None:
        return None if uuid is None else Place(uuid)

    def _instance(self, mig_uuid: str) -> Place | None:
        for uuid, those in self._instances.items():
            if any(one.mig_uuid == mig_uuid for one in those):
                return Place(uuid, (mig_uuid,))
        return None

    def _gpu_instance(self, uuid: str | None, number: int) -> Place | None:
        those = self._instances.get(uuid or "", ())
        held = tuple(one.mig_uuid for one in those if one.gpu_instance == number)
        return Place(uuid, held) if uuid and held else None

    def _only(self, uuid: str | None, profile: str | None = None) -> Place | None:
        """Return the instance (of a profile) where a GPU has just one."""
        those = self._instances.get(uuid or "", ())
        if profile is not None:
            those = tuple(one for one in those if _as_dns(one.profile) == profile)
        return Place(uuid, (those[0].mig_uuid,)) if uuid and len(those) == 1 else None


def _names(claimed: ClaimedDevice) -> list[str]:
    """Return the names of a claimed device, the driver's own first; none where it is no GPU."""
    names = [claimed.device] if claimed.driver == DRIVER and claimed.device else []
    for qualified in claimed.cdi_names:
        kind, _, name = qualified.partition("=")
        if kind.partition("/")[0] in CDI_VENDORS:
            names.append(name)
    return names


def _as_dns(profile: str) -> str:
    """Write a profile as names of claimed devices have it: 1g.10gb+me is 1g10gb-me."""
    return re.sub(r"[^a-z0-9-]", "-", profile.lower().replace(".", "")).strip("-")
