"""Counters' values at the ends of hours, as what was counted in each hour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

Key = tuple[str, ...]


class HourSpan(NamedTuple):
    """Hours since 1970 from ``start`` up to, not including, ``end``, seen as one."""

    start: int
    end: int

    @property
    def hours(self) -> int:
        """How many they are."""
        return self.end - self.start


class SpanCounter:
    """Turns a counter's values at the ends of spans into what was counted in each span."""

    def __init__(self, *, begins_at_zero: bool) -> None:
        """``begins_at_zero`` if a series that was not there before has counted from nothing."""
        self._begins_at_zero = begins_at_zero
        self._last: dict[Key, tuple[int, float]] = {}

    def begin(self, key: Key, end: int, value: float) -> None:
        """Take a value from before the first span, which ended at hour ``end``."""
        self._last[key] = (end, value)

    def count(
        self, key: Key, span: HourSpan, value: float, *, anew: bool
    ) -> list[tuple[int, float]]:
        """Return (first hour, amount) of the spans that a value at the end of ``span`` covers.

        What was counted over spans without a value is divided evenly among them. ``anew`` if a
        series was away and is known to have begun again.
        """
        last = self._last.get(key)
        self._last[key] = (span.end, value)
        if last is None:
            return [(span.start, value)] if self._begins_at_zero else []
        end, before = last
        if end == span.start and value >= before:  # as nearly always
            return [(end, value - before)]
        if value < before or (anew and end < span.start):
            return [(span.start, value)]
        return list(_spread(end, span, value - before))

    def away(self, key: Key, span: HourSpan) -> range:
        """Return the hours before a span in which a series had no value."""
        last = self._last.get(key)
        return range(last[0], span.start) if last else _NO_HOURS


_NO_HOURS = range(0)


def _spread(end: int, span: HourSpan, amount: float) -> Iterator[tuple[int, float]]:
    """Divide an amount over the hours from ``end`` to a span's end, in pieces of its length."""
    whole = span.end - end
    starts = [*range(span.start, end - 1, -span.hours)][::-1] or [span.start]
    if starts[0] > end:
        starts.insert(0, end)
    for start, until in zip(starts, (*starts[1:], span.end), strict=True):
        yield start, amount * (until - start) / whole
