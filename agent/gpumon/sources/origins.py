"""The numbers of the tables that say where a source's readings come from."""

from __future__ import annotations

import threading

from gpumon.model.origins import Origins


class OriginTables:
    """Numbers each distinct table, from 1; the threads of a source share one."""

    def __init__(self) -> None:
        """Begin with no table."""
        self._numbers: dict[tuple[tuple[str, str], ...], int] = {}
        self._tables: dict[int, Origins] = {}
        self._lock = threading.Lock()

    def number(self, table: Origins) -> int:
        """Return the number of a table; equal tables have one."""
        content = tuple(table.items())
        with self._lock:
            number = self._numbers.get(content)
            if number is None:
                number = self._numbers[content] = len(self._numbers) + 1
                # Replaced and not changed: whoever was given the tables may be looking at them.
                self._tables = {**self._tables, number: dict(table)}
            return number

    @property
    def tables(self) -> dict[int, Origins]:
        """The tables by their number."""
        return self._tables
