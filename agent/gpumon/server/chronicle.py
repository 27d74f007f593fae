"""What happened on this node beside Xids and jobs, kept in the state file for ``gpumon events``.

GPUs that changed state, counters that began again, drivers, readers, orders, boots, and the clock
by which all of it is dated.
"""

from __future__ import annotations

import dataclasses

from gpumon.clock import SYSTEM, Clock
from gpumon.model import NOT_ANSWERED_YET, GpuIdentity, GpuState, Snapshot
from gpumon.statedb.clocknotes import (
    RIGHT,
    WRONG,
    Span,
    keep_spans,
    load_wrong_clock,
    words_of,
)
from gpumon.statedb.events import Note, keep_note, load_states
from gpumon.statedb.facts import keep_fact, load_fact
from gpumon.statedb.file import StateFile

KEPT_SECONDS = 400 * 86_400.0

MOST_AN_HOUR = 20
"""Of one GPU and kind: one that flaps every second must not fill the disk."""

CORRECTIONS = {
    "reset": "its energy counter began again: the driver was loaded again, or the GPU reset",
    "rejected": "its energy counter leapt beyond its power limit: not believed",
    "gap": "its joules since it was last read are nobody's: who held it is not known",
}


SAME_SPAN_SECONDS = 60.0
"""Times of a wrong clock that are further apart have a jump between them, or an agent's end."""

MOST_SPANS = 20

BOOT = "boot_id"
"""The fact that says in which boot the last agent ran."""


@dataclasses.dataclass(slots=True)
class _Flood:
    """How many of one GPU and kind there were since ``since`` (unix seconds)."""

    since: float
    count: int = 0


class Chronicle:
    """Writes down changes, not what lasts; belongs to the agent's event loop."""

    def __init__(self, state: StateFile, clock: Clock = SYSTEM) -> None:
        """Take up in which state each GPU was when the last agent ended."""
        self._state = state
        self._clock = clock
        self._states: dict[str, str] = state.load(load_states, {})
        self._floods: dict[tuple[str, str], _Flood] = {}
        self._driver = ""
        self._up: bool | None = None
        self._there: dict[str, GpuIdentity] | None = None
        self._nameless: frozenset[int] = frozenset()
        self._unlisted: frozenset[str] = frozenset()
        self._boot = state.load(lambda db: load_fact(db, BOOT), None)
        nothing: tuple[str, list[Span]] = ("", [])
        self._wrong, self._wrong_spans = state.load(load_wrong_clock, nothing)

    def observe(self, snapshot: Snapshot) -> None:
        """Note what differs from the snapshot before; a first sight of what is well is nothing."""
        driver = snapshot.source.driver_version
        if driver:
            if self._driver not in ("", driver):
                self.note("driver", f"version {self._driver} -> {driver}")
            self._driver = driver
        if snapshot.up != self._up and not _released(snapshot):
            if self._up is not None or not snapshot.up:
                answers = "responds again" if snapshot.up else "; ".join(snapshot.errors)
                self.note("driver", answers or "does not respond")
            self._up = snapshot.up
        if snapshot.up:
            self._count(snapshot)
        for gpu in snapshot.gpus:
            if gpu.reason == NOT_ANSWERED_YET:
                continue
            uuid, state = gpu.identity.uuid, gpu.state.value
            before = self._states.get(uuid, GpuState.OK.value)
            if uuid and state != before:
                self._states[uuid] = state
                # Why it was released is told by the order.
                why = "" if gpu.state is GpuState.RELEASED else gpu.reason
                reason = f": {why}" if why else ""
                # Where to go, unless the reason says it already.
                place = gpu.identity.place
                at = f" ({place})" if place and place not in reason and not gpu.up else ""
                text = f"{before} -> {state}{reason}{at}"
                self.note("state", text, gpu=gpu.identity.index, uuid=uuid, state=state)

    def _count(self, snapshot: Snapshot) -> None:
        """Note GPUs that are new to the driver, and those that it no longer lists."""
        gpus = [gpu.identity for gpu in snapshot.gpus]
        there = {gpu.uuid: gpu for gpu in gpus if gpu.known}
        before = there if self._there is None else self._there
        for uuid in there.keys() - before.keys():
            gpu = there[uuid]
            if gpu.index not in self._nameless:  # else it has only said who it is
                self.note("gpu", f"new: {gpu.words}", gpu=gpu.index, uuid=uuid)
        self._nameless = frozenset(gpu.index for gpu in gpus if not gpu.known)
        taken = {one.pci_bus_id: one.driver for one in snapshot.passed_through}
        for uuid in before.keys() - there.keys():
            gpu = before[uuid]
            driver = taken.get(gpu.pci_bus_id)
            how = f"passed through to {driver}" if driver else "no longer listed"
            if driver or not self._nameless:
                self.note("gpu", f"{how}: {gpu.words}", gpu=gpu.index, uuid=uuid)
        self._there = there
        for address in sorted(set(snapshot.unlisted) - self._unlisted):
            text = f"the GPU at {address} has come to the driver, and NVML does not list it"
            self.note("gpu", text)
        self._unlisted = frozenset(snapshot.unlisted)

    def corrected(self, uuid: str, gpu: int, correction: str) -> None:
        """Note that a GPU's energy counter was not taken as it was."""
        self.note("counter", CORRECTIONS[correction], gpu=gpu, uuid=uuid)

    def booted(self, boot: str, uptime: float) -> None:
        """Note a boot (by the kernel's name for it) that is another than the last agent's.

        ``uptime`` is the seconds since then.
        """
        if not boot or boot == self._boot:
            return
        if self._boot:
            self.note("boot", f"the machine was started again, {uptime:.0f} s ago")
        self._boot = boot
        self._state.save(lambda db: keep_fact(db, BOOT, boot))

    def clock(self, wrong: str) -> None:
        """Note what is wrong with the clock from now on, empty if nothing is any longer."""
        was, self._wrong = self._wrong, wrong
        if wrong:
            self.clock_goes_on()
            if wrong.split()[-1:] != was.split()[-1:]:  # not each change of how much
                text = f"{wrong}: the times of events from here on may be wrong"
                self.note("clock", text, state=f"{WRONG} {wrong}")
        elif was:
            spans, self._wrong_spans = words_of(self._wrong_spans), []
            self.note("clock", f"right again (it was {was})", state=f"{RIGHT} {spans}".strip())
            self._state.save(lambda db: keep_spans(db, ""))

    def clock_goes_on(self) -> None:
        """Take note of the time while the clock is wrong, over which it may be set."""
        if not self._wrong:
            return
        now = self._clock.time()
        last = self._wrong_spans[-1] if self._wrong_spans else None
        if last is not None and last[0] <= now <= last[1] + SAME_SPAN_SECONDS:
            self._wrong_spans[-1] = last[0], max(last[1], now)
        else:
            self._wrong_spans = [*self._wrong_spans[-MOST_SPANS:], (now, now)]
        words = words_of(self._wrong_spans)
        self._state.save(lambda db: keep_spans(db, words))

    def note(
        self, kind: str, text: str, *, gpu: int | None = None, uuid: str = "", state: str = ""
    ) -> None:
        """Note something; of too much of a kind in an hour, only that there was more."""
        now = self._clock.time()
        flood = self._floods.get((uuid, kind))
        if flood is None or not 0 <= now - flood.since < 3600:
            flood = self._floods[uuid, kind] = _Flood(now)
        flood.count += 1
        # Which events a wrong clock dated must be known to the end; there is one a minute at most.
        if flood.count > MOST_AN_HOUR and not (kind == "clock" and state):
            return
        if flood.count == MOST_AN_HOUR:
            text = f"{text} (and perhaps more of this kind within the hour)"
        row = Note(now, kind, gpu, uuid, state, text)
        oldest = now - KEPT_SECONDS if self._state.forgets else None
        self._state.save(lambda db: keep_note(db, row, oldest))


def _released(snapshot: Snapshot) -> bool:
    return any(gpu.state is GpuState.RELEASED for gpu in snapshot.gpus)
