"""A connection on which one row that cannot be kept costs the others nothing.

Whatever a row is made of, from a driver, a log or a user, may be beyond what SQLite takes: a whole
number of more than 64 bits, a text that is not Unicode. That row is left out, counted, and logged
once for each table; the rest of the transaction is written.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpumon.refusals import Refusals

LOCK_SECONDS = 0.2
"""How long another process may hold the file when it is opened; nothing waits longer at start."""

QUANTITY = "state_file_row"
"""The name under which rows that are left out are counted."""

_OF_A_ROW = (OverflowError, UnicodeError, sqlite3.DataError)
"""What the values of a row are refused with; anything else is about the file, or our mistake."""

_TABLE = re.compile(r"(?:INTO|FROM|UPDATE)\s+(\w+)", re.IGNORECASE)


def connect(path: Path, refusals: Refusals | None = None) -> Connection:
    """Open a file to read it, or to write it row by row."""
    db = sqlite3.connect(path, timeout=LOCK_SECONDS, check_same_thread=False, factory=Connection)
    db.refusals = refusals or Refusals()
    db.execute("PRAGMA synchronous=NORMAL")
    return db


class Connection(sqlite3.Connection):
    """Leaves out what cannot be kept; ``refusals`` counts it."""

    refusals: Refusals

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Do what a statement says, or nothing if its values cannot be kept."""
        try:
            return super().execute(sql, parameters)
        except _OF_A_ROW as error:
            table = _TABLE.search(sql)
            name = table[1] if table else "a table"
            self.refusals.refuse(QUANTITY, f"a row of {name} in the state file", f"{error}"[:100])
            return self.cursor()

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        """Do what a statement says for each row whose values can be kept."""
        for row in rows:
            self.execute(sql, row)
        return self.cursor()
