"""Which GPU, or which instance of it, a device's name in Kubernetes means."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gpumon.workloads.knowngpus import KnownGpus, Place
from gpumon.workloads.kubernetes.podresources import ClaimedDevice, PodDevices

RESOURCES = re.compile(r"nvidia\.com/(?:gpu(?![A-Za-z]).*|mig-.+)")
"""Resources of NVIDIA's device plugin that are GPUs, under any name that its settings give them
(``nvidia.com/gpu-a100``); time-sliced ones may have ``.shared`` at the end."""

VENDOR = "nvidia.com/"
"""Of its other resources those are GPUs whose devices have a GPU's UUID: NVIDIA's network operator
has some for NICs."""

UUID = re.compile(
    r"(?:GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|MIG-(?:GPU-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:/\d+/\d+)?)(?:::\d+)?"
)

DRIVER = "gpu.nvidia.com"
"""NVIDIA's driver of claims for GPUs; compute-domain.nvidia.com, its other one, gives channels."""

CDI_VENDORS = frozenset({"nvidia.com", DRIVER, f"k8s.{DRIVER}"})
"""Vendors in CDI names: the container toolkit's, and that of the driver of claims."""

_GKE = re.compile(r"nvidia(\d+)(?:/gi(\d+))?(?:/vgpu\d+)?")
"""Google's device plugin names device files: N of /dev/nvidiaN, and the GPU instance."""

_CLAIMED = re.compile(r"(?:.*-)?gpu-(\d+)(?:-mig-(.+)-\d+-\d+)?")
"""The driver of claims names GPUs by minor number, instances by profile, its id and placement; in
CDI names the claim's uid stands before (NVIDIA/k8s-dra-driver-gpu: CanonicalName)."""


class PodGpus(KnownGpus):
    """The GPUs that pods may hold, also by the names that device plugins and drivers give them."""

    def places(self, pod: PodDevices) -> Iterator[tuple[str, Place | None]]:
        """Yield each GPU that a pod was given, by its name, and where that is, or None."""
        for devices in pod.devices:
            for name in devices.ids:
                if _is_gpu(devices.resource, name):
                    yield name, self.find(name)
        for claimed in pod.claimed:
            names = _names(claimed)
            if names:
                found = (self.find(name) for name in names)
                yield names[0], next((place for place in found if place), None)

    def find(self, name: str) -> Place | None:
        """Return what a device's name means, or None if that is not known for sure.

        ``name::n`` is the n-th share of a time-sliced one.
        """
        name = name.partition("::")[0]
        if place := self.named(name):
            return place
        index, colon, _ = name.partition(":")
        if index.isdecimal():
            gpu = self.at_index(int(index))
            # NVML's numbers of instances have gaps where some were taken away: of several it is
            # not known which one is meant.
            return self._only(gpu) if colon else gpu
        if gke := _GKE.fullmatch(name):
            gpu = self.at_minor(int(gke[1]))
            return gpu if gke[2] is None else self._gpu_instance(gpu, int(gke[2]))
        if claimed := _CLAIMED.fullmatch(name):
            gpu = self.at_minor(int(claimed[1]))
            return gpu if claimed[2] is None else self._only(gpu, claimed[2])
        return None

    def _gpu_instance(self, gpu: Place | None, number: int) -> Place | None:
        those = self.instances(gpu.uuid) if gpu else ()
        held = tuple(one.mig_uuid for one in those if one.gpu_instance == number)
        return Place(gpu.uuid, held) if gpu and held else None

    def _only(self, gpu: Place | None, profile: str | None = None) -> Place | None:
        """Return the instance (of a profile) if a GPU has just one."""
        those = self.instances(gpu.uuid) if gpu else ()
        if profile is not None:
            those = tuple(one for one in those if _as_dns(one.profile) == profile)
        return Place(gpu.uuid, (those[0].mig_uuid,)) if gpu and len(those) == 1 else None


def _is_gpu(resource: str, name: str) -> bool:
    if RESOURCES.fullmatch(resource):
        return True
    return resource.startswith(VENDOR) and UUID.fullmatch(name) is not None


def passed_over(pod: PodDevices) -> set[str]:
    """Return resources of a pod that may be GPUs, and of which that is not known.

    NVIDIA's with other names and other devices; another vendor's whose devices look like GPUs.
    """
    return {
        devices.resource
        for devices in pod.devices
        for name in devices.ids
        if (devices.resource.startswith(VENDOR) or UUID.fullmatch(name))
        and not _is_gpu(devices.resource, name)
    }


def _names(claimed: ClaimedDevice) -> list[str]:
    """Return the names of a claimed device, the driver's own first; none if it is not a GPU."""
    names = [claimed.device] if claimed.driver == DRIVER and claimed.device else []
    for qualified in claimed.cdi_names:
        kind, _, name = qualified.partition("=")
        if kind.partition("/")[0] in CDI_VENDORS:
            names.append(name)
    return names


def _as_dns(profile: str) -> str:
    """Write a profile as names of claimed devices have it: 1g.10gb+me is 1g10gb-me."""
    return re.sub(r"[^a-z0-9-]", "-", profile.lower().replace(".", "")).strip("-")
