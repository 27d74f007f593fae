"""What a kilowatt-hour costs, or emits, at each hour; and PUE, likewise."""

from __future__ import annotations

import bisect
import csv
import dataclasses
import datetime as dt
import math
from pathlib import Path
from typing import Protocol

from gpumon.errors import UsageError
from gpumon.times import parse_time

HOUR_SECONDS = 3600
DAY_SECONDS = 86400.0
YEARLY_SECONDS = 400 * DAY_SECONDS
"""How old a contract or a year's mean may be: a year, and a month to replace it."""

HOURLY_SECONDS = 2 * 3600.0
"""How old the value of an hour may be: its own hour, and one for the next to arrive."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Factor(Protocol):
    """A value for each hour since 1970; ``source`` says where it is from."""

    @property
    def source(self) -> str:
        """The origin of the values, with their date if they have one."""
        ...

    @property
    def varies(self) -> bool:
        """Whether it depends on the hour."""
        ...

    @property
    def lifetime(self) -> float:
        """How old it may be, in seconds, before it is out of date."""
        ...

    def at(self, hour: int) -> float | None:
        """Return the value that holds in an hour, or None if none is known."""
        ...

    def known_since(self, time: float) -> float | None:
        """Return from when (unix seconds) the value at a time is; None if that is not said."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Constant:
    """The same at all hours; ``since`` is of when it is (unix seconds)."""

    source: str
    value: float
    since: float | None = None
    varies: bool = False
    lifetime: float = YEARLY_SECONDS

    def at(self, hour: int) -> float | None:
        """Return the value."""
        return self.value

    def known_since(self, time: float) -> float | None:
        """Return of when it is."""
        return self.since


@dataclasses.dataclass(frozen=True, slots=True)
class ByHour:
    """From each of ``hours`` on the value of the same place; before the first nothing is known."""

    source: str
    hours: tuple[int, ...]
    values: tuple[float, ...]
    varies: bool = True
    lifetime: float = HOURLY_SECONDS

    def at(self, hour: int) -> float | None:
        """Return the value that holds in an hour."""
        position = bisect.bisect_right(self.hours, hour)
        return self.values[position - 1] if position else None

    def known_since(self, time: float) -> float | None:
        """Return when the value that holds began."""
        position = bisect.bisect_right(self.hours, int(time // HOUR_SECONDS))
        return float(self.hours[position - 1] * HOUR_SECONDS) if position else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A value in some months, on some days (0 is Monday), in some hours of local time."""

    value: float
    months: frozenset[int]
    weekdays: frozenset[int]
    hours: frozenset[int]

    def holds(self, moment: dt.datetime) -> bool:
        """Return whether a moment lies in it."""
        return (
            moment.month in self.months
            and moment.weekday() in self.weekdays
            and moment.hour in self.hours
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Tariff:
    """By local time: the first of ``periods`` that holds, else ``otherwise``."""

    source: str
    zone: dt.tzinfo
    periods: tuple[Period, ...]
    otherwise: float
    since: float | None = None
    varies: bool = True
    lifetime: float = YEARLY_SECONDS

    def at(self, hour: int) -> float | None:
        """Return the value in an hour."""
        moment = dt.datetime.fromtimestamp(hour * HOUR_SECONDS, self.zone)
        return next((p.value for p in self.periods if p.holds(moment)), self.otherwise)

    def known_since(self, time: float) -> float | None:
        """Return of when the tariff is."""
        return self.since


def parse_factor(text: str, option: str) -> Factor:
    """Return the factor that a number, or the name of a file of hours, says.

    The file is CSV with a header and two columns: a time (RFC 3339, with its zone) and the value
    from that hour on. Raises UsageError.
    """
    try:
        value = float(text)
    except ValueError:
        return read_hours(Path(text), option)
    if not math.isfinite(value) or value < 0:
        raise UsageError(f"{option} {text!r}", "it is a number from 0, or a CSV file of hours")
    return Constant(f"{text}, as given", value)


def read_hours(path: Path, option: str) -> ByHour:
    """Return what a file of hours says; UsageError, with the line, where it is none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{option} {str(path)!r} is neither a number nor a file that can be read ({error})"
        ) from None
    found: dict[int, float] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            found[_hour(line[0])] = _amount(line[1])
        except (ValueError, IndexError):
            raise UsageError(
                f"{path}, line {number}: {','.join(line)!r}",
                "a line is a full hour with its zone and a number: 2026-11-24T13:00:00+01:00,0.28",
            ) from None
    if not found:
        raise UsageError(f"{path} has no hours", "after its header a line is a time and a number")
    hours = sorted(found)
    return ByHour(str(path), tuple(hours), tuple(found[hour] for hour in hours))


def _hour(text: str) -> int:
    if not text.rstrip().endswith("Z") and "+" not in text and text.count("-") < 3:
        raise ValueError("no zone")
    seconds = parse_time(text.strip())
    if seconds % HOUR_SECONDS:
        raise ValueError("not a full hour")
    return int(seconds // HOUR_SECONDS)


def _amount(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
