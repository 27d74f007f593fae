"""Xids as the agent remembers them: each once, by GPU and code, through restarts and kill -9.

The driver's event set and the kernel log report the same events; each has some that the other does
not. What one source reports twice happened twice; what both report within two seconds happened
once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gpumon.clock import SYSTEM, Clock
from gpumon.ledger.measure import Epoch
from gpumon.model import GpuIdentity, GpuReading, NvswitchReading, SxidEvent, XidEvent
from gpumon.model.events import kernel_address
from gpumon.server.eventlog import EventLog
from gpumon.statedb import xids as xidrows
from gpumon.statedb.file import StateFile
from gpumon.statedb.xids import Change, Count, OpenEvent, PastEvent
from gpumon.xids import XID_CLASSES, xid

SAME_SECONDS = 2.0
"""Two sources' tellings that are no further apart are of one event (design: gpumon_gpu_xid_*)."""

OPEN_SECONDS = 10.0
MOST_OPEN = 1000
"""How long, and how many of one GPU and code, events wait for another source to report them too;
longer than SAME_SECONDS, since what is reported late may have happened before."""

KEPT_SECONDS = 400 * 86400.0
"""How long events are kept; their counts are kept forever."""

MOST_EVENTS = 100_000

NEWS_SECONDS = 3600.0
"""An event that was no older when it was heard was dated by the clock as it was then."""

BOOT_SECONDS = 30.0
"""By how much the time of a boot may be wrong; a node needs longer from its end to its boot."""

_NOTHING: Mapping[str, Any] = {"xid_events": dict.fromkeys(XID_CLASSES, 0)}
"""What is remembered of a GPU that has never had an Xid, by its reading's fields."""


_NO_XIDS: Mapping[str, Any] = {"xid_events": None}
"""The same of a GPU that cannot have any."""


class XidMemory:
    """Counts Xids and SXids; belongs to the agent's event loop."""

    def __init__(
        self,
        state: StateFile,
        clock: Clock = SYSTEM,
        *,
        has_xids: bool = True,
        epoch: Callable[[], Epoch] = Epoch,
        uptime: Callable[[], float] | None = None,
    ) -> None:
        """Take up what earlier agents counted.

        ``has_xids`` is False if the source's GPUs can have none: then none are shown, not even 0.
        ``epoch`` returns in which boot, and load of the driver, this is; ``uptime`` the seconds
        since the boot, None if the source's GPUs stand in no machine.
        """
        self._has_xids = has_xids
        self._state = state
        self._clock = clock
        self._addresses: dict[str, GpuIdentity] = {}
        self._owners: dict[str, str] = state.load(xidrows.load_addresses, {})
        self._counts: dict[tuple[str, int], Count] = state.load(xidrows.load_counts, {})
        self._switches: dict[tuple[int, str, int, bool], Count] = state.load(
            xidrows.load_switches, {}
        )
        self._next = state.load(xidrows.load_next, 1)
        self._open: dict[tuple[str, int], list[OpenEvent]] = {}
        recent: list[OpenEvent] = state.load(xidrows.load_recent, [])
        for event in recent:
            self._open.setdefault((event.told.pci, event.told.xid), []).append(event)
        self._news: dict[tuple[str, int], Count] = {}
        self._switch_news: dict[tuple[int, str, int, bool], Count] = {}
        self._log = EventLog(clock)
        self._filled: dict[str, Mapping[str, Any]] = {}
        self.position = state.load(xidrows.load_position, "")
        self._epoch = epoch
        self._resets: dict[str, float] = {}
        self._switches_reset = -math.inf
        now = clock.time()
        # What an agent that begins a log reads there of last week may have been mended long ago.
        self._asks_since = -math.inf if self.position else now - NEWS_SECONDS
        if uptime is not None:
            self._asks_since = max(self._asks_since, now - uptime() - BOOT_SECONDS)

    @property
    def unattributed(self) -> int:
        """How many Xids were of an address at which no GPU has ever been seen."""
        return sum(count.count for (owner, _), count in self._counts.items() if _is_address(owner))

    def identify(self, gpus: Iterable[GpuIdentity]) -> None:
        """Learn which GPU is at which address; events that waited for it become its own."""
        for gpu in gpus:
            if not gpu.known or not gpu.pci_bus_id or self._addresses.get(gpu.pci_bus_id) is gpu:
                continue
            self._addresses[gpu.pci_bus_id] = gpu
            pci = kernel_address(gpu.pci_bus_id)
            if self._owners.get(pci) != gpu.uuid:
                self._owners[pci] = gpu.uuid
                self._attribute(pci, gpu)
        self._look_at_epoch()

    def observe(
        self, events: Sequence[XidEvent | SxidEvent], position: str | None = None
    ) -> list[XidEvent]:
        """Take in what a source reported, and return the Xids that are new.

        ``position`` is how far the kernel log was read with these: it is kept in the same
        transaction as they are.
        """
        self._log.sum_up()
        new: list[XidEvent] = []
        changes: list[Change] = []
        for event in events:
            if isinstance(event, SxidEvent):
                changes += self._count_switch(event)
            else:
                changes += self._count_gpu(event, new)
        if position is not None and position != self.position:
            self.position = position
            changes.append(xidrows.position_row(position))
        if changes:
            self._save(changes)
        for event in new:
            gpu = self._gpu_at(event.pci)
            self._log.xid(event, gpu, gpu.uuid if gpu else self._owners.get(event.pci, ""))
        return new

    def clock_was_set(self, seconds: float) -> None:
        """Move the times of the last events, as they are shown, with the clock that dated them.

        Alerts ask how long ago they were. Without this an Xid just after a boot with a wrong clock
        would be too old to fire, or news for as long as the clock was ahead.
        """
        changes: list[Change] = []
        self._asks_since += seconds
        for (owner, code), count in self._news.items():
            count.last += seconds
            self._filled.pop(owner, None)
            changes.append(xidrows.count_row(owner, code, count))
        for key, count in self._switch_news.items():
            count.last += seconds
            changes.append(xidrows.switch_row(key, count))
        if changes:
            self._save(changes)

    def was_reset(self, owner: str, time: float) -> None:
        """Take note that a GPU (see ``owner_of``) was reset, at the latest at ``time``.

        What it had until then no longer asks for anything, also if it is heard of later.
        """
        self._resets[owner] = time
        self._resolve([c for c in self._unresolved() if c[0] == owner and c[2].last <= time])

    def switches_were_reset(self, time: float) -> None:
        """Take note that all NVSwitches were reset, at the latest at ``time``."""
        self._switches_reset = time
        self._resolve_switches(lambda count: count.last <= time)

    def remembered(self, owner: str) -> Mapping[str, Any]:
        """Return what is remembered of a GPU (see ``owner_of``), by its reading's fields."""
        if not self._has_xids:
            return _NO_XIDS
        filled = self._filled.get(owner)
        if filled is None:
            filled = self._filled[owner] = self._fill(owner)
        return filled

    def complete(self, gpus: tuple[GpuReading, ...]) -> tuple[GpuReading, ...]:
        """Return readings with what is remembered of each GPU, whatever its state.

        Those that carry it already are not copied: a copy of their seventy fields costs more than
        writing them out.
        """
        self._log.sum_up()
        return tuple(self._completed(gpu) for gpu in gpus)

    def recent(self, since: float, limit: int) -> list[PastEvent]:
        """Return the newest events since a time (unix seconds), at most ``most``, oldest first.

        It reads the file: not for the event loop, but for a thread. An event is there as soon as
        it is written, a moment after it was observed; without a state file there is none.
        """
        return self._state.load(lambda db: xidrows.load_since(db, since, limit), [])

    def nvswitches(self) -> tuple[NvswitchReading, ...]:
        """Return the NVSwitches that have reported errors."""
        found: dict[
            tuple[int, str], tuple[dict[tuple[str, str], int], dict[str, float], dict[str, int]]
        ] = {}
        switches = sorted(self._switches.items(), key=lambda item: item[0])
        for (number, pci, code, fatal), count in switches:
            errors, last, unresolved = found.setdefault((number, pci), ({}, {}, {}))
            errors[str(code), "fatal" if fatal else "non_fatal"] = count.count
            last[str(code)] = max(count.last, last.get(str(code), 0.0))
            if fatal:
                unresolved[str(code)] = int(count.unresolved)
        return tuple(
            NvswitchReading(
                nvswitch=number,
                pci_bus_id=pci,
                sxid_errors=errors,
                sxid_last_timestamp_seconds=last,
                sxid_unresolved=unresolved,
            )
            for (number, pci), (errors, last, unresolved) in found.items()
        )

    def _count_gpu(self, event: XidEvent, new: list[XidEvent]) -> list[Change]:
        key = (event.pci, event.xid)
        owner = self._owners.get(event.pci, event.pci)
        told = self._open.get(key, [])[-MOST_OPEN:]
        self._open[key] = told = [e for e in told if event.time - e.told.time < OPEN_SECONDS]
        for known in told:
            apart = abs(event.time - known.told.time)
            if event.source not in known.sources and apart <= SAME_SECONDS:
                known.sources.add(event.source)
                known.told = _merged(known.told, event)
                return [xidrows.event_row(known, owner)]
        first = OpenEvent(self._next, {event.source}, event)
        self._next += 1
        told.append(first)
        count = self._counts.setdefault((owner, event.xid), Count())
        count.add(event.time)
        if event.time > max(self._asks_since, self._resets.get(owner, -math.inf)):
            count.unresolved, count.epoch = True, self._epoch()
        if self._clock.time() - event.time < NEWS_SECONDS:
            self._news[owner, event.xid] = count
        self._filled.pop(owner, None)
        new.append(event)
        return [xidrows.event_row(first, owner), xidrows.count_row(owner, event.xid, count)]

    def _count_switch(self, event: SxidEvent) -> list[Change]:
        key = (event.nvswitch, event.pci, event.sxid, event.fatal)
        count = self._switches.setdefault(key, Count())
        count.add(event.time)
        if event.time > max(self._asks_since, self._switches_reset):
            count.unresolved, count.epoch = True, self._epoch()
        if self._clock.time() - event.time < NEWS_SECONDS:
            self._switch_news[key] = count
        number, self._next = self._next, self._next + 1
        self._log.sxid(event)
        return xidrows.sxid_rows(event, number, count)

    def _attribute(self, pci: str, gpu: GpuIdentity) -> None:
        """Give a GPU the events of its address that came before it was known."""
        changes = xidrows.owner_changed(pci, gpu.uuid, gpu.index)
        for owner, code in [key for key in self._counts if key[0] == pci]:
            waiting = self._counts.pop((owner, code))
            count = self._counts.setdefault((gpu.uuid, code), Count())
            count.count += waiting.count
            count.last = max(count.last, waiting.last)
            if waiting.unresolved:
                count.unresolved, count.epoch = True, waiting.epoch
            if self._news.pop((owner, code), None) is not None:
                self._news[gpu.uuid, code] = count
            changes.append(xidrows.count_row(gpu.uuid, code, count))
        self._filled.pop(gpu.uuid, None)
        self._save(changes)

    def _unresolved(self) -> Iterator[tuple[str, int, Count]]:
        """Yield the Xids (owner, code, count) since which their GPU was not reset."""
        return ((*key, count) for key, count in self._counts.items() if count.unresolved)

    def _look_at_epoch(self) -> None:
        """Resolve what came before a boot, or before the driver was loaded."""
        unresolved = [*self._unresolved()]
        if not unresolved and not any(count.unresolved for count in self._switches.values()):
            return
        now = self._epoch()
        self._resolve([each for each in unresolved if each[2].epoch.is_over_in(now)])
        self._resolve_switches(lambda count: count.epoch.is_over_in(now))

    def _resolve(self, found: Iterable[tuple[str, int, Count]]) -> None:
        changes: list[Change] = []
        for owner, code, count in found:
            count.unresolved = False
            self._filled.pop(owner, None)
            changes.append(xidrows.count_row(owner, code, count))
        if changes:
            self._save(changes)

    def _resolve_switches(self, over: Callable[[Count], bool]) -> None:
        changes: list[Change] = []
        for key, count in self._switches.items():
            if count.unresolved and over(count):
                count.unresolved = False
                changes.append(xidrows.switch_row(key, count))
        if changes:
            self._save(changes)

    def _completed(self, gpu: GpuReading) -> GpuReading:
        remembered = self.remembered(owner_of(gpu.identity))
        # The very object: whatever happens to a GPU makes a new one.
        if gpu.xid_events is remembered["xid_events"]:
            return gpu
        return gpu.changed(**remembered)

    def _fill(self, uuid: str) -> Mapping[str, Any]:
        own = {code: c for (owner, code), c in sorted(self._counts.items()) if owner == uuid}
        if not own:
            return _NOTHING
        classes = dict.fromkeys(XID_CLASSES, 0)
        for code, count in own.items():
            classes[xid(code).xid_class] += count.count
        return {
            "xid_errors": {str(code): count.count for code, count in own.items()},
            "xid_last_timestamp_seconds": {str(code): count.last for code, count in own.items()},
            "xid_unresolved": {
                str(code): int(count.unresolved) for code, count in own.items() if xid(code).needs
            },
            "xid_events": classes,
        }

    def _save(self, changes: Sequence[Change]) -> None:
        oldest = self._clock.time() - KEPT_SECONDS if self._state.forgets else None
        newest = self._next - MOST_EVENTS

        self._state.save(lambda db: xidrows.apply(db, changes, oldest, newest))

    def _gpu_at(self, pci: str) -> GpuIdentity | None:
        found = (g for address, g in self._addresses.items() if kernel_address(address) == pci)
        return next(found, None)


def owner_of(gpu: GpuIdentity) -> str:
    """Return by what a GPU's Xids are counted: its uuid, or its address while nobody knows it."""
    return gpu.uuid if gpu.known else kernel_address(gpu.pci_bus_id) or gpu.uuid


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
