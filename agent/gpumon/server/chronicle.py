"""What happened on this node beside Xids and jobs, kept in the state file for ``gpumon events``.

GPUs that changed state, counters that began again, drivers, readers, orders.
"""

from __future__ import annotations

import dataclasses

from gpumon.clock import SYSTEM, Clock
from gpumon.model import GpuState, Snapshot
from gpumon.statedb.events import Note, keep_note, load_states
from gpumon.statedb.file import StateFile

KEPT_SECONDS = 400 * 86_400.0

MOST_AN_HOUR = 20
"""Of one GPU and kind: one that flaps every second must not fill the disk."""

CORRECTIONS = {
    "reset": "its energy counter began again: the driver was loaded again, or the GPU reset",
    "rejected": "its energy counter leapt beyond its power limit: not believed",
    "gap": "its joules since it was last read are nobody's: who held it is not known",
}


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
        for gpu in snapshot.gpus:
            uuid, state = gpu.identity.uuid, gpu.state.value
            before = self._states.get(uuid, GpuState.OK.value)
            if uuid and state != before:
                self._states[uuid] = state
                # Why it was released is told by the order.
                why = "" if gpu.state is GpuState.RELEASED else gpu.reason
                reason = f": {why}" if why else ""
                text = f"{before} -> {state}{reason}"
                self.note("state", text, gpu=gpu.identity.index, uuid=uuid, state=state)

    def corrected(self, uuid: str, gpu: int, correction: str) -> None:
        """Note that a GPU's energy counter was not taken as it was."""
        self.note("counter", CORRECTIONS[correction], gpu=gpu, uuid=uuid)

    def note(
        self, kind: str, text: str, *, gpu: int | None = None, uuid: str = "", state: str = ""
    ) -> None:
        """Note something; of too much of a kind in an hour, only that there was more."""
        now = self._clock.time()
        flood = self._floods.get((uuid, kind))
        if flood is None or not 0 <= now - flood.since < 3600:
            flood = self._floods[uuid, kind] = _Flood(now)
        flood.count += 1
        if flood.count > MOST_AN_HOUR:
            return
        if flood.count == MOST_AN_HOUR:
            text = f"{text} (and perhaps more of this kind within the hour)"
        row = Note(now, kind, gpu, uuid, state, text)
        self._state.save(lambda db: keep_note(db, row, now - KEPT_SECONDS))


def _released(snapshot: Snapshot) -> bool:
    return any(gpu.state is GpuState.RELEASED for gpu in snapshot.gpus)
