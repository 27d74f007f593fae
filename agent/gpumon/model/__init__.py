"""What is known: readings, snapshots, and the catalogue of the metrics they carry.

Nothing here reads anything, and nothing here imports from the rest of gpumon.
"""

from gpumon.model.age import GpuAge
from gpumon.model.events import SxidEvent, XidEvent
from gpumon.model.gpu import GpuReading
from gpumon.model.host import HostReading
from gpumon.model.jobs import Allocation, Holding, Job
from gpumon.model.ledger import JobGpuReading, JobReading, LedgerReading, LedgerRule, LedgerState
from gpumon.model.metric import Group, Kind, Metric, Tier, group_of
from gpumon.model.mig import MigReading
from gpumon.model.nvswitch import NvswitchReading
from gpumon.model.snapshot import AgentFacts, NodeReading, Snapshot, SourceInfo
from gpumon.model.terms import (
    GPU_STATES,
    NOT_ANSWERED_YET,
    RECOVERY_ACTIONS,
    THROTTLE_REASONS,
    Denied,
    EnergyInfo,
    FabricInfo,
    Firmware,
    GpuIdentity,
    GpuProcess,
    GpuState,
    MigEnergyInfo,
    MigIdentity,
    PassedThrough,
    Platform,
    PowerSample,
)
from gpumon.model.totals import NodeTotals

__all__ = [
    "GPU_STATES",
    "NOT_ANSWERED_YET",
    "RECOVERY_ACTIONS",
    "THROTTLE_REASONS",
    "AgentFacts",
    "Allocation",
    "Denied",
    "EnergyInfo",
    "FabricInfo",
    "Firmware",
    "GpuAge",
    "GpuIdentity",
    "GpuProcess",
    "GpuReading",
    "GpuState",
    "Group",
    "Holding",
    "HostReading",
    "Job",
    "JobGpuReading",
    "JobReading",
    "Kind",
    "LedgerReading",
    "LedgerRule",
    "LedgerState",
    "Metric",
    "MigEnergyInfo",
    "MigIdentity",
    "MigReading",
    "NodeReading",
    "NodeTotals",
    "NvswitchReading",
    "PassedThrough",
    "Platform",
    "PowerSample",
    "Snapshot",
    "SourceInfo",
    "SxidEvent",
    "Tier",
    "XidEvent",
    "group_of",
]
