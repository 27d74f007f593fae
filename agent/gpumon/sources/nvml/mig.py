"""The MIG instances of one GPU, followed through reconfiguration.

Handles of instances die when the GPU is divided again, so they are enumerated now and then, and at
once when one of them no longer answers. What NVML reports for the whole GPU only (power, energy,
temperature, clocks) is not asked of an instance.
"""

from __future__ import annotations

import re
from typing import Any

from gpumon.model import MigIdentity, MigReading
from gpumon.sources.nvml.gpm import GpmReader
from gpumon.sources.nvml.library import DRIVER_GONE, SERIOUS, Door, FaultError
from gpumon.sources.nvml.origin import Gpm
from gpumon.sources.nvml.table import MIG

LOOK_SECONDS = 10.0
"""How often the instances are enumerated."""

MOST_INSTANCES = 64
"""More than a GPU can be divided into (seven); a driver that knows no number has all bits set."""

_PROFILE = re.compile(r"MIG (\S+)$")

_ACTIVITY = {
    origin: field
    for field, row in MIG.items()
    for choices in row.origins.values()
    for origin in choices
    if isinstance(origin, Gpm)
}
"""The reading's field by what GPM says of an instance."""


class MigReader:
    """Reads the instances of one GPU; belongs to the GPU's worker."""

    def __init__(self, door: Door, handle: Any, index: int, uuid: str) -> None:
        """Prepare to read the instances of the GPU of this handle; none is looked for yet."""
        self._door = door
        self._handle = handle
        self._gpu = (index, uuid)
        self._instances: dict[str, _MigInstance] = {}
        self._looked_at: float | None = None

    def read(self, monotonic: float, *, divided: bool) -> tuple[MigReading, ...]:
        """Return the readings of the instances there are, in the driver's order.

        Raises FaultError only for what speaks of the whole GPU.
        """
        if not divided:
            self.close()
            return ()
        if self._looked_at is None or monotonic - self._looked_at >= LOOK_SECONDS - 0.5:
            self._look(monotonic)
        readings = []
        for instance in self._instances.values():
            try:
                readings.append(instance.read(monotonic))
            except FaultError as fault:
                if fault.code in SERIOUS - DRIVER_GONE:
                    raise
                self._looked_at = None  # its handle is dead: see what there is now
        return tuple(readings)

    def close(self) -> None:
        """Give back what was allocated for the instances."""
        for instance in self._instances.values():
            instance.close()
        self._instances, self._looked_at = {}, None

    def _look(self, monotonic: float) -> None:
        found: dict[str, _MigInstance] = {}
        count = self._door.get("nvmlDeviceGetMaxMigDeviceCount", self._handle)
        for position in range(min(count, MOST_INSTANCES)):
            try:
                handle = self._door.get(
                    "nvmlDeviceGetMigDeviceHandleByIndex", self._handle, position
                )
                uuid = self._door.get("nvmlDeviceGetUUID", handle)
                known = self._instances.get(uuid)
                found[uuid] = known or _MigInstance(
                    self._door, (self._handle, handle), uuid, self._gpu
                )
            except FaultError as fault:  # a hole between instances, or one that just went
                if fault.code in SERIOUS - DRIVER_GONE:
                    raise
        for uuid in self._instances.keys() - found.keys():
            self._instances[uuid].close()
        self._instances, self._looked_at = found, monotonic


class _MigInstance:
    """One instance: its identity, which does not change, and its samples of activity."""

    def __init__(
        self, door: Door, handles: tuple[Any, Any], uuid: str, gpu: tuple[int, str]
    ) -> None:
        self._door = door
        gpu_handle, self._handle = handles
        self._gpu, self._gpu_uuid = gpu
        name = door.get("nvmlDeviceGetName", self._handle)
        profile = _PROFILE.search(name)
        self._identity = MigIdentity(
            mig_uuid=uuid,
            profile=profile[1] if profile else name,
            gpu_instance=door.get("nvmlDeviceGetGpuInstanceId", self._handle),
            compute_instance=door.get("nvmlDeviceGetComputeInstanceId", self._handle),
        )
        self._multiprocessors = self._count_multiprocessors()
        self._gpm = self._open_gpm(gpu_handle)

    def read(self, monotonic: float) -> MigReading:
        memory = self._door.get("nvmlDeviceGetMemoryInfo", self._handle)
        means = self._gpm.read(monotonic) if self._gpm is not None else {}
        activity: dict[str, Any] = {
            field: origin.convert(means[origin.id])
            for origin, field in _ACTIVITY.items()
            if origin.id in means
        }
        return MigReading(
            gpu=self._gpu,
            uuid=self._gpu_uuid,
            identity=self._identity,
            multiprocessors=self._multiprocessors,
            memory_total_bytes=memory.total,
            memory_used_bytes=memory.used,
            **activity,
        )

    def close(self) -> None:
        if self._gpm is not None:
            self._gpm.close()

    def _count_multiprocessors(self) -> int | None:
        try:
            attributes = self._door.get("nvmlDeviceGetAttributes_v2", self._handle)
        except FaultError:
            return None
        return int(attributes.multiprocessorCount)

    def _open_gpm(self, gpu_handle: Any) -> GpmReader | None:
        try:
            if not GpmReader.supported(self._door, gpu_handle):
                return None
            ids = [origin.id for origin in _ACTIVITY]
            return GpmReader(self._door, gpu_handle, ids, self._identity.gpu_instance)
        except FaultError:
            return None
