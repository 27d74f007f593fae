"""Which times in the state file are of a clock that was wrong.

A note of the chronicle of the kind ``clock`` may carry a state: from here on the clock is wrong,
and how; or it is right again, and between which times, by its own reckoning, it was not. There may
be several such spans, since it may have been set while it was wrong. Until then a fact says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from gpumon.statedb.facts import keep_fact, load_fact

WRONG = "wrong"
"""Begins the state of a clock that is wrong; what is wrong with it follows."""

RIGHT = "right"
"""Begins the state of one that is right again; the spans in which it was not follow."""

_SPANS = "clock_wrong_spans"
"""The fact that says so while it is wrong."""

Span = tuple[float, float]
"""From when until when (unix seconds of the clock itself)."""


class WrongSpan(NamedTuple):
    """From when until when (unix seconds of the clock itself) it was wrong, and how."""

    since: float
    until: float
    how: str


def words_of(spans: Iterable[Span]) -> str:
    """Return spans as they are written down."""
    return " ".join(f"{moment:.3f}" for span in spans for moment in span)


def keep_spans(db: sqlite3.Connection, spans: str) -> None:
    """Keep what is known so far of a clock that is wrong; empty once it is right."""
    keep_fact(db, _SPANS, spans or None)


def load_wrong_clock(db: sqlite3.Connection) -> tuple[str, list[Span]]:
    """Return what was wrong with the clock as the last agent ended, and when; empty if nothing."""
    row = db.execute(
        "SELECT state FROM chronicle WHERE kind = 'clock' AND state != '' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    word, _, how = row[0].partition(" ") if row else ("", "", "")
    return (how, _spans(load_fact(db, _SPANS) or "")) if word == WRONG else ("", [])


def load_wrong_spans(db: sqlite3.Connection) -> list[WrongSpan]:
    """Return when the clock was wrong, oldest first; the last may not have ended."""
    found: list[WrongSpan] = []
    begun: tuple[float, list[str]] | None = None
    rows = db.execute(
        "SELECT time, state FROM chronicle WHERE kind = 'clock' AND state != '' ORDER BY id"
    )
    for time, state in rows:
        word, _, rest = state.partition(" ")
        if word == WRONG:
            since, hows = begun or (time, [])
            begun = since, [*hows, *([rest] if rest not in hows else [])]
        elif begun is not None:
            since, hows = begun
            spans = _spans(rest) or [(since, max(since, time))]
            found += [WrongSpan(*span, ", ".join(hows)) for span in spans]
            begun = None
    if begun is not None:
        since, hows = begun
        *past, last = _spans(load_fact(db, _SPANS) or "") or [(since, since)]
        spans = [*past, (last[0], float("inf"))]
        found += [WrongSpan(*span, ", ".join(hows)) for span in spans]
    return found


def _spans(words: str) -> list[Span]:
    try:
        numbers = [float(word) for word in words.split()]
    except ValueError:
        return []
    return list(zip(numbers[::2], numbers[1::2], strict=False))
