"""A power meter's own account of the same time, and what of it is explained."""

from __future__ import annotations

import bisect
import csv
import dataclasses
import gzip
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from gpumon.errors import UnavailableError, UsageError
from gpumon.sources.energy import SENSOR_ERROR
from gpumon.times import parse_time

METER_ERROR = 0.01
"""What a meter is taken to be off by if nobody says: class 1 of IEC 62053-21."""

_TIMES: dict[str, Callable[[str], float]] = {
    "unix_ms": lambda text: float(text) / 1000,
    "unix_seconds": float,
    "time": parse_time,
}
_VALUES = {
    "power_watts": ("power", 1.0),
    "power_kilowatts": ("power", 1000.0),
    "energy_joules": ("energy", 1.0),
    "energy_kilowatt_hours": ("energy", 3_600_000.0),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """Joules counted up to each of some moments (unix seconds), in order."""

    points: Sequence[tuple[float, float]]

    @property
    def since(self) -> float:
        """The first moment."""
        return self.points[0][0]

    @property
    def until(self) -> float:
        """The last moment."""
        return self.points[-1][0]

    def between(self, since: float, until: float) -> float:
        """Return the joules between two moments, taking power as constant between points."""
        return self._at(until) - self._at(since)

    def _at(self, moment: float) -> float:
        position = bisect.bisect_left(self.points, (moment, -math.inf))
        if position == 0:
            return self.points[0][1]
        if position == len(self.points):
            return self.points[-1][1]
        (t0, j0), (t1, j1) = self.points[position - 1 : position + 1]
        return j0 + (j1 - j0) * (moment - t0) / (t1 - t0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What was reckoned and what was metered over the same time, each with its interval (joules).

    ``agrees`` if the intervals meet: only for a meter on the same boundary does that say that
    the joules are right. ``explained_ratio`` is the share of the metered that was reckoned.
    """

    since: float
    until: float
    boundary: str
    joules: float
    interval: tuple[float, float]
    meter: str
    meter_joules: float
    meter_interval: tuple[float, float]
    grounds: tuple[str, ...] = ()

    @property
    def explained_ratio(self) -> float | None:
        """Reckoned over metered."""
        return self.joules / self.meter_joules if self.meter_joules else None

    @property
    def agrees(self) -> bool:
        """Whether the two intervals meet."""
        return (
            self.interval[0] <= self.meter_interval[1]
            and self.meter_interval[0] <= self.interval[1]
        )


def interval_of(joules: float, gain_error: float, edge_joules: float = 0.0) -> tuple[float, float]:
    """Return between what the true joules lie, for a sensor whose gain is off by a ratio at most.

    A reading is gain times truth, so truth is the reading over the gain; ``edge_joules`` may
    belong to before or after.
    """
    low = max(0.0, joules - edge_joules) / (1 + gain_error)
    return low, (joules + edge_joules) / (1 - gain_error)


def read_meter(path: Path) -> Curve:
    """Read a meter's CSV, plain or gzip: a column of time and one of power or counted energy.

    Raises UnavailableError if it cannot be read and UsageError, with the line, if it is not one.
    """
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with (gzip.open if compressed else open)(path, "rt", newline="", encoding="utf-8-sig") as f:
            return _curve(path, list(csv.reader(f)))
    except (OSError, EOFError) as error:
        raise UnavailableError(
            f"cannot read the meter's {path} ({error})", "check --meter"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not CSV ({error})", "check --meter") from None


def _curve(path: Path, lines: list[list[str]]) -> Curve:
    header = [cell.strip() for cell in lines[0]] if lines else []
    time_at = next((i for i, name in enumerate(header) if name in _TIMES), None)
    value_at = next((i for i, name in enumerate(header) if name in _VALUES), None)
    if time_at is None or value_at is None:
        raise UsageError(
            f"{path}: its header is {', '.join(header)[:80]!r}",
            f"name a column {', '.join(_TIMES)} and one {', '.join(_VALUES)}",
        )
    kind, factor = _VALUES[header[value_at]]
    readings = []
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            time, value = _TIMES[header[time_at]](line[time_at]), float(line[value_at]) * factor
        except (ValueError, IndexError):
            time = value = math.nan
        if not math.isfinite(time + value):
            raise UsageError(
                f"{path}, line {number}: {','.join(line)[:60]!r}",
                f"a line has {header[time_at]} and {header[value_at]}",
            )
        readings.append((time, value))
    readings.sort()
    if len(readings) < 2:
        raise UsageError(f"{path} has fewer than two readings", "give it a longer log of the meter")
    return Curve(readings) if kind == "energy" else integral_of(readings)


def integral_of(readings: Sequence[tuple[float, float]]) -> Curve:
    """Return the joules of readings of power (unix seconds, watts), by the trapezoid rule."""
    points = [(readings[0][0], 0.0)]
    for (t0, w0), (t1, w1) in itertools.pairwise(readings):
        if t1 > t0:
            points.append((t1, points[-1][1] + (t1 - t0) * (w0 + w1) / 2))
    return Curve(points)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reckoned:
    """Our own account: joules at a boundary, and how far off they may be.

    ``edge_joules`` may belong to before or after; ``unknown_joules`` may have been drawn, at most,
    while nobody measured; ``grain`` (seconds) is what the account cannot be divided below.
    """

    curve: Curve
    boundary: str
    gain_error: float
    edge_joules: float = 0.0
    unknown_joules: float = 0.0
    grain: float = 0.0


def reconcile(
    ours: Reckoned, theirs: Curve, meter: str, meter_error: float = METER_ERROR
) -> Reconciliation:
    """Hold two accounts against each other over the time that both cover.

    Raises UsageError if there is none.
    """
    since, until = max(ours.curve.since, theirs.since), min(ours.curve.until, theirs.until)
    if ours.grain:
        since = -(-since // ours.grain) * ours.grain
        until = until // ours.grain * ours.grain
    if until <= since:
        raise UsageError(
            f"{meter} covers another time than what was asked for",
            "check its clock and zone, for a log also with tz=+01:00; of hours, whole ones count",
        )
    joules, metered = ours.curve.between(since, until), theirs.between(since, until)
    grounds = [f"sensors' gain within {SENSOR_ERROR:.0%} (arXiv 2312.02741)"]
    if ours.gain_error > SENSOR_ERROR:
        grounds.append(
            f"{ours.gain_error:.0%} in all, as power may be samples that see a quarter of the time"
        )
    if ours.edge_joules:
        grounds.append(
            f"readings are means over up to a second before: {ours.edge_joules:.0f} J at the edges"
        )
    if ours.unknown_joules:
        grounds.append(
            f"without data for a part of the time: up to {ours.unknown_joules:.0f} J more or less"
        )
    grounds.append(f"meter within {meter_error:.1%}")
    return Reconciliation(
        since=since,
        until=until,
        boundary=ours.boundary,
        joules=joules,
        interval=interval_of(joules, ours.gain_error, ours.edge_joules + ours.unknown_joules),
        meter=meter,
        meter_joules=metered,
        meter_interval=(metered * (1 - meter_error), metered * (1 + meter_error)),
        grounds=tuple(grounds),
    )
