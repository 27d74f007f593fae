"""Which GPU a row of an nvidia-smi log is about, and which of them have no rows any longer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from gpumon.model import GpuIdentity
from gpumon.model.events import kernel_address
from gpumon.sources.replay.header import NAMES_THE_GPU

_OURS = "replay-"
"""How the uuid begins of a GPU of which the log does not say it."""

SILENT_ROUNDS = 3
SILENT_SECONDS = 3.0
FIRST_SECONDS = 60.0
"""A GPU whose rows stop while those of others go on, for as many rounds, and as many of its own
intervals or seconds, can no longer be read: nvidia-smi leaves some lost GPUs out. Of one that had a
single row nobody knows how often it is logged."""


SWAPS = 3
"""An index that two GPUs have by turns, this many times in a row, is that of two nodes."""


class TwoOfOneIndexError(ValueError):
    """Two GPUs have the same index, row for row."""


@dataclasses.dataclass(slots=True)
class Seen:
    """A GPU's last row: its time, the seconds from the one before it, and its number."""

    identity: GpuIdentity
    time: float = 0.0
    interval: float = 0.0
    row: int = 0
    silent: bool = False


class Roster:
    """Knows GPUs again by any fact that names them, whatever else a row says of them."""

    def __init__(self) -> None:
        """Start with none."""
        self._gpus: dict[str, Seen] = {}
        self._named: dict[tuple[str, str], str] = {}
        self._rows = 0
        self._look_at = 0
        self._renamed: list[str] = []
        self._holders: dict[int, tuple[str, int, int]] = {}

    def identify(self, facts: Mapping[str, str], position: int | None) -> GpuIdentity | None:
        """Return who a row is about; None if nothing in it says so.

        ``facts`` are those that the row has; ``position`` is the GPU's place in each tick, if no
        column names the GPU.
        """
        keys = [(name, facts[name]) for name in NAMES_THE_GPU if facts.get(name)]
        if position is not None:
            keys = [("position", str(position))]
        if not keys:
            return None
        index = facts.get("index", "")
        number = int(index) if index.isascii() and index.isdigit() else position
        known = self._named.get(keys[0]) or self._adopted(keys)
        if known is None:
            number = len(self._gpus) if number is None else number
            known = facts.get("uuid") or self._new_name(number, keys[0])
            self._gpus[known] = Seen(GpuIdentity(index=number, uuid=known))
        self._named.update(dict.fromkeys(keys, known))
        if number is not None:
            self._hold(number, known)
        own = {"index": number} if number is not None else {}
        return self._update(known, {**facts, **own})

    def _hold(self, index: int, uuid: str) -> None:
        """Note who has an index: it may change, by a reboot or a new board, but not back and forth.

        Raises TwoOfOneIndexError.
        """
        holder, swaps, row = self._holders.get(index, (uuid, 0, 0))
        if holder != uuid and holder in self._gpus:
            swaps = swaps + 1 if self._rows - row <= 2 * len(self._gpus) else 1
            if swaps >= SWAPS:
                raise TwoOfOneIndexError(f"{holder[:60]} and {uuid[:60]} both have index {index}")
            row = self._rows
        self._holders[index] = uuid, swaps, row

    def _adopted(self, keys: Sequence[tuple[str, str]]) -> str | None:
        """Return the GPU that is known by less sure facts only, so far, and is the one of these."""
        (surest, value), *others = keys
        for key in others:
            known = self._named.get(key)
            if known is None:
                continue
            if surest == "uuid" and known.startswith(_OURS):
                seen = self._gpus.pop(known)
                self._renamed.append(known)
                seen.identity = dataclasses.replace(seen.identity, uuid=value)
                self._gpus[value] = seen
                self._named.update({k: value for k, uuid in self._named.items() if uuid == known})
                return value
            if surest != "uuid" and not getattr(self._gpus[known].identity, surest):
                return known
        return None

    def _new_name(self, number: int, key: tuple[str, str]) -> str:
        name = f"{_OURS}{number}"
        return name if name not in self._gpus else f"{name}-{key[1]}"

    def _update(self, uuid: str, facts: Mapping[str, str | int]) -> GpuIdentity:
        seen = self._gpus[uuid]
        identity = seen.identity
        new = {name: value for name, value in facts.items() if getattr(identity, name) != value}
        if new:
            seen.identity = dataclasses.replace(seen.identity, **new)  # type: ignore[arg-type]
        return seen.identity

    def renamed(self) -> tuple[str, ...]:
        """Return the uuids that turned out to be other GPUs' since this was last asked."""
        taken, self._renamed = tuple(self._renamed), []
        return taken

    def saw(self, identity: GpuIdentity, time: float) -> None:
        """Take note of a row of a GPU."""
        seen = self._gpus[identity.uuid]
        self._rows += 1
        if seen.row:
            seen.interval = max(0.0, time - seen.time)
        seen.time, seen.row, seen.silent = time, self._rows, False

    def before(self, identity: GpuIdentity) -> float | None:
        """Return the time of a GPU's last row; None if it has had none."""
        seen = self._gpus[identity.uuid]
        return seen.time if seen.row else None

    def most_overdue(self) -> GpuIdentity | None:
        """Return the GPU whose turn it is: nvidia-smi keeps its place in each tick."""
        gpus = [seen for seen in self.all() if not seen.silent]
        return min(gpus, key=lambda seen: seen.row).identity if gpus else None

    def at(self, address: str) -> Seen | None:
        """Return the GPU at an address as the kernel writes it."""
        found = (s for s in self._gpus.values() if kernel_address(s.identity.pci_bus_id) == address)
        return next(found, None)

    def all(self) -> Iterator[Seen]:
        """Yield every GPU that has had a row."""
        yield from (seen for seen in self._gpus.values() if seen.row)

    def newly_silent(self, time: float) -> Iterator[Seen]:
        """Yield the GPUs whose rows have stopped while others go on, once each."""
        if self._rows < self._look_at:
            return
        going = [seen for seen in self.all() if not seen.silent]
        others = max(1, len(going) - 1)
        self._look_at = self._rows + (others + 1) // 2  # twice a round is enough
        for seen in going:
            overdue = self._rows - seen.row >= SILENT_ROUNDS * others
            patience = (
                max(SILENT_SECONDS, SILENT_ROUNDS * seen.interval)
                if seen.interval
                else FIRST_SECONDS
            )
            if overdue and time - seen.time > patience:
                seen.silent = True
                yield seen
