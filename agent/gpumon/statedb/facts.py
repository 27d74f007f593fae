"""Single facts in the state file, by name: how far a log was read, until when GPUs are released."""

from __future__ import annotations

import sqlite3


def load_fact(db: sqlite3.Connection, name: str) -> str | None:
    """Return a fact, or None if it is not there."""
    row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def keep_fact(db: sqlite3.Connection, name: str, value: str | None) -> None:
    """Keep a fact in the place of an earlier one; None removes it."""
    if value is None:
        db.execute("DELETE FROM facts WHERE name = ?", (name,))
    else:
        db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
