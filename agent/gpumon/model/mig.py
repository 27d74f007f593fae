"""One MIG instance at one instant: what of a GPU it is, and what it said.

NVML reports memory, processes and GPM for an instance; power, temperature and clocks are the whole
GPU's and are never repeated here. Energy is apportioned (``gpumon.derive``), and says how.
"""

from __future__ import annotations

import dataclasses

from gpumon.model.metric import Tier, counter, gauge, info, metric_group
from gpumon.model.terms import MigEnergyInfo, MigIdentity


@metric_group(prefix="gpumon_mig", labels=("gpu", "uuid", "mig_uuid"))
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MigReading:
    """What one MIG instance of a GPU said; ``gpu`` and ``uuid`` are those of the whole GPU.

    ``multiprocessors`` is how many SMs it has, by which energy is apportioned.
    """

    gpu: int
    uuid: str
    identity: MigIdentity = info(
        "What this MIG instance is; join on mig_uuid.",
        labels=("profile", "gpu_instance", "compute_instance"),
        name="",
        required=True,
    )
    multiprocessors: int | None = gauge(
        "Multiprocessors (SMs) this instance has.",
    )
    memory_total_bytes: int | None = gauge(
        "Device memory of this instance.",
    )
    memory_used_bytes: int | None = gauge(
        "Device memory of this instance in use by processes.",
        tier=Tier.CORE,
    )
    sm_active_ratio: float | None = gauge(
        "Share of this instance's SM time with at least one warp resident, mean since the last "
        "tick.",
        tier=Tier.CORE,
    )
    sm_occupancy_ratio: float | None = gauge(
        "Resident warps as a share of what this instance's SMs could hold, mean since the last "
        "tick.",
    )
    tensor_active_ratio: float | None = gauge(
        "Share of cycles in which any tensor pipe of this instance was busy, mean since the last "
        "tick.",
    )
    dram_active_ratio: float | None = gauge(
        "Device memory bandwidth of this instance in use, as a share of the peak, mean since the "
        "last tick.",
    )
    energy_joules: float | None = counter(
        "This instance's part of its GPU's energy; gpumon_mig_energy_info names the method.",
        tier=Tier.CORE,
    )
    energy_info: MigEnergyInfo | None = info(
        "How a GPU's energy is divided among its instances: by SMs times their activity, or by "
        "SMs alone if activity is not known.",
        labels=("method",),
        name="energy",
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """The values of the group's labels: the GPU's NVML index and UUID, the instance's UUID."""
        return str(self.gpu), self.uuid, self.identity.mig_uuid
