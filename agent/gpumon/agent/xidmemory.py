"""Xids as the agent remembers them: each once, by GPU and code, through restarts and kill -9.

The driver's event set and the kernel log tell of the same events, each of some that the other does
not. What one source tells twice happened twice; what two tell within two seconds happened once.
"""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
from collections.abc import Iterable, Sequence

from gpumon.agent.statefile import StateFile
from gpumon.clock import SYSTEM, Clock
from gpumon.model import GpuIdentity, GpuReading, NvswitchReading, SxidEvent, XidEvent
from gpumon.model.events import kernel_address
from gpumon.times import format_time
from gpumon.xids import XID_CLASSES, advice, xid

log = logging.getLogger(__name__)

SAME_SECONDS = 2.0
"""Two sources' tellings that are no further apart are of one event (design: gpumon_gpu_xid_*)."""

OPEN_SECONDS = 10.0
MOST_OPEN = 1000
"""How long, and how many of one GPU and code, events wait for another source to tell of them too;
longer than SAME_SECONDS, since what is told late may have happened before."""

KEPT_SECONDS = 400 * 86400.0
"""How long events are kept; their counts are kept for ever."""

MOST_EVENTS = 100_000

FLOOD_LINES = 10
"""Lines of one GPU and code that are logged in FLOOD_SECONDS; more are counted, and summed up."""

FLOOD_SECONDS = 60.0

POSITION = "kernel_log_position"

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


@dataclasses.dataclass(slots=True)
class _Event:
    """An event that some sources have told of and others may still."""

    number: int
    sources: set[str]
    told: XidEvent


@dataclasses.dataclass(slots=True)
class _Count:
    """How often, and when last (unix seconds)."""

    count: int = 0
    last: float = 0.0

    def add(self, time: float) -> None:
        self.count += 1
        self.last = max(self.last, time)


@dataclasses.dataclass(slots=True)
class _Flood:
    """The lines of one device and code since ``since`` (monotonic seconds)."""

    since: float
    lines: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Filled:
    """What a GPU's readings are completed with."""

    errors: dict[str, int] | None
    last: dict[str, float] | None
    classes: dict[str, int]


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


_NOTHING = _Filled(None, None, dict.fromkeys(XID_CLASSES, 0))


class XidMemory:
    """Counts Xids and SXids; belongs to the agent's event loop."""

    def __init__(self, state: StateFile, clock: Clock = SYSTEM) -> None:
        """Take up what earlier agents counted."""
        self._state = state
        self._clock = clock
        self._addresses: dict[str, GpuIdentity] = {}
        self._owners: dict[str, str] = state.load(_load_addresses, {})
        self._counts: dict[tuple[str, int], _Count] = state.load(_load_counts, {})
        self._switches: dict[tuple[int, str, int, bool], _Count] = state.load(_load_switches, {})
        self._next = state.load(_load_next, 1)
        self._open: dict[tuple[str, int], list[_Event]] = {}
        recent: list[_Event] = state.load(_load_recent, [])
        for event in recent:
            self._open.setdefault((event.told.pci, event.told.xid), []).append(event)
        self._floods: dict[tuple[str, str, int], _Flood] = {}
        self._filled: dict[str, _Filled] = {}
        self.position = state.load(_load_position, "")

    @property
    def unattributed(self) -> int:
        """How many Xids were of an address at which no GPU has ever been seen."""
        return sum(count.count for (owner, _), count in self._counts.items() if _is_address(owner))

    def identify(self, gpus: Iterable[GpuIdentity]) -> None:
        """Learn which GPU is at which address; events that waited for it become its own."""
        for gpu in gpus:
            if not gpu.uuid or not gpu.pci_bus_id or self._addresses.get(gpu.pci_bus_id) is gpu:
                continue
            self._addresses[gpu.pci_bus_id] = gpu
            pci = kernel_address(gpu.pci_bus_id)
            if self._owners.get(pci) != gpu.uuid:
                self._owners[pci] = gpu.uuid
                self._attribute(pci, gpu)

    def observe(
        self, events: Sequence[XidEvent | SxidEvent], position: str | None = None
    ) -> list[XidEvent]:
        """Take in what a source told, and return the Xids that are new by it.

        ``position`` is how far the kernel log was read with these: it is kept in the same
        transaction as they are.
        """
        self._sum_up_floods()
        new: list[XidEvent] = []
        changes: list[tuple[str, tuple[object, ...]]] = []
        for event in events:
            if isinstance(event, SxidEvent):
                changes += self._count_switch(event)
            else:
                changes += self._count_gpu(event, new)
        if position is not None and position != self.position:
            self.position = position
            changes.append(("INSERT OR REPLACE INTO facts VALUES (?, ?)", (POSITION, position)))
        if changes:
            self._save(changes)
        for event in new:
            self._log(event)
        return new

    def complete(self, gpus: tuple[GpuReading, ...]) -> tuple[GpuReading, ...]:
        """Return readings with what is remembered of each GPU, whatever its state."""
        self._sum_up_floods()
        return tuple(self._completed(gpu) for gpu in gpus)

    def recent(self, since: float, limit: int) -> list[PastEvent]:
        """Return the newest events since a time (unix seconds), at most so many, oldest first.

        It reads the file: not for the event loop, but for a thread. An event is there as soon as
        it is written, a moment after it was observed; without a state file there is none.
        """
        return self._state.load(lambda db: _load_since(db, since, limit), [])

    def nvswitches(self) -> tuple[NvswitchReading, ...]:
        """Return the NVSwitches that have reported errors."""
        found: dict[tuple[int, str], tuple[dict[tuple[str, str], int], dict[str, float]]] = {}
        for (number, pci, code, fatal), count in sorted(self._switches.items()):
            errors, last = found.setdefault((number, pci), ({}, {}))
            errors[str(code), "fatal" if fatal else "non_fatal"] = count.count
            last[str(code)] = max(count.last, last.get(str(code), 0.0))
        return tuple(
            NvswitchReading(
                nvswitch=number,
                pci_bus_id=pci,
                sxid_errors=errors,
                sxid_last_timestamp_seconds=last,
            )
            for (number, pci), (errors, last) in found.items()
        )

    def _count_gpu(
        self, event: XidEvent, new: list[XidEvent]
    ) -> list[tuple[str, tuple[object, ...]]]:
        key = (event.pci, event.xid)
        owner = self._owners.get(event.pci, event.pci)
        told = self._open.get(key, [])[-MOST_OPEN:]
        self._open[key] = told = [e for e in told if event.time - e.told.time < OPEN_SECONDS]
        for known in told:
            apart = abs(event.time - known.told.time)
            if event.source not in known.sources and apart <= SAME_SECONDS:
                known.sources.add(event.source)
                known.told = _merged(known.told, event)
                return [_event_row(known, owner)]
        first = _Event(self._next, {event.source}, event)
        self._next += 1
        told.append(first)
        count = self._counts.setdefault((owner, event.xid), _Count())
        count.add(event.time)
        self._filled.pop(owner, None)
        new.append(event)
        return [_event_row(first, owner), _count_row(owner, event.xid, count)]

    def _count_switch(self, event: SxidEvent) -> list[tuple[str, tuple[object, ...]]]:
        key = (event.nvswitch, event.pci, event.sxid, event.fatal)
        count = self._switches.setdefault(key, _Count())
        count.add(event.time)
        number, self._next = self._next, self._next + 1
        self._log_switch(event)
        row = (number, event.time, "sxid", event.pci, f"nvswitch:{event.nvswitch}", event.sxid)
        return [
            (_INSERT_EVENT, (*row, "log", None, "", event.text, None, None)),
            (
                "INSERT OR REPLACE INTO sxid_counts VALUES (?, ?, ?, ?, ?, ?)",
                (*key, count.count, count.last),
            ),
        ]

    def _attribute(self, pci: str, gpu: GpuIdentity) -> None:
        """Give a GPU the events of its address that came before it was known."""
        row = (pci, gpu.uuid, gpu.index)
        changes: list[tuple[str, tuple[object, ...]]] = [
            ("INSERT OR REPLACE INTO gpu_addresses VALUES (?, ?, ?)", row),
            ("UPDATE events SET owner = ? WHERE owner = ?", (gpu.uuid, pci)),
            ("DELETE FROM xid_counts WHERE owner = ?", (pci,)),
        ]
        for owner, code in [key for key in self._counts if key[0] == pci]:
            waiting = self._counts.pop((owner, code))
            count = self._counts.setdefault((gpu.uuid, code), _Count())
            count.count += waiting.count
            count.last = max(count.last, waiting.last)
            changes.append(_count_row(gpu.uuid, code, count))
        self._filled.pop(gpu.uuid, None)
        self._save(changes)

    def _completed(self, gpu: GpuReading) -> GpuReading:
        uuid = gpu.identity.uuid
        filled = self._filled.get(uuid)
        if filled is None:
            filled = self._filled[uuid] = self._fill(uuid)
        return dataclasses.replace(
            gpu,
            xid_errors=filled.errors,
            xid_last_timestamp_seconds=filled.last,
            xid_events=filled.classes,
        )

    def _fill(self, uuid: str) -> _Filled:
        own = {code: c for (owner, code), c in sorted(self._counts.items()) if owner == uuid}
        if not own:
            return _NOTHING
        classes = dict.fromkeys(XID_CLASSES, 0)
        for code, count in own.items():
            classes[xid(code).xid_class] += count.count
        return _Filled(
            {str(code): count.count for code, count in own.items()},
            {str(code): count.last for code, count in own.items()},
            classes,
        )

    def _save(self, changes: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        oldest, newest = self._clock.time() - KEPT_SECONDS, self._next

        def write(db: sqlite3.Connection) -> None:
            for statement, values in changes:
                db.execute(statement, values)
            db.execute("DELETE FROM events WHERE time < ?", (oldest,))
            db.execute("DELETE FROM events WHERE id <= ?", (newest - MOST_EVENTS,))

        self._state.save(write)

    def _log(self, event: XidEvent) -> None:
        """Write an event's line, unless there were many of its kind in the last minute."""
        if self._floods_the_log("Xid", event.pci, event.xid):
            return
        known = xid(event.xid)
        gpu = self._gpu_at(event.pci)
        place = f"GPU {gpu.index}" if gpu else f"the GPU at {event.pci}"
        fields = {
            "xid": event.xid,
            "gpu": gpu.index if gpu else "",
            "uuid": gpu.uuid if gpu else self._owners.get(event.pci, ""),
            "pci": event.pci,
            "class": known.xid_class,
            "severity": known.severity,
            "source": event.source,
            "pid": "" if event.pid is None else event.pid,
            "process": event.process,
            "gpu_instance": "" if event.gpu_instance is None else event.gpu_instance,
            "event_time": format_time(event.time),
            "text": event.text,
            "next_step": advice(event.xid),
        }
        log.log(
            _LEVELS[known.severity],
            "Xid %d on %s: %s",
            event.xid,
            place,
            known.meaning,
            extra={"fields": {name: value for name, value in fields.items() if value != ""}},
        )

    def _log_switch(self, event: SxidEvent) -> None:
        """Likewise for an NVSwitch: a broken link can tell of itself hundreds of times a second."""
        if self._floods_the_log("SXid", event.pci, event.sxid):
            return
        fields = {
            "sxid": event.sxid,
            "nvswitch": event.nvswitch,
            "pci": event.pci,
            "fatal": event.fatal,
            "event_time": format_time(event.time),
        }
        log.log(
            logging.ERROR if event.fatal else logging.WARNING,
            "SXid %d on NVSwitch %d: %s",
            event.sxid,
            event.nvswitch,
            event.text,
            extra={"fields": fields},
        )

    def _floods_the_log(self, kind: str, pci: str, code: int) -> bool:
        """Count a line that is to be written, and tell whether it is one too many."""
        flood = self._floods.setdefault((kind, pci, code), _Flood(self._clock.monotonic()))
        flood.lines += 1
        return flood.lines > FLOOD_LINES

    def _gpu_at(self, pci: str) -> GpuIdentity | None:
        found = (g for address, g in self._addresses.items() if kernel_address(address) == pci)
        return next(found, None)

    def _sum_up_floods(self) -> None:
        now = self._clock.monotonic()
        over = [key for key, flood in self._floods.items() if now - flood.since > FLOOD_SECONDS]
        for key in over:
            more = self._floods.pop(key).lines - FLOOD_LINES
            if more > 0:
                kind, pci, code = key
                fields = {kind.lower(): code, "pci": pci, "more": more}
                log.warning(
                    "%s %d at %s: %d more in a minute",
                    kind,
                    code,
                    pci,
                    more,
                    extra={"fields": fields},
                )


_INSERT_EVENT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _event_row(event: _Event, owner: str) -> tuple[str, tuple[object, ...]]:
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


def _count_row(owner: str, code: int, count: _Count) -> tuple[str, tuple[object, ...]]:
    return (
        "INSERT OR REPLACE INTO xid_counts VALUES (?, ?, ?, ?)",
        (owner, code, count.count, count.last),
    )


def _merged(known: XidEvent, more: XidEvent) -> XidEvent:
    """Return what is known of an event with what another source adds to it."""
    return dataclasses.replace(
        known,
        pid=more.pid if known.pid is None else known.pid,
        process=known.process or more.process,
        text=known.text or more.text,
        gpu_instance=more.gpu_instance if known.gpu_instance is None else known.gpu_instance,
        compute_instance=(
            more.compute_instance if known.compute_instance is None else known.compute_instance
        ),
    )


def _is_address(owner: str) -> bool:
    return ":" in owner


def _load_addresses(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT pci, uuid FROM gpu_addresses"))


def _load_counts(db: sqlite3.Connection) -> dict[tuple[str, int], _Count]:
    rows = db.execute("SELECT owner, xid, count, last FROM xid_counts")
    return {(owner, code): _Count(count, last) for owner, code, count, last in rows}


def _load_switches(db: sqlite3.Connection) -> dict[tuple[int, str, int, bool], _Count]:
    rows = db.execute("SELECT nvswitch, pci, sxid, fatal, count, last FROM sxid_counts")
    return {(n, pci, code, bool(f)): _Count(count, last) for n, pci, code, f, count, last in rows}


def _load_next(db: sqlite3.Connection) -> int:
    (newest,) = db.execute("SELECT max(id) FROM events").fetchone()
    return (newest or 0) + 1


def _load_recent(db: sqlite3.Connection) -> list[_Event]:
    """Return the newest events: one that an earlier agent counted may be told of again."""
    rows = db.execute(
        "SELECT id, sources, time, code, pci, pid, process, text, gpu_instance, compute_instance "
        "FROM events WHERE kind = 'xid' ORDER BY id DESC LIMIT 1000"
    )
    return [
        _Event(
            number,
            set(sources.split()),
            XidEvent(time, code, pci, sources.split()[0], *rest),
        )
        for number, sources, time, code, pci, *rest in reversed(rows.fetchall())
    ]


def _load_since(db: sqlite3.Connection, since: float, limit: int) -> list[PastEvent]:
    rows = db.execute(
        "SELECT time, kind, pci, owner, code, sources, pid, process, text, gpu_instance, "
        "compute_instance FROM events WHERE time >= ? ORDER BY time DESC, id DESC LIMIT ?",
        (since, limit),
    )
    return [
        PastEvent(time, kind, pci, owner, code, tuple(sources.split()), *rest)
        for time, kind, pci, owner, code, sources, *rest in reversed(rows.fetchall())
    ]


def _load_position(db: sqlite3.Connection) -> str:
    row = db.execute("SELECT value FROM facts WHERE name = ?", (POSITION,)).fetchone()
    return row[0] if row else ""
