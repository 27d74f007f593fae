"""The jobs on a node: whose they are, the GPUs they hold, and the joules they have drawn."""

from __future__ import annotations

import dataclasses

from gpumon.model import JobReading, Snapshot
from gpumon.views import words

TITLES = ("job", "user", "name", "GPUs", "power", "energy", "active", "idle", "wasted")
LEFT = frozenset({"job", "user", "name", "GPUs"})


@dataclasses.dataclass(frozen=True, slots=True)
class JobRow:
    """A job with its GPUs here, the power they draw for it (watts) and what it has drawn (joules).

    ``gpus`` is empty once it has ended; ``watts`` is None if no power is known.
    """

    reading: JobReading
    gpus: tuple[int, ...]
    watts: float | None
    joules: float


def rows(snapshot: Snapshot) -> list[JobRow]:
    """Return the jobs of a snapshot: those that draw the most first, those that ended last."""
    power = {gpu.identity.index: gpu.power_watts for gpu in snapshot.gpus}
    made = []
    for reading in snapshot.ledger.jobs:
        shares = [s for s in snapshot.ledger.shares if s.job_id == reading.job.job_id]
        held = [(s.gpu, s.share) for s in shares if s.share is not None]
        drawn = [watts * share for gpu, share in held if (watts := power.get(gpu)) is not None]
        made.append(
            JobRow(
                reading,
                tuple(sorted(gpu for gpu, _ in held)),
                sum(drawn) if drawn else None,
                sum(s.energy_joules or 0.0 for s in shares),
            )
        )
    return sorted(made, key=lambda row: (not row.gpus, -(row.watts or 0.0), row.reading.job.job_id))


def cells(row: JobRow) -> tuple[str, ...]:
    """Return a job's cells by TITLES."""
    job, times = row.reading.job, row.reading.gpu_seconds or {}
    return (
        job.job_id,
        job.user or words.MISSING,
        job.name or words.MISSING,
        words.spans(row.gpus) or "ended",
        words.watts(row.watts),
        words.energy(row.joules),
        words.gpu_hours(times.get("active")),
        words.gpu_hours(times.get("idle")),
        words.energy(row.reading.idle_energy_joules),
    )
