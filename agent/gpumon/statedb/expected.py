"""How many GPUs there should be: declared, or the most that a source showed in a week.

What was seen is kept in the state file, so that a GPU that is missing after a reboot is missed.
"""

from __future__ import annotations

import sqlite3

from gpumon.model import SourceInfo
from gpumon.statedb.file import StateFile

DAYS_REMEMBERED = 7
_DAY = 86400.0


class ExpectedGpus:
    """The number of GPUs by source and day."""

    def __init__(self, declared: int | None, state: StateFile) -> None:
        """Take up the counts of earlier agents."""
        self._declared = declared
        self._state = state
        self._seen: dict[tuple[str, int], int] = state.load(_load, {})

    def saw(self, source: SourceInfo, count: int, time: float) -> None:
        """Take note of how many GPUs a machine has at a time (unix seconds).

        Those are what its source lists, and those that another driver has.
        """
        name, day = _name(source), int(time // _DAY)
        if count <= self._seen.get((name, day), 0):
            return
        self._seen[name, day] = count
        forgets = self._state.forgets
        if forgets:
            self._seen = {key: n for key, n in self._seen.items() if key[1] > day - DAYS_REMEMBERED}

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO gpus_seen VALUES (?, ?, ?)", (name, day, count))
            if forgets:
                db.execute("DELETE FROM gpus_seen WHERE day <= ?", (day - DAYS_REMEMBERED,))

        self._state.save(write)

    def count(self, source: SourceInfo, time: float, passed_through: int = 0) -> int | None:
        """Return how many GPUs a source should list, or None if nobody knows.

        Of the machine's, ``passed_through`` are another driver's, and not expected here; who
        declares a number may have left them out of it.
        """
        name, today = _name(source), int(time // _DAY)
        days = range(today - DAYS_REMEMBERED + 1, today + 1)
        counts = [n for (seen, day), n in self._seen.items() if seen == name and day in days]
        boards = max(counts, default=None)
        declared = self._declared
        if declared is not None:
            left_out = max(0, (boards or 0) - declared)
            return max(0, declared - max(0, passed_through - left_out))
        return None if boards is None else max(0, boards - passed_through)


def _load(db: sqlite3.Connection) -> dict[tuple[str, int], int]:
    rows = db.execute("SELECT source, day, count FROM gpus_seen")
    return {(source, day): count for source, day, count in rows}


def _name(source: SourceInfo) -> str:
    return f"{source.source}:{source.detail}" if source.detail else source.source
