"""The one place that writes JSON and CSV: what is not a finite number is null, or an empty cell.

Python's ``json`` writes ``NaN`` and ``Infinity``, which no reader of JSON takes (RFC 8259, section
6). A lint rule keeps ``json.dumps`` out of every other module.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SCHEMA = 1
"""Raised if a key changes its meaning or goes; new keys do not raise it."""


def json_text(document: Mapping[str, Any]) -> str:
    """Return a document as ``-o json`` prints it, with the number of its schema."""
    return json_of({"schema": SCHEMA, **document}, pretty=True) + "\n"


def json_line(document: Mapping[str, Any]) -> str:
    """Return a document on one line, as recordings, ``-o ndjson`` and the HTTP API have it."""
    return json_of({"schema": SCHEMA, **document}) + "\n"


def json_of(value: Any, *, pretty: bool = False) -> str:
    """Return JSON whose form another program prescribes, or that is for gpumon alone.

    It can be encoded whatever a process or a job is called.
    """
    try:
        text = _text(value, pretty=pretty)
    except ValueError:
        # Seldom: looking for such a number each time would cost more than writing does.
        text = _text(_known(value), pretty=pretty)
    if not text.isascii():
        # A name that was no UTF-8 holds halves of surrogate pairs, which cannot be encoded.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def csv_text(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, header: bool = True
) -> str:
    """Return rows as CSV; what a row does not know, and what is not a number, is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    if header and columns:
        writer.writeheader()
    writer.writerows(_known(row) for row in rows)
    return text.getvalue()


def _text(value: Any, *, pretty: bool) -> str:
    """Return the text; ValueError if it has a number that is not finite."""
    separators = None if pretty else (",", ":")
    return json.dumps(
        value,
        allow_nan=False,
        ensure_ascii=False,
        indent=2 if pretty else None,
        separators=separators,
    )


def _known(value: Any) -> Any:
    """Return a value with None for each number in it that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _known(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_known(inner) for inner in value]
    return value
