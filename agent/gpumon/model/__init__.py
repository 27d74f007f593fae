"""What is known: readings, snapshots, and the catalogue of the metrics they carry.

Nothing here reads anything, and nothing here imports from the rest of gpumon.
"""

from gpumon.model.gpu import GpuAge, GpuReading
from gpumon.model.metric import Cadence, Group, Kind, Metric, Tier, group_of, groups
from gpumon.model.snapshot import NodeReading, Snapshot, SourceInfo
from gpumon.model.terms import (
    ARCHITECTURES,
    GPU_STATES,
    RECOVERY_ACTIONS,
    THROTTLE_REASONS,
    EnergyInfo,
    GpuIdentity,
    GpuState,
    PowerSample,
)

__all__ = [
    "ARCHITECTURES",
    "GPU_STATES",
    "RECOVERY_ACTIONS",
    "THROTTLE_REASONS",
    "Cadence",
    "EnergyInfo",
    "GpuAge",
    "GpuIdentity",
    "GpuReading",
    "GpuState",
    "Group",
    "Kind",
    "Metric",
    "NodeReading",
    "PowerSample",
    "Snapshot",
    "SourceInfo",
    "Tier",
    "group_of",
    "groups",
]
