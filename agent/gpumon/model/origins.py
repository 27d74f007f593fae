"""Where each value was read from: the field, call or column that was used, in words.

A source makes one table for each distinct way in which it reads a GPU and numbers it. A reading
carries the number, a snapshot the tables, so that a value and its origin never part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Origins = Mapping[str, str]
"""Words by the name of a value; empty for a value that was asked for without success."""

NODE = 0
"""The number of the table of the node's own readings (host, node power)."""

EVERY = "*"
"""The name that stands for every value a table does not name."""

MIG = "mig."
"""What the names of a MIG instance's values begin with."""

DERIVED = "gpumon"
"""The origin of a value that gpumon works out from others, or remembers."""

NOT_REPORTED = "not reported"
"""The origin of a value whose source (an older agent or recording) does not name any."""


def value_name(field: str, key: tuple[str, ...] = ()) -> str:
    """Return the name of a value: its field and its label values, as ``clock_hertz.sm``."""
    return ".".join((field, *key))


def table_of(origins: Iterable[tuple[str, tuple[str, ...], str]]) -> dict[str, str]:
    """Return a table of (field, label values, words); a field whose values agree is one name."""
    by_field: dict[str, dict[tuple[str, ...], str]] = {}
    for field, key, words in origins:
        by_field.setdefault(field, {})[key] = words
    table: dict[str, str] = {}
    for field, values in by_field.items():
        if len({*values.values()}) == 1:
            table[field] = next(iter(values.values()))
        else:
            table.update({value_name(field, key): words for key, words in values.items()})
    return table


def origin_of(table: Origins | None, field: str, key: tuple[str, ...] = ()) -> str:
    """Return where a value was read from; the table of one that has none is None."""
    if table is None:
        return NOT_REPORTED
    # The last label may be one that nobody could list, as a link's number.
    names = (value_name(field, key[:end]) for end in range(len(key), -1, -1))
    named = next((table[name] for name in names if table.get(name)), "")
    return named or table.get(EVERY) or DERIVED


def unanswered(table: Origins | None) -> list[str]:
    """Return the fields that were asked for and not answered."""
    return [name for name, words in (table or {}).items() if not words]
