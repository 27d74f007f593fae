"""What a node's GPUs add up to, and what those of each job on it do.

All of it is of one moment: of what is known when somebody looks, not of ticks before. A GPU that
is lost, or silent, is in none of the sums of readings.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence

from gpumon.model import (
    GPU_STATES,
    GpuReading,
    JobGpuReading,
    JobReading,
    LedgerState,
    NodeTotals,
)

Share = tuple[JobGpuReading, GpuReading | None]
"""What a job has of a GPU now, and the GPU's reading."""


def activity(gpu: GpuReading) -> float | None:
    """Return SM activity, else utilization: what decides between active and idle."""
    return gpu.utilization_ratio if gpu.sm_active_ratio is None else gpu.sm_active_ratio


def node_totals(
    gpus: Sequence[GpuReading], ledger: LedgerState | None, active_ratio: float
) -> NodeTotals:
    """Return what the GPUs add up to; who holds them is not known without a ledger.

    From ``active_ratio`` on a held GPU is active. A guest's vGPU is not one of them: its board is
    counted by the host.
    """
    parts = {gpu.identity.uuid for gpu in gpus if not gpu.identity.is_board}
    gpus = [gpu for gpu in gpus if gpu.identity.is_board]
    states = collections.Counter(gpu.state.value for gpu in gpus)
    held = None if ledger is None else {share.uuid for share in _now(ledger)} - parts
    busy = (held or set()) & {g.identity.uuid for g in gpus if (activity(g) or 0.0) >= active_ratio}
    return NodeTotals(
        gpus={state: states[state] for state in GPU_STATES},
        gpus_held=None if held is None else len(held),
        gpus_active=None if held is None else len(busy),
        gpu_power_limit_watts=_sum(gpu.power_limit_watts for gpu in gpus),
        gpu_power_limit_default_watts=_sum(gpu.power_limit_default_watts for gpu in gpus),
        gpu_temperature_margin_celsius=min(
            _known(gpu.temperature_margin_celsius for gpu in gpus), default=None
        ),
        gpu_processes=_count(gpu.processes for gpu in gpus),
        gpu_energy_joules=None if ledger is None else ledger.node_energy_joules,
    )


def with_job_totals(gpus: Sequence[GpuReading], ledger: LedgerState) -> LedgerState:
    """Return a ledger's state with what each job's GPUs here draw and do now."""
    shares: dict[str, list[Share]] = {}
    by_uuid = {gpu.identity.uuid: gpu for gpu in gpus}
    for share in _now(ledger):
        shares.setdefault(share.job_id, []).append((share, by_uuid.get(share.uuid)))
    if not shares:
        return ledger
    jobs = tuple(_with_totals(job, shares.get(job.job.job_id, ())) for job in ledger.jobs)
    return dataclasses.replace(ledger, jobs=jobs)


def _with_totals(job: JobReading, shares: Sequence[Share]) -> JobReading:
    if not shares:
        return job
    known = [(share, gpu) for share, gpu in shares if gpu is not None and gpu.up]
    acts = [act for _, gpu in known if (act := activity(gpu)) is not None]
    return dataclasses.replace(
        job,
        held_gpus=len(shares),
        idle_gpus=_idle(shares),
        power_watts=_sum(
            gpu.power_watts * (share.share or 0.0)
            for share, gpu in known
            if gpu.power_watts is not None
        ),
        activity_ratio=round(sum(acts) / len(acts), 6) if acts else None,
    )


def _idle(shares: Iterable[Share]) -> int | None:
    """Return how many are idle; None if that is not known of one of them."""
    found = 0
    for share, gpu in shares:
        if gpu is None or not gpu.up or share.idle is None:
            return None
        found += share.idle
    return found


def _now(ledger: LedgerState) -> Iterable[JobGpuReading]:
    """Return what jobs have now: an ended one has no share."""
    return (share for share in ledger.shares if share.share is not None)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _sum(values: Iterable[float | None]) -> float | None:
    """Add up what is known, to the milliwatt that drivers read in; None if nothing is."""
    known = _known(values)
    return round(sum(known), 3) if known else None


def _count(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
