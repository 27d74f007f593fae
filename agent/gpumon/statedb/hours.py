"""Hours out of the agent's state file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from gpumon.errors import UnavailableError
from gpumon.ledger.account import QUARTER
from gpumon.ledger.hours import HOUR_SECONDS, Demand, HourRow, Hours
from gpumon.ledger.ledger import HOST
from gpumon.model import Job
from gpumon.sources.energy import SENSOR_ERROR


def load_memory(path: Path, since: int, until: int, node: str) -> Hours:
    """Return the hours of this node from ``since`` up to, not including, ``until`` (since 1970).

    Raises UnavailableError where there is no state file, or none that can be read.
    """
    try:
        path.stat()
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return _read(db, since, until, node)
    except FileNotFoundError:
        raise UnavailableError(
            f"{path} is not there",
            "gpumon agent writes it; --state-dir names another folder",
        ) from None
    except (OSError, sqlite3.Error) as error:
        if "no such table" in str(error):
            raise UnavailableError(
                f"{path} is of an older agent", "restart gpumon agent, which brings it up to date"
            ) from None
        raise UnavailableError(
            f"{path} cannot be read ({error})", "read it as the agent's user or as root"
        ) from None


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
                job=_job_at(jobs, job_id, hour) if job_id else None,
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
    )


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


def _job_at(jobs: Mapping[str, list[tuple[float, Job]]], job_id: str, hour: int) -> Job:
    """Return the job that had an id in an hour: ids begin anew where a controller does."""
    known = jobs.get(job_id, [])
    begun = [job for began, job in known if began < (hour + 1) * HOUR_SECONDS]
    if begun:
        return begun[-1]
    return known[0][1] if known else Job(job_id=job_id, manager="unknown")


def _without_data(rows: list[HourRow], gpus: Mapping[str, int], hours: int) -> float | None:
    """Return the share of the GPUs' hours without an entry; None where no GPU is known."""
    if not gpus:
        return None
    known = {(row.uuid, row.hour) for row in rows if row.uuid in gpus}
    return round(1 - len(known) / (len(gpus) * hours), 6)
