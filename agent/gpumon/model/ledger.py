"""What the ledger says at one instant: each job's joules and GPU time, and what nobody held.

On every GPU, in whole millijoules: jobs + ended jobs + unallocated = ledger.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.model.jobs import Job
from gpumon.model.metric import Tier, counter, gauge, info, metric_group


@metric_group(prefix="gpumon_job", labels=("job_id",))
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobReading:
    """One job on this node, while it holds a GPU and for a quarter of an hour after."""

    job: Job = info(
        "A job on this node; its user and name are empty for clients that may not see users.",
        labels=("user", "account", "partition", "name", "manager"),
        name="",
        required=True,
    )
    gpu_seconds: Mapping[str, float] | None = counter(
        "Time in which the job held a GPU, summed over its GPUs here: active, or idle (activity "
        "below the threshold activity.idle_ratio).",
        tier=Tier.CORE,
        labels=["state"],
    )
    idle_energy_joules: float | None = counter(
        "Joules wasted by the job: those of gpumon_job_gpu_energy_joules_total on GPUs that it "
        "held and left idle.",
        tier=Tier.CORE,
    )
    host_energy_joules: Mapping[str, float] | None = counter(
        "The job's part of the energy that the node draws beyond its GPUs, by the share of the "
        "node's GPUs that it holds.",
        tier=Tier.CORE,
        labels=["method"],
    )

    held_gpus: int | None = gauge(
        "GPUs of this node that the job holds; absent once it has ended.",
        tier=Tier.CORE,
        name="gpus",
    )
    idle_gpus: int | None = gauge(
        "GPUs of this node that the job holds and that have had no activity for "
        "activity.idle_window; absent while that is not known of each of them.",
        tier=Tier.CORE,
    )
    power_watts: float | None = gauge(
        "Power of the GPUs of this node that the job holds, by its share of each.", tier=Tier.CORE
    )
    activity_ratio: float | None = gauge(
        "Activity (SM activity, else utilization) of the GPUs of this node that the job holds, "
        "their mean.",
        tier=Tier.CORE,
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """The job's identity."""
        return (self.job.job_id,)


@metric_group(prefix="gpumon_job_gpu", labels=("job_id", "gpu", "uuid"))
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobGpuReading:
    """One job on one GPU.

    ``idle`` is whether the GPU has had no activity for ``activity.idle_window``, None if that is
    not known.
    """

    job_id: str
    gpu: int
    uuid: str
    idle: bool | None = None
    share: float | None = gauge(
        "Share of the GPU's energy that the job pays for now, 0 to 1; absent once it has ended.",
        tier=Tier.CORE,
    )
    energy_joules: float | None = counter(
        "The job's joules on this GPU; it pays for a GPU that it holds and leaves idle.",
        tier=Tier.CORE,
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """The job, and the GPU by its NVML index and UUID."""
        return self.job_id, str(self.gpu), self.uuid


@metric_group(prefix="gpumon", labels=("gpu", "uuid"))
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReading:
    """One GPU's account beyond the jobs that are shown."""

    gpu: int
    uuid: str
    unallocated_energy_joules: float | None = counter(
        "Joules of this GPU while nobody held it.", tier=Tier.CORE
    )
    ended_jobs_energy_joules: float | None = counter(
        "Joules of this GPU that went to jobs no longer shown.", tier=Tier.CORE
    )
    ledger_energy_joules: float | None = counter(
        "Joules of this GPU since its ledger began: jobs, ended jobs and unallocated together.",
        tier=Tier.CORE,
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """The GPU by its NVML index and UUID."""
        return str(self.gpu), self.uuid


@dataclasses.dataclass(frozen=True, slots=True)
class LedgerRule:
    """How several holders of one GPU share its joules, and who gets those of a gap."""

    shared: str = "sm_activity"
    mig: str = "sm_activity"
    gap: str = "holder_before_and_after"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """The ledger at one tick: its readings belong together.

    ``node_energy_joules`` is what was ever entered of all GPUs, those that are gone among them;
    None until an agent that starts has read all of them.
    """

    jobs: tuple[JobReading, ...] = ()
    shares: tuple[JobGpuReading, ...] = ()
    gpus: tuple[LedgerReading, ...] = ()
    node_energy_joules: float | None = None
