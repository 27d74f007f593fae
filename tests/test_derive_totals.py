"""What a node's GPUs add up to, and what those of each job do."""

from __future__ import annotations

import dataclasses

from gpumon.derive.totals import node_totals, with_job_totals
from gpumon.model import (
    GpuIdentity,
    GpuReading,
    GpuState,
    Job,
    JobGpuReading,
    JobReading,
    LedgerState,
    NodeTotals,
)

LINE = 0.05


def gpu(index: int, **values: object) -> GpuReading:
    """Return a GPU that answers."""
    identity = GpuIdentity(index=index, uuid=f"GPU-{index}")
    return GpuReading(identity=identity, **{"state": GpuState.OK, **values})  # type: ignore[arg-type]


def ledger(*shares: tuple[str, int, float | None, bool | None]) -> LedgerState:
    """Return a ledger of jobs: id, GPU, share of it now, and whether it is idle there."""
    ids = dict.fromkeys(job_id for job_id, *_ in shares)
    return LedgerState(
        jobs=tuple(JobReading(job=Job(job_id=job_id, manager="slurm")) for job_id in ids),
        shares=tuple(
            JobGpuReading(job_id=job_id, gpu=i, uuid=f"GPU-{i}", share=share, idle=idle)
            for job_id, i, share, idle in shares
        ),
        node_energy_joules=12.5,
    )


def jobs(gpus: list[GpuReading], state: LedgerState) -> dict[str, JobReading]:
    """Return the jobs with what their GPUs do, by id."""
    return {job.job.job_id: job for job in with_job_totals(gpus, state).jobs}


def test_a_node_is_the_sum_of_its_gpus() -> None:
    """States, limits and processes add up; of margins the lowest counts."""
    gpus = [
        gpu(
            0,
            power_limit_watts=650.0,
            power_limit_default_watts=700.0,
            temperature_margin_celsius=31.0,
            processes=2,
            sm_active_ratio=0.5,
        ),
        gpu(
            1,
            power_limit_watts=700.0,
            power_limit_default_watts=700.0,
            temperature_margin_celsius=4.0,
            processes=0,
            sm_active_ratio=0.01,
        ),
        gpu(2, state=GpuState.LOST),
    ]
    state = ledger(("a", 0, 1.0, False), ("a", 1, 0.5, True), ("b", 1, 0.5, True))
    assert node_totals(gpus, state, LINE) == NodeTotals(
        gpus={"ok": 2, "lost": 1, "hung": 0, "reset_required": 0, "error": 0, "released": 0},
        gpus_held=2,
        gpus_active=1,
        gpu_power_limit_watts=1350.0,
        gpu_power_limit_default_watts=1400.0,
        gpu_temperature_margin_celsius=4.0,
        gpu_processes=2,
        gpu_energy_joules=12.5,
    )


def test_what_no_gpu_reports_is_not_known() -> None:
    """Not 0; and without a ledger nobody knows who holds what."""
    totals = node_totals([gpu(0, utilization_ratio=0.9)], None, LINE)
    known = {f.name for f in dataclasses.fields(totals) if getattr(totals, f.name) is not None}
    assert known == {"gpus"}


def test_a_gpu_is_active_if_a_job_holds_it_and_uses_it() -> None:
    """From the line on; a GPU that nobody holds is none, and an ended job holds nothing."""
    gpus = [gpu(i, utilization_ratio=ratio) for i, ratio in enumerate((0.05, 0.049, 0.9, 0.9))]
    state = ledger(("a", 0, 1.0, False), ("a", 1, 1.0, False), ("gone", 2, None, None))
    totals = node_totals(gpus, state, LINE)
    assert (totals.gpus_held, totals.gpus_active) == (2, 1)


def test_a_job_draws_its_share_of_each_gpu() -> None:
    """Of a GPU that two share each has its part; GPUs and activity are its own."""
    gpus = [
        gpu(0, power_watts=600.0, sm_active_ratio=0.8),
        gpu(1, power_watts=100.0, sm_active_ratio=0.0, utilization_ratio=1.0),
    ]
    state = ledger(("a", 0, 1.0, False), ("a", 1, 0.25, True), ("b", 1, 0.75, True))
    found = jobs(gpus, state)
    a, b = found["a"], found["b"]
    assert (a.held_gpus, a.idle_gpus, a.power_watts, a.activity_ratio) == (2, 1, 625.0, 0.4)
    assert (b.held_gpus, b.idle_gpus, b.power_watts, b.activity_ratio) == (1, 1, 75.0, 0.0)


def test_a_job_that_has_ended_draws_nothing() -> None:
    """Its gauges are gone, though its counters are still shown."""
    job = jobs([gpu(0, power_watts=600.0)], ledger(("a", 0, None, None)))["a"]
    assert (job.held_gpus, job.idle_gpus, job.power_watts, job.activity_ratio) == (None,) * 4


def test_a_silent_gpu_is_held_and_no_more_is_known_of_it() -> None:
    """Neither its power nor whether it is idle, so neither is the job's."""
    state = ledger(("a", 0, 1.0, True), ("a", 1, 1.0, True))
    job = jobs([gpu(0, power_watts=70.0), gpu(1, state=GpuState.HUNG)], state)["a"]
    assert (job.held_gpus, job.idle_gpus, job.power_watts) == (2, None, 70.0)


def test_a_vgpu_is_in_none_of_the_sums() -> None:
    """Its board is its host's: GPUs by state, held, active, processes."""
    identity = GpuIdentity(index=1, uuid="GPU-1", virtualization="vgpu")
    part = dataclasses.replace(gpu(1, utilization_ratio=0.9, processes=3), identity=identity)
    state = ledger(("a", 0, 1.0, False), ("b", 1, 1.0, False))
    totals = node_totals([gpu(0, utilization_ratio=0.9, processes=1), part], state, LINE)
    assert totals.gpus is not None
    assert totals.gpus["ok"] == 1
    assert (totals.gpus_held, totals.gpus_active, totals.gpu_processes) == (1, 1, 1)
