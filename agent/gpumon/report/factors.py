"""What a kilowatt-hour costs, or emits, at each hour."""

from __future__ import annotations

import bisect
import csv
import dataclasses
import math
from pathlib import Path

from gpumon.errors import UsageError
from gpumon.times import parse_time


@dataclasses.dataclass(frozen=True, slots=True)
class Factor:
    """A value for each hour since 1970: constant, or from each of ``hours`` on its own.

    ``source`` says where it is from. Before the first of ``hours`` nothing is known.
    """

    source: str
    values: tuple[float, ...]
    hours: tuple[int, ...] = ()

    def at(self, hour: int) -> float | None:
        """Return the value that holds in an hour, or None where none is known."""
        if not self.hours:
            return self.values[0]
        position = bisect.bisect_right(self.hours, hour)
        return self.values[position - 1] if position else None


def parse_factor(text: str, option: str) -> Factor:
    """Return the factor that a number, or the name of a file of hours, says.

    The file is CSV with a header and two columns: a time (RFC 3339, with its zone) and the value
    from that hour on. Raises UsageError.
    """
    try:
        value = float(text)
    except ValueError:
        return _from_file(Path(text), option)
    if not math.isfinite(value):
        raise UsageError(f"{option} {text!r}", "it is a number, or a CSV file of hours")
    return Factor(f"{text}, as given", (value,))


def _from_file(path: Path, option: str) -> Factor:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{option} {str(path)!r} is neither a number nor a file that can be read ({error})"
        ) from None
    found: dict[int, float] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            found[_hour(line[0])] = _finite(line[1])
        except (ValueError, IndexError):
            raise UsageError(
                f"{path}, line {number}: {','.join(line)!r}",
                "a line is a full hour with its zone and a number: 2026-11-24T13:00:00+01:00,0.28",
            ) from None
    if not found:
        raise UsageError(f"{path} has no hours", "after its header a line is a time and a number")
    hours = sorted(found)
    return Factor(str(path), tuple(found[hour] for hour in hours), tuple(hours))


def _hour(text: str) -> int:
    if not text.rstrip().endswith("Z") and "+" not in text and text.count("-") < 3:
        raise ValueError("no zone")
    seconds = parse_time(text.strip())
    if seconds % 3600:
        raise ValueError("not a full hour")
    return int(seconds // 3600)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
