"""What happened on this machine, in order: out of the agent's state file."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpumon.errors import UnavailableError
from gpumon.statedb import xids as xidrows
from gpumon.times import format_time
from gpumon.views.console import put
from gpumon.xids import advice, xid

KINDS = ("xid", "sxid", "state", "counter", "driver", "reader", "job", "order", "agent")
FORMATS = ("table", "json", "ndjson", "csv")

MOST_XIDS = 100_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a time (unix seconds); ``gpus`` are the GPUs it is about.

    ``uuids`` are theirs, or what is known of one that was never seen; ``code`` an Xid's.
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


def load_events(path: Path, since: float, until: float) -> list[Event]:
    """Return what happened from a time up to another, oldest first.

    Raises UnavailableError where there is no state file, or none that can be read.
    """
    try:
        path.stat()
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            gpus = _gpus(db)
            found = [*_xids(db, since, gpus), *_chronicle(db, since), *_jobs(db, since, gpus)]
    except FileNotFoundError:
        raise UnavailableError(
            f"{path} is not there", "gpumon agent writes it; --state-dir names another folder"
        ) from None
    except (OSError, sqlite3.Error) as error:
        if "no such table" in str(error):
            raise UnavailableError(
                f"{path} is of an older agent", "restart gpumon agent, which brings it up to date"
            ) from None
        raise UnavailableError(
            f"{path} cannot be read ({error})", "read it as the agent's user or as root"
        ) from None
    return sorted(
        (event for event in found if since <= event.time < until), key=lambda event: event.time
    )


def about(events: Iterable[Event], gpu: str | None, kinds: Iterable[str]) -> list[Event]:
    """Return the events of some kinds, and of a GPU by its index or UUID."""
    wanted = set(kinds)
    return [
        event
        for event in events
        if event.kind in wanted
        and (gpu is None or gpu in event.uuids or gpu in map(str, event.gpus))
    ]


def to_text(events: list[Event], form: str) -> str:
    """Return events as ``json``, ``ndjson`` or ``csv``."""
    documents = [_document(event) for event in events]
    if form == "json":
        return json.dumps({"schema": 1, "events": documents}, indent=2, ensure_ascii=False) + "\n"
    if form == "ndjson":
        return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents)
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(Event)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for one in documents:
        lists = {name: " ".join(map(str, one[name])) for name in ("gpus", "uuids")}
        writer.writerow({**one, **lists})
    return text.getvalue()


def show(console: Console, events: list[Event]) -> None:
    """Print events for people."""
    table = Table(box=None, pad_edge=False, show_header=bool(events), header_style="bold")
    for title in ("time", "kind", "GPU", "what"):
        table.add_column(title, overflow="fold", no_wrap=title != "what")
    for event in events:
        gpus = ",".join(map(str, event.gpus)) or (event.uuids[0] if event.uuids else "")
        step = f" → {event.next_step}" if event.next_step else ""
        what = _printable(f"{event.text}{step}")
        table.add_row(f"{format_time(event.time)[:19]}Z", event.kind, gpus, Text(what))
    put(console, [table])


def _gpus(db: sqlite3.Connection) -> dict[str, int]:
    """Return the index of each GPU by its uuid."""
    found = dict(db.execute("SELECT uuid, gpu FROM gpu_addresses").fetchall())
    return {**found, **dict(db.execute("SELECT uuid, gpu FROM ledger_gpus").fetchall())}


def _xids(db: sqlite3.Connection, since: float, gpus: dict[str, int]) -> Iterator[Event]:
    for event in xidrows.load_since(db, since, MOST_XIDS):
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


def _chronicle(db: sqlite3.Connection, since: float) -> Iterator[Event]:
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


def _document(event: Event) -> dict[str, Any]:
    return {**dataclasses.asdict(event), "time": format_time(event.time)}


def _printable(text: str) -> str:
    """Return a text without what a process's or a job's name could do to a terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)
