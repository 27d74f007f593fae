"""Joules by the hour, as the state file keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from gpumon.ledger.account import QUARTER
from gpumon.ledger.hours import HOUR_SECONDS, ActiveLine, Demand, HourRow, Hours
from gpumon.ledger.ledger import HOST, RUN
from gpumon.model import Job
from gpumon.sources.energy import SENSOR_ERROR
from gpumon.statedb.reading import open_to_read


def load_hours(path: Path, since: int, until: int, node: str) -> Hours:
    """Return the hours of this node from ``since`` up to, not including, ``until`` (since 1970).

    Raises UnavailableError if there is no state file, or none that can be read.
    """
    with open_to_read(path) as db:
        return _read(db, since, until, node)


def _read(db: sqlite3.Connection, since: int, until: int, node: str) -> Hours:
    gpus = dict(db.execute("SELECT uuid, gpu FROM ledger_gpus"))
    jobs = _jobs(db)
    rows = []
    for hour, uuid, job_id, reason, millijoules, idle_millijoules, active_ms, idle_ms in db.execute(
        "SELECT hour, uuid, job_id, reason, millijoules, idle_millijoules, active_ms, idle_ms "
        "FROM hourly WHERE hour >= ? AND hour < ?",
        (since, until),
    ):
        host = uuid == HOST
        rows.append(
            HourRow(
                hour=hour,
                node=node,
                uuid="" if host else uuid,
                gpu=gpus.get(uuid),
                job=_job_of(jobs, job_id, hour) if job_id else None,
                method=reason if host else "",
                reason="" if host else reason,
                joules=millijoules / 1000,
                idle_joules=idle_millijoules / 1000,
                active_seconds=active_ms / 1000,
                idle_seconds=idle_ms / 1000,
            )
        )
    return Hours(
        rows=tuple(rows),
        without_data_ratio=_without_data(rows, gpus, until - since),
        demands=_demands(db, since, until),
        error_ratio=SENSOR_ERROR,
        active_lines=_active_lines(db, since * HOUR_SECONDS, until * HOUR_SECONDS),
    )


def _active_lines(db: sqlite3.Connection, since: float, until: float) -> tuple[ActiveLine, ...]:
    """Return the lines that held in a span of unix seconds, oldest first."""
    rows = db.execute("SELECT time, ratio FROM active_lines WHERE time < ? ORDER BY id", (until,))
    lines = [ActiveLine(*row) for row in rows]
    before = [line for line in lines if line.since <= since]
    return (*before[-1:], *(line for line in lines if line.since > since))


def _demands(db: sqlite3.Connection, since: int, until: int) -> dict[str, Demand]:
    """Return the quarter of an hour in which most was drawn, by boundary."""
    quarters = db.execute(
        "SELECT quarter, millijoules, host_millijoules FROM quarters "
        "WHERE quarter >= ? AND quarter < ?",
        (since * 4, until * 4),
    ).fetchall()
    boundaries = {"gpu": [(gpus, quarter) for quarter, gpus, _ in quarters]}
    boundaries["node"] = [(gpus + host, quarter) for quarter, gpus, host in quarters if host]
    return {
        boundary: Demand(highest[1] * QUARTER, highest[0] / 1000 / QUARTER)
        for boundary, sums in boundaries.items()
        for highest in [max(sums, default=None)]
        if highest is not None
    }


def _jobs(db: sqlite3.Connection) -> dict[str, list[tuple[float, Job]]]:
    """Return jobs by their id, with when they began, oldest first."""
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
    return jobs


def _job_of(jobs: Mapping[str, list[tuple[float, Job]]], run: str, hour: int) -> Job:
    """Return the job of a run; of an id alone, the one that had it in an hour."""
    job_id, _, began = run.partition(RUN)
    known = jobs.get(job_id, [])
    for moment, job in known:
        if repr(moment) == began:
            return job
    begun = [job for moment, job in known if moment < (hour + 1) * HOUR_SECONDS]
    if begun:
        return begun[-1]
    return known[0][1] if known else Job(job_id=job_id, manager="unknown")


def _without_data(rows: list[HourRow], gpus: Mapping[str, int], hours: int) -> float | None:
    """Return the share of the GPUs' hours without an entry; None if no GPU is known."""
    if not gpus:
        return None
    known = {(row.uuid, row.hour) for row in rows if row.uuid in gpus}
    return round(1 - len(known) / (len(gpus) * hours), 6)
