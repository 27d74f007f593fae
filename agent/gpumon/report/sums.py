"""A report: hours added up by whom they belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from gpumon.report.factors import Factor
from gpumon.report.hours import HourRow, Hours
from gpumon.sources.energy import SENSOR_ERROR

JOULES_PER_KILOWATT_HOUR = 3_600_000.0

UNALLOCATED = "(unallocated)"
UNKNOWN = "(unknown)"

KEYS: dict[str, Callable[[HourRow], str]] = {
    "job": lambda row: row.job.job_id if row.job else UNALLOCATED,
    "user": lambda row: row.job.user or UNKNOWN if row.job else UNALLOCATED,
    "account": lambda row: row.job.account or UNKNOWN if row.job else UNALLOCATED,
    "partition": lambda row: row.job.partition or UNKNOWN if row.job else UNALLOCATED,
    "gpu": lambda row: row.uuid if row.gpu is None else f"{row.gpu} {row.uuid}",
}
"""What a report can be by, and whom an hour then belongs to."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Line:
    """One of whom the report tells. Cost and carbon are None where no factor is known."""

    key: str
    name: str = ""
    energy_joules: float = 0.0
    waste_joules: float = 0.0
    active_seconds: float = 0.0
    idle_seconds: float = 0.0
    cost: float | None = None
    carbon_grams: float | None = None

    @property
    def held_seconds(self) -> float:
        """GPU time that was held, active or not."""
        return self.active_seconds + self.idle_seconds

    @property
    def mean_power_watts(self) -> float | None:
        """Energy over held GPU time: watts of a held GPU."""
        return self.energy_joules / self.held_seconds if self.held_seconds else None

    def add(self, row: HourRow, price: Factor | None, carbon: Factor | None) -> bool:
        """Add an hour, and tell whether its price and carbon are known, where they are wanted."""
        self.energy_joules += row.joules
        self.waste_joules += row.idle_joules
        self.active_seconds += row.active_seconds
        self.idle_seconds += row.idle_seconds
        kilowatt_hours = row.joules / JOULES_PER_KILOWATT_HOUR
        known = True
        for field, factor in (("cost", price), ("carbon_grams", carbon)):
            value = factor.at(row.hour) if factor else None
            if value is not None:
                setattr(self, field, (getattr(self, field) or 0.0) + kilowatt_hours * value)
            known = known and (factor is None or value is not None)
        return known


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Lines by energy, most first, and their total; hours are since 1970, ``until`` excluded.

    ``error_ratio`` is how far off the joules may be; ``without_data_ratio`` the share of the GPUs'
    hours of which the ledger knows nothing; ``unpriced_joules`` those of hours without a factor.
    """

    by: str
    since: int
    until: int
    lines: tuple[Line, ...]
    total: Line
    error_ratio: float
    without_data_ratio: float | None
    unpriced_joules: float
    price: Factor | None = None
    carbon: Factor | None = None


def make_report(
    hours: Hours,
    by: str,
    since: int,
    until: int,
    *,
    price: Factor | None = None,
    carbon: Factor | None = None,
) -> Report:
    """Add up the hours from ``since`` up to, not including, ``until``."""
    lines: dict[str, Line] = {}
    total = Line(key="total")
    unpriced = 0.0
    for row in hours.rows:
        key = KEYS[by](row)
        line = lines.setdefault(key, Line(key=key))
        if by == "job" and row.job:
            line.name = " ".join(filter(None, (row.job.user, row.job.name)))
        line.add(row, price, carbon)
        if not total.add(row, price, carbon):
            unpriced += row.joules
    return Report(
        by=by,
        since=since,
        until=until,
        lines=tuple(sorted(lines.values(), key=lambda line: -line.energy_joules)),
        total=total,
        error_ratio=SENSOR_ERROR,
        without_data_ratio=_without_data(hours, since, until),
        unpriced_joules=unpriced,
        price=price,
        carbon=carbon,
    )


def of_job(rows: Iterable[HourRow], job_id: str) -> list[HourRow]:
    """Return a job's hours."""
    return [row for row in rows if row.job is not None and row.job.job_id == job_id]


def _without_data(hours: Hours, since: int, until: int) -> float | None:
    """Return the share of the GPUs' hours without an entry; None where no GPU is known."""
    wanted = len(hours.gpus) * (until - since)
    if not wanted:
        return None
    known = {(row.uuid, row.hour) for row in hours.rows if row.uuid in hours.gpus}
    return round(1 - len(known) / wanted, 6)
