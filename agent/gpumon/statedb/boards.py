"""Which GPU was last seen at which PCI address, so that one is known that no longer says who it is.

It is kept in the state file: a GPU that is lost before an agent has seen it is still the board that
an earlier agent saw there.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from gpumon.documents.write import json_of
from gpumon.model import GpuIdentity, Platform
from gpumon.statedb.file import StateFile

SEEN_EVERY = 600.0
"""How often it is written down (seconds) that a GPU is still there."""

_FACTS = (
    *("pci_bus_id", "uuid", "index", "name", "architecture", "serial", "module_id"),
    *("board_part_number", "vbios_version", "minor_number"),
)
"""What is kept of an identity, in the order of the table's columns."""


_INSERT = "INSERT OR REPLACE INTO boards VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class KnownBoard(NamedTuple):
    """A GPU as it was last seen, and when that was (unix seconds)."""

    identity: GpuIdentity
    seen: float


class KnownBoards:
    """The GPUs by their PCI address (NVML's form)."""

    def __init__(self, state: StateFile) -> None:
        """Take up those that earlier agents saw."""
        self._state = state
        self._boards: dict[str, KnownBoard] = state.load(_load, {})

    def saw(self, gpus: Iterable[GpuIdentity], time: float) -> None:
        """Take note of GPUs that have just said who they are (unix seconds)."""
        changed = []
        for gpu in gpus:
            if not gpu.known or not gpu.pci_bus_id:
                continue
            known = self._boards.get(gpu.pci_bus_id)
            if known is None or known.identity != gpu or time - known.seen >= SEEN_EVERY:
                changed.append(KnownBoard(gpu, time))
        if not changed:
            return
        uuids = {board.identity.uuid for board in changed}
        # A board that was moved is no longer where it was.
        self._boards = {a: b for a, b in self._boards.items() if b.identity.uuid not in uuids}
        self._boards.update({board.identity.pci_bus_id: board for board in changed})

        def write(db: sqlite3.Connection) -> None:
            for board in changed:
                db.execute("DELETE FROM boards WHERE uuid = ?", (board.identity.uuid,))
                facts = [getattr(board.identity, name) for name in _FACTS]
                platform = board.identity.platform
                place = None if platform is None else json_of(dataclasses.asdict(platform))
                db.execute(_INSERT, (*facts, place, board.seen))

        self._state.save(write)

    def at(self, pci_bus_id: str) -> KnownBoard | None:
        """Return who was last seen at an address; None if nobody ever was."""
        return self._boards.get(pci_bus_id)

    def all(self) -> tuple[KnownBoard, ...]:
        """Return all that were ever seen, each with its last address."""
        return tuple(self._boards.values())


def _load(db: sqlite3.Connection) -> dict[str, KnownBoard]:
    rows = db.execute(
        "SELECT pci_bus_id, uuid, gpu, name, architecture, serial, module_id, board_part_number, "
        "vbios_version, minor_number, platform, seen FROM boards"
    )
    return {
        facts[0]: KnownBoard(
            GpuIdentity(**dict(zip(_FACTS, facts, strict=True)), platform=_platform(place)), seen
        )
        for *facts, place, seen in rows
    }


def _platform(text: str | None) -> Platform | None:
    """Return a board's place; None if there is none, or none that this version can read."""
    try:
        return None if text is None else Platform(**json.loads(text))
    except (TypeError, ValueError):
        return None


def as_seen(board: KnownBoard, index: int) -> GpuIdentity:
    """Return the identity of a board with the index that it has now."""
    return dataclasses.replace(board.identity, index=index)
