"""How many GPUs there should be: declared, or the most that a source showed in a week.

What was seen is kept in the state folder's ``state.db``, so that a GPU that is missing after a
reboot is missed.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from gpumon.model import SourceInfo

log = logging.getLogger(__name__)

DAYS_REMEMBERED = 7
_DAY = 86400.0

_LOCK_SECONDS = 0.1
"""How long another process may hold the file; this one answers scrapes meanwhile, or not at all."""


class ExpectedGpus:
    """The number of GPUs by source and day."""

    def __init__(self, declared: int | None = None, path: Path | None = None) -> None:
        """Keep the counts in the file; without one, or without access, only in memory."""
        self._declared = declared
        self._path = path
        self._seen: dict[tuple[str, int], int] = {}
        if path is not None:
            self._open(path)

    def saw(self, source: SourceInfo, count: int, time: float) -> None:
        """Take note that a source shows so many GPUs at a time (unix seconds)."""
        name, day = _name(source), int(time // _DAY)
        if count > self._seen.get((name, day), 0):
            self._seen[name, day] = count
            self._seen = {key: n for key, n in self._seen.items() if key[1] > day - DAYS_REMEMBERED}
            self._save(name, day, count)

    def count(self, source: SourceInfo, time: float) -> int | None:
        """Return how many GPUs a source should show, or None where nobody knows."""
        if self._declared is not None:
            return self._declared
        name, today = _name(source), int(time // _DAY)
        days = range(today - DAYS_REMEMBERED + 1, today + 1)
        counts = [n for (seen, day), n in self._seen.items() if seen == name and day in days]
        return max(counts, default=None)

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._load(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, read-only, full
                    raise
                aside = path.with_name(f"{path.name}.corrupt")
                path.replace(aside)
                log.warning("%s is damaged (%s): set aside as %s", path, error, aside)
                self._load(path)
        except (OSError, sqlite3.Error) as error:
            log.warning(
                "%s cannot be used (%s): GPUs are counted until this agent ends; "
                "give it a folder it may write to with --state-dir",
                path,
                error,
            )
            self._path = None

    def _load(self, path: Path) -> None:
        with closing(sqlite3.connect(path, timeout=_LOCK_SECONDS)) as db, db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(
                "CREATE TABLE IF NOT EXISTS gpus_seen "
                "(source TEXT, day INTEGER, count INTEGER, PRIMARY KEY (source, day))"
            )
            rows = db.execute("SELECT source, day, count FROM gpus_seen")
            self._seen = {(source, day): count for source, day, count in rows}

    def _save(self, name: str, day: int, count: int) -> None:
        if self._path is None:
            return
        try:
            with closing(sqlite3.connect(self._path, timeout=_LOCK_SECONDS)) as db, db:
                db.execute("INSERT OR REPLACE INTO gpus_seen VALUES (?, ?, ?)", (name, day, count))
                db.execute("DELETE FROM gpus_seen WHERE day <= ?", (day - DAYS_REMEMBERED,))
        except sqlite3.Error as error:
            log.warning("%s cannot be written (%s)", self._path, error)


def _name(source: SourceInfo) -> str:
    return f"{source.source}:{source.detail}" if source.detail else source.source
