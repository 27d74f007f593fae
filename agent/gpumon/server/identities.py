"""Who the GPUs are of which the driver does not say it, as far as anybody remembers.

A GPU that was lost before this agent saw it has an index and at most an address. Which board was
last seen there is in the state file; that identity is used, and it is said that it is remembered.
If nobody knows, the uuid stays what the source made of the address, which is that GPU's alone.
"""

from __future__ import annotations

import dataclasses

from gpumon.derive.seats import seats
from gpumon.model import NOT_ANSWERED_YET, GpuIdentity, GpuReading, GpuState, Snapshot
from gpumon.server.lastword import without_readings
from gpumon.statedb.boards import KnownBoard, KnownBoards, as_seen
from gpumon.statedb.file import StateFile
from gpumon.times import format_time

LATELY_SECONDS = 7 * 86_400.0
"""How long a GPU is expected to stay in its slot, as the number of GPUs is."""


class Identities:
    """Names what the reader could not name; belongs to the agent's event loop."""

    def __init__(self, state: StateFile) -> None:
        """Take up the boards that earlier agents saw."""
        self._boards = KnownBoards(state)

    def recognised(self, snapshot: Snapshot, before: Snapshot | None, time: float) -> Snapshot:
        """Return a snapshot in which every GPU is named that anybody remembers.

        ``before`` is the snapshot before this one, ``time`` when it came (unix seconds).
        """
        if not snapshot.up and not snapshot.gpus and before is not None:
            # The driver as a whole is away: who the GPUs were is still worth saying.
            reason = "; ".join(snapshot.errors)
            ghosts = without_readings(before, GpuState.ERROR, reason)
            return dataclasses.replace(snapshot, gpus=ghosts, passed_through=before.passed_through)
        gpus = snapshot.gpus
        if not all(gpu.identity.known for gpu in gpus):
            gpus = self._named(gpus, before, time)
        self._boards.saw((gpu.identity for gpu in gpus if gpu.up), time)
        return dataclasses.replace(
            snapshot,
            gpus=gpus,
            passed_through=tuple(
                dataclasses.replace(one, identity=board.identity if board else None)
                for one in snapshot.passed_through
                for board in (self._boards.at(one.pci_bus_id),)
            ),
        )

    def _named(
        self, gpus: tuple[GpuReading, ...], before: Snapshot | None, time: float
    ) -> tuple[GpuReading, ...]:
        """Return readings with the board last seen at each GPU's address, if that is certain."""
        here = {gpu.identity.uuid for gpu in gpus}
        free = [board for board in self._boards.all() if board.identity.uuid not in here]
        identities = [gpu.identity for gpu in gpus]
        # If there is room for fewer than are remembered, those of long ago have been taken out.
        lately = [board for board in free if time - board.seen < LATELY_SECONDS]
        places = {
            **seats(identities, [board.identity.pci_bus_id for board in lately]),
            **seats(identities, [board.identity.pci_bus_id for board in free]),
        }
        # A driver that gives no addresses leaves the order in which it counted before.
        known = [gpu.identity for gpu in before.gpus if gpu.identity.known] if before else []
        last = {
            i.index: KnownBoard(i, 0.0) for i in known if not i.pci_bus_id and i.uuid not in here
        }
        return tuple(self._name(gpu, places, last, here) for gpu in gpus)

    def _name(
        self,
        gpu: GpuReading,
        places: dict[int, str],
        last: dict[int, KnownBoard],
        here: set[str],
    ) -> GpuReading:
        """Return a reading with the remembered identity, if it has none of its own."""
        identity = gpu.identity
        if identity.known:
            return gpu
        address = identity.pci_bus_id or places.get(identity.index, "")
        board = self._boards.at(address) or last.get(identity.index)
        if board is None or board.identity.uuid in here or _is_another(identity, board):
            return gpu
        return gpu.changed(
            identity=as_seen(board, identity.index), reason=_reason(gpu.reason, board)
        )


_OWN = ("name", "serial", "board_part_number")
"""What a board may say of itself that has no uuid to say, as one with a damaged InfoROM may."""


def _is_another(identity: GpuIdentity, board: KnownBoard) -> bool:
    """Return whether a board says of itself what the one that was seen there last does not."""
    pairs = ((getattr(identity, fact), getattr(board.identity, fact)) for fact in _OWN)
    return any(now and before and now != before for now, before in pairs)


def _reason(reason: str, board: KnownBoard) -> str:
    """Return why a GPU is not read, and that who it is is remembered."""
    if not reason or reason == NOT_ANSWERED_YET or not board.identity.pci_bus_id:
        return reason
    seen = f" on {format_time(board.seen)[:19]}Z" if board.seen else ""
    return f"{reason} ({board.identity.words}, as last seen there{seen})"
