"""A table of a TOML file, read key by key, with every mistake named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gpumon.errors import UsageError, hint


class Table:
    """Knows which of its keys were asked for: what is left over at the end is a mistake."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        """``where`` names the table in messages, with its file."""
        self._values = values
        self._asked: set[str] = set()
        self.where = where

    def has(self, key: str) -> bool:
        """Return whether a key is there; it then counts as known."""
        self._asked.add(key)
        return key in self._values

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        value = self._value(key, default)
        if not isinstance(value, str) or any(not c.isprintable() for c in value):
            raise self.wrong(key, "a text")
        return value

    def number(self, key: str, default: float | None = None, *, least: float = 0.0) -> float:
        """Return a number, at least ``least``; without a default it has to be there."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, "a number")
        if not math.isfinite(value) or value < least:
            raise self.wrong(key, f"a number from {least:g}")
        return float(value)

    def array(self, key: str) -> list[Any]:
        """Return a list; empty if the key is not there."""
        value = self._value(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value

    def table(self, key: str) -> Table:
        """Return a table; empty if the key is not there."""
        value = self._value(key, {})
        if not isinstance(value, Mapping):
            raise self.wrong(key, f"a table, [{key}]")
        return Table(value, f"{self.where}: [{key}]")

    def tables(self, key: str) -> list[Table]:
        """Return an array of tables; empty if the key is not there."""
        values = self.array(key)
        if not all(isinstance(value, Mapping) for value in values):
            raise self.wrong(key, f"tables, [[{key}]]")
        return [Table(value, f"{self.where}: [[{key}]] {n}") for n, value in enumerate(values, 1)]

    def keys(self) -> list[str]:
        """Return all keys, which then count as known."""
        self._asked.update(self._values)
        return list(self._values)

    def done(self) -> None:
        """Raise UsageError for a key that nobody asked for."""
        for key in self._values:
            if key not in self._asked:
                known = sorted(self._asked)
                raise UsageError(
                    f"{self.where}: unknown key {key!r}",
                    f"known are {', '.join(known)}{hint(key, known)}",
                )

    def wrong(self, key: str, wanted: str) -> UsageError:
        """Return the error that a key is not what is wanted."""
        said = repr(self._values.get(key))[:60]
        return UsageError(f"{self.where}: {key} is {said}", f"it is {wanted}")

    def _value(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        if key not in self._values and default is None:
            raise UsageError(f"{self.where}: {key} is missing", f"add {key} = …")
        return self._values.get(key, default)
