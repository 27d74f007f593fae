"""Events and their counts as rows of the state file."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence

from gpumon.ledger.measure import UNKNOWN_EPOCH, Epoch
from gpumon.model import SxidEvent, XidEvent
from gpumon.statedb.facts import load_fact

POSITION = "kernel_log_position"
"""The fact that says how far the kernel's log was read."""

Change = tuple[str, tuple[object, ...]]
"""A statement and its values."""


@dataclasses.dataclass(slots=True)
class OpenEvent:
    """An event that some sources have reported and others still may."""

    number: int
    sources: set[str]
    told: XidEvent


@dataclasses.dataclass(slots=True)
class Count:
    """How often, and when last (unix seconds).

    ``unresolved`` while the GPU has not been reset since the last; ``epoch`` is when that came.
    """

    count: int = 0
    last: float = 0.0
    unresolved: bool = False
    epoch: Epoch = UNKNOWN_EPOCH

    def add(self, time: float) -> None:
        """Count one more."""
        self.count += 1
        self.last = max(self.last, time)

    @property
    def values(self) -> tuple[object, ...]:
        """The values of its columns."""
        return self.count, self.last, int(self.unresolved), *self.epoch


@dataclasses.dataclass(frozen=True, slots=True)
class PastEvent:
    """An event as it is kept: ``kind`` is ``xid`` or ``sxid``, ``time`` in unix seconds.

    ``owner`` is the GPU's uuid, or the PCI address where no GPU was ever seen, or ``nvswitch:0``.
    """

    time: float
    kind: str
    pci: str
    owner: str
    code: int
    sources: tuple[str, ...]
    pid: int | None
    process: str
    text: str
    gpu_instance: int | None
    compute_instance: int | None


_INSERT_EVENT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def event_row(event: OpenEvent, owner: str) -> Change:
    """Return the change that keeps an Xid."""
    told = event.told
    return _INSERT_EVENT, (
        event.number,
        told.time,
        "xid",
        told.pci,
        owner,
        told.xid,
        " ".join(sorted(event.sources)),
        told.pid,
        told.process,
        told.text,
        told.gpu_instance,
        told.compute_instance,
    )


def sxid_rows(event: SxidEvent, number: int, count: Count) -> list[Change]:
    """Return the changes that keep an SXid, and how often there was one like it."""
    owner = f"nvswitch:{event.nvswitch}"
    row = (number, event.time, "sxid", event.pci, owner, event.sxid)
    key = (event.nvswitch, event.pci, event.sxid, event.fatal)
    return [
        (_INSERT_EVENT, (*row, "log", None, "", event.text, None, None)),
        switch_row(key, count),
    ]


def switch_row(key: tuple[int, str, int, bool], count: Count) -> Change:
    """Return the change that keeps how often an NVSwitch (number, address) had an SXid."""
    return (
        "INSERT OR REPLACE INTO sxid_counts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*key, *count.values),
    )


def count_row(owner: str, code: int, count: Count) -> Change:
    """Return the change that keeps how often an owner had a code."""
    return (
        "INSERT OR REPLACE INTO xid_counts VALUES (?, ?, ?, ?, ?, ?, ?)",
        (owner, code, *count.values),
    )


def load_addresses(db: sqlite3.Connection) -> dict[str, str]:
    """Return the uuid of the GPU last seen at each address."""
    return dict(db.execute("SELECT pci, uuid FROM gpu_addresses"))


def load_counts(db: sqlite3.Connection) -> dict[tuple[str, int], Count]:
    """Return the counts of Xids by owner and code."""
    rows = db.execute(
        "SELECT owner, xid, count, last, unresolved, boot, driver_load FROM xid_counts"
    )
    return {(owner, code): _count(*values) for owner, code, *values in rows}


def load_switches(db: sqlite3.Connection) -> dict[tuple[int, str, int, bool], Count]:
    """Return the counts of SXids by NVSwitch, address, code and whether they were fatal."""
    rows = db.execute(
        "SELECT nvswitch, pci, sxid, fatal, count, last, unresolved, boot, driver_load"
        " FROM sxid_counts"
    )
    return {(n, pci, code, bool(f)): _count(*values) for n, pci, code, f, *values in rows}


def _count(count: int, last: float, unresolved: int, boot: str, driver: str) -> Count:
    return Count(count, last, bool(unresolved), Epoch(boot, driver))


def load_next(db: sqlite3.Connection) -> int:
    """Return the number of the next event."""
    (newest,) = db.execute("SELECT max(id) FROM events").fetchone()
    return (newest or 0) + 1


def load_recent(db: sqlite3.Connection) -> list[OpenEvent]:
    """Return the newest events: one that an earlier agent counted may be reported again."""
    rows = db.execute(
        "SELECT id, sources, time, code, pci, pid, process, text, gpu_instance, compute_instance "
        "FROM events WHERE kind = 'xid' ORDER BY id DESC LIMIT 1000"
    )
    return [
        OpenEvent(
            number,
            set(sources.split()),
            XidEvent(time, code, pci, sources.split()[0], *rest),
        )
        for number, sources, time, code, pci, *rest in reversed(rows.fetchall())
    ]


def load_since(db: sqlite3.Connection, since: float, limit: int) -> list[PastEvent]:
    """Return the newest events since a time, at most ``most``, oldest first."""
    rows = db.execute(
        "SELECT time, kind, pci, owner, code, sources, pid, process, text, gpu_instance, "
        "compute_instance FROM events WHERE time >= ? ORDER BY time DESC, id DESC LIMIT ?",
        (since, limit),
    )
    return [
        PastEvent(time, kind, pci, owner, code, tuple(sources.split()), *rest)
        for time, kind, pci, owner, code, sources, *rest in reversed(rows.fetchall())
    ]


def load_position(db: sqlite3.Connection) -> str:
    """Return how far the kernel's log was read; empty if it never was."""
    return load_fact(db, POSITION) or ""


def apply(
    db: sqlite3.Connection, changes: Sequence[Change], oldest: float | None, newest: int
) -> None:
    """Make changes, and forget events before a time (unix seconds; None: none) or a number."""
    for statement, values in changes:
        db.execute(statement, values)
    if oldest is not None:
        db.execute("DELETE FROM events WHERE time < ?", (oldest,))
    db.execute("DELETE FROM events WHERE id <= ?", (newest,))


def owner_changed(pci: str, uuid: str, index: int) -> list[Change]:
    """Return the changes that give a GPU the events that waited at its address."""
    return [
        ("INSERT OR REPLACE INTO gpu_addresses VALUES (?, ?, ?)", (pci, uuid, index)),
        ("UPDATE events SET owner = ? WHERE owner = ?", (uuid, pci)),
        ("DELETE FROM xid_counts WHERE owner = ?", (pci,)),
    ]


def position_row(position: str) -> Change:
    """Return the change that keeps how far the kernel's log was read."""
    return "INSERT OR REPLACE INTO facts VALUES (?, ?)", (POSITION, position)
