"""Joules by the hour, out of the agent's state file."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from gpumon.errors import UnavailableError
from gpumon.model import Job

HOUR_SECONDS = 3600


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HourRow:
    """What one job, or nobody (``job`` None), had of one GPU in one hour (since 1970).

    ``reason`` says why it was nobody's. ``idle_joules`` are those of ``joules`` that were drawn
    while the job left the GPU idle.
    """

    hour: int
    uuid: str
    gpu: int | None
    job: Job | None
    reason: str
    joules: float
    idle_joules: float
    active_seconds: float
    idle_seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Hours:
    """All rows of a span, and the GPUs that the ledger knows by their uuid."""

    rows: tuple[HourRow, ...]
    gpus: Mapping[str, int]


def load_hours(path: Path, since: int, until: int) -> Hours:
    """Return the hours from ``since`` up to, not including, ``until`` (hours since 1970).

    Raises UnavailableError where there is no state file, or none that can be read.
    """
    try:
        path.stat()
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return _read(db, since, until)
    except FileNotFoundError:
        raise UnavailableError(
            f"{path} is not there",
            "gpumon agent writes it; --state-dir names another folder",
        ) from None
    except (OSError, sqlite3.Error) as error:
        raise UnavailableError(
            f"{path} cannot be read ({error})", "read it as the agent's user or as root"
        ) from None


def _read(db: sqlite3.Connection, since: int, until: int) -> Hours:
    gpus = dict(db.execute("SELECT uuid, gpu FROM ledger_gpus"))
    jobs: dict[str, list[tuple[float, Job]]] = {}
    for job_id, began, user, account, partition, name, manager in db.execute(
        "SELECT job_id, began, user, account, partition, name, manager FROM jobs ORDER BY began"
    ):
        job = Job(
            job_id=job_id,
            user=user,
            account=account,
            partition=partition,
            name=name,
            manager=manager,
        )
        jobs.setdefault(job_id, []).append((began, job))
    rows = [
        HourRow(
            hour=hour,
            uuid=uuid,
            gpu=gpus.get(uuid),
            job=_job_at(jobs, job_id, hour) if job_id else None,
            reason=reason,
            joules=millijoules / 1000,
            idle_joules=idle_millijoules / 1000,
            active_seconds=active_ms / 1000,
            idle_seconds=idle_ms / 1000,
        )
        for hour, uuid, job_id, reason, millijoules, idle_millijoules, active_ms, idle_ms in (
            db.execute(
                "SELECT hour, uuid, job_id, reason, millijoules, idle_millijoules, active_ms, "
                "idle_ms FROM hourly WHERE hour >= ? AND hour < ?",
                (since, until),
            )
        )
    ]
    return Hours(tuple(rows), gpus)


def _job_at(jobs: Mapping[str, list[tuple[float, Job]]], job_id: str, hour: int) -> Job:
    """Return the job that had an id in an hour: ids begin anew where a controller does."""
    known = jobs.get(job_id, [])
    begun = [job for began, job in known if began < (hour + 1) * HOUR_SECONDS]
    if begun:
        return begun[-1]
    return known[0][1] if known else Job(job_id=job_id, manager="unknown")
