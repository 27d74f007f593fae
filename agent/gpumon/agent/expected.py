"""How many GPUs there should be: declared, or the most that were seen in a week.

What was seen is kept in the state folder's ``state.db``, so that a GPU that is missing after a
reboot is missed.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

log = logging.getLogger(__name__)

DAYS_REMEMBERED = 7
_DAY = 86400.0


class ExpectedGpus:
    """The number of GPUs by source and day."""

    def __init__(self, declared: int | None = None, path: Path | None = None) -> None:
        """Keep the counts in the file; without one, or without access, only in memory."""
        self._declared = declared
        self._path = path
        self._seen: dict[tuple[str, int], int] = {}
        if path is not None:
            self._load(path)

    def saw(self, source: str, count: int, time: float) -> None:
        """Take note that a source shows so many GPUs at a time (unix seconds)."""
        day = int(time // _DAY)
        if count > self._seen.get((source, day), 0):
            self._seen[source, day] = count
            self._seen = {key: n for key, n in self._seen.items() if key[1] > day - DAYS_REMEMBERED}
            self._save(source, day, count)

    def count(self, source: str, time: float) -> int | None:
        """Return how many GPUs a source should show, or None where nobody knows."""
        if self._declared is not None:
            return self._declared
        first = int(time // _DAY) - DAYS_REMEMBERED
        counts = [n for (name, day), n in self._seen.items() if name == source and day > first]
        return max(counts, default=None)

    def _load(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path)) as db, db:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS gpus_seen "
                    "(source TEXT, day INTEGER, count INTEGER, PRIMARY KEY (source, day))"
                )
                rows = db.execute("SELECT source, day, count FROM gpus_seen")
                self._seen = {(source, day): count for source, day, count in rows}
        except (OSError, sqlite3.Error) as error:
            log.warning(
                "%s cannot be used (%s): the number of GPUs is remembered until this agent ends; "
                "give it a folder it may write to with --state-dir",
                path,
                error,
            )
            self._path = None

    def _save(self, source: str, day: int, count: int) -> None:
        if self._path is None:
            return
        try:
            with closing(sqlite3.connect(self._path)) as db, db:
                db.execute(
                    "INSERT OR REPLACE INTO gpus_seen VALUES (?, ?, ?)", (source, day, count)
                )
                db.execute("DELETE FROM gpus_seen WHERE day <= ?", (day - DAYS_REMEMBERED,))
        except sqlite3.Error as error:
            log.warning("%s cannot be written (%s)", self._path, error)
            self._path = None
