"""What happened on this node, as it is remembered: Xids, jobs, and notes of all else."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gpumon.statedb.clocknotes import WrongSpan, load_wrong_spans
from gpumon.statedb.reading import open_to_read
from gpumon.statedb.xids import load_since
from gpumon.xids import advice, xid


class Note(NamedTuple):
    """Something other than an Xid or a job, at a time (unix seconds); a row of the chronicle.

    ``state`` is what the GPU is in since, if the note is of one that changed.
    """

    time: float
    kind: str
    gpu: int | None
    uuid: str
    state: str
    text: str


def keep_note(db: sqlite3.Connection, note: Note, oldest: float | None) -> None:
    """Keep a note, and forget those before a time (unix seconds), if there is one."""
    db.execute(
        "INSERT INTO chronicle (time, kind, gpu, uuid, state, text) VALUES (?, ?, ?, ?, ?, ?)",
        note,
    )
    if oldest is not None:
        db.execute("DELETE FROM chronicle WHERE time < ?", (oldest,))


def load_states(db: sqlite3.Connection) -> dict[str, str]:
    """Return the last state of each GPU that ever changed it, by its uuid."""
    rows = db.execute("SELECT uuid, state FROM chronicle WHERE kind = 'state' ORDER BY id")
    return dict(rows.fetchall())


MOST_XIDS = 100_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a time (unix seconds); ``gpus`` are the GPUs it is about.

    ``uuids`` are theirs, or what is known of one that was never seen; ``code`` an Xid's; ``clock``
    says what was wrong with the clock that dated it, empty if nothing was.
    """

    time: float
    kind: str
    text: str
    gpus: tuple[int, ...] = ()
    uuids: tuple[str, ...] = ()
    code: int | None = None
    job_id: str = ""
    user: str = ""
    energy_joules: float | None = None
    next_step: str = ""
    clock: str = ""


def load_events(path: Path, since: float, until: float) -> list[Event]:
    """Return what happened from a time up to another, oldest first.

    Raises UnavailableError if there is no state file, or none that can be read.
    """
    with open_to_read(path) as db:
        gpus = _gpus(db)
        found = [*_xids(db, since, gpus), *_notes(db, since), *_jobs(db, since, gpus)]
        wrong = load_wrong_spans(db)
    return sorted(
        (_marked(event, wrong) for event in found if since <= event.time < until),
        key=lambda event: event.time,
    )


def _marked(event: Event, wrong: list[WrongSpan]) -> Event:
    """Return an event with what was wrong with the clock at its time."""
    how = next((span.how for span in wrong if span.since <= event.time <= span.until), "")
    return dataclasses.replace(event, clock=how) if how else event


def _gpus(db: sqlite3.Connection) -> dict[str, int]:
    """Return the index of each GPU by its uuid."""
    found = dict(db.execute("SELECT uuid, gpu FROM gpu_addresses").fetchall())
    return {**found, **dict(db.execute("SELECT uuid, gpu FROM ledger_gpus").fetchall())}


def _xids(db: sqlite3.Connection, since: float, gpus: dict[str, int]) -> Iterator[Event]:
    for event in load_since(db, since, MOST_XIDS):
        known = (gpus[event.owner],) if event.owner in gpus else ()
        if event.kind == "sxid":
            yield Event(
                time=event.time,
                kind="sxid",
                text=f"SXid {event.code} on {event.owner}: {event.text}",
                uuids=(event.owner,),
                code=event.code,
            )
            continue
        who = f" (process {event.process or event.pid})" if event.process or event.pid else ""
        yield Event(
            time=event.time,
            kind="xid",
            text=f"Xid {event.code}: {xid(event.code).meaning}{who}",
            gpus=known,
            uuids=(event.owner,),
            code=event.code,
            next_step=advice(event.code),
        )


def _notes(db: sqlite3.Connection, since: float) -> Iterator[Event]:
    rows = db.execute(
        "SELECT time, kind, gpu, uuid, text FROM chronicle WHERE time >= ? ORDER BY id", (since,)
    )
    for time, kind, gpu, uuid, text in rows:
        yield Event(
            time=time,
            kind=kind,
            text=text,
            gpus=() if gpu is None else (gpu,),
            uuids=(uuid,) if uuid else (),
        )


def _jobs(db: sqlite3.Connection, since: float, gpus: dict[str, int]) -> Iterator[Event]:
    """Yield a job's beginning and its end, with its GPUs and what it drew."""
    held: dict[tuple[str, float], list[tuple[str, int]]] = {}
    for job_id, began, uuid, millijoules in db.execute(
        "SELECT job_id, began, uuid, active + idle FROM ledger_jobs"
    ):
        held.setdefault((job_id, began), []).append((uuid, millijoules))
    rows = db.execute(
        "SELECT job_id, began, ended, user, name, manager FROM jobs WHERE began >= ? OR ended >= ?",
        (since, since),
    )
    for job_id, began, ended, user, name, manager in rows:
        accounts = held.get((job_id, began), [])
        uuids = tuple(uuid for uuid, _ in accounts)
        common = {
            "kind": "job",
            "gpus": tuple(sorted(gpus[uuid] for uuid in uuids if uuid in gpus)),
            "uuids": uuids,
            "job_id": job_id,
            "user": user,
        }
        who = " ".join(filter(None, (f"job {job_id}", name, f"of {user}" if user else "")))
        yield Event(time=began, text=f"{who} began ({manager})", **common)
        if ended is not None:
            joules = sum(millijoules for _, millijoules in accounts) / 1000
            text = f"{who} ended: {joules / 3_600_000:.3f} kWh"
            yield Event(time=ended, text=text, energy_joules=joules, **common)
