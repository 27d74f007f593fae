"""A report: hours added up by owner."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from gpumon.ledger.hours import ActiveLine, Demand, HourRow, Hours
from gpumon.site.factors import Factor

JOULES_PER_KILOWATT_HOUR = 3_600_000.0

UNALLOCATED = "(unallocated)"
UNKNOWN = "(unknown)"

KEYS: dict[str, Callable[[HourRow], str]] = {
    "job": lambda row: row.job.job_id if row.job else UNALLOCATED,
    "user": lambda row: row.job.user or UNKNOWN if row.job else UNALLOCATED,
    "account": lambda row: row.job.account or UNKNOWN if row.job else UNALLOCATED,
    "partition": lambda row: row.job.partition or UNKNOWN if row.job else UNALLOCATED,
    "gpu": lambda row: row.uuid if row.gpu is None else f"{row.gpu} {row.uuid}",
    "node": lambda row: row.node or UNKNOWN,
    "rack": lambda row: row.place.get("rack", UNKNOWN),
}
"""What a report can be grouped by, and the group that an hour then belongs to."""

BOUNDARIES = ("gpu", "node", "facility")
"""The devices; all behind the node's power supplies; the node times PUE. Never mixed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is charged: a boundary, and what a kilowatt-hour costs and emits by the hour."""

    boundary: str = "gpu"
    price: Factor | None = None
    carbon: Factor | None = None
    pue: Factor | None = None

    def share(self, row: HourRow) -> float | None:
        """Return by what a row's joules are multiplied at the boundary; None if not known."""
        if self.boundary == "gpu":
            return 0.0 if row.method else 1.0
        if self.boundary == "node":
            return 1.0
        return self.pue.at(row.hour) if self.pue else None


@dataclasses.dataclass(slots=True, kw_only=True)
class Line:
    """One row of the report.

    Joules are the GPUs' own, ``held_joules`` those of them that a job pays for; ``host_joules``
    what the node drew beyond them, of which ``estimated_joules`` are not measured;
    ``facility_joules`` all of it times PUE. Cost and carbon are None if no factor is known.
    """

    key: str
    name: str = ""
    energy_joules: float = 0.0
    host_joules: float = 0.0
    estimated_joules: float = 0.0
    facility_joules: float | None = None
    held_joules: float = 0.0
    waste_joules: float = 0.0
    active_seconds: float = 0.0
    idle_seconds: float = 0.0
    cost: float | None = None
    carbon_grams: float | None = None

    @property
    def node_joules(self) -> float:
        """GPUs and what the node drew beyond them."""
        return self.energy_joules + self.host_joules

    @property
    def held_seconds(self) -> float:
        """GPU time that was held, active or not."""
        return self.active_seconds + self.idle_seconds

    @property
    def mean_power_watts(self) -> float | None:
        """Watts of a held GPU, while it was held."""
        return self.held_joules / self.held_seconds if self.held_seconds else None

    def add(self, row: HourRow, terms: Terms) -> bool:
        """Add an hour, and return whether all wanted factors are known for it."""
        self._add_energy(row)
        if terms.pue:
            self._grow("facility_joules", row.joules, terms.pue.at(row.hour))
        share = terms.share(row)
        if share == 0.0:
            return True
        known = share is not None
        kilowatt_hours = row.joules * (share or 0.0) / JOULES_PER_KILOWATT_HOUR
        for field, factor in (("cost", terms.price), ("carbon_grams", terms.carbon)):
            value = factor.at(row.hour) if factor else None
            if known:
                self._grow(field, kilowatt_hours, value)
            known = known and (factor is None or value is not None)
        return known

    def _add_energy(self, row: HourRow) -> None:
        if row.method:
            self.host_joules += row.joules
            self.estimated_joules += row.joules if row.method == "estimated" else 0.0
            return
        self.energy_joules += row.joules
        self.held_joules += row.joules if row.job else 0.0
        self.waste_joules += row.idle_joules
        self.active_seconds += row.active_seconds
        self.idle_seconds += row.idle_seconds

    def _grow(self, field: str, amount: float, value: float | None) -> None:
        if value is not None:
            setattr(self, field, (getattr(self, field) or 0.0) + amount * value)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Lines by energy, most first, and their total; hours are since 1970, ``until`` excluded.

    ``error_ratio`` is how far off the GPUs' joules may be; ``without_data_ratio`` the share of the
    hours of which nothing is known, ``missing`` on which nodes; ``unpriced_joules`` those of hours
    without a factor. ``host_known_ratio`` is the share of the GPUs' joules drawn in hours in which
    it is known what their node drew beyond them. ``by_hour`` are the GPUs' joules of each hour,
    ``active_lines`` say from which activity on a held GPU was active.
    """

    by: str
    since: int
    until: int
    lines: tuple[Line, ...]
    total: Line
    terms: Terms
    error_ratio: float
    without_data_ratio: float | None
    missing: tuple[str, ...]
    unpriced_joules: float
    host_known_ratio: float
    demands: Mapping[str, Demand]
    by_hour: Mapping[int, float]
    active_lines: tuple[ActiveLine, ...]


def make_report(hours: Hours, by: str, since: int, until: int, terms: Terms) -> Report:
    """Add up the hours from ``since`` up to, not including, ``until``."""
    lines: dict[str, Line] = {}
    total = Line(key="total")
    unpriced = 0.0
    by_hour: dict[int, float] = {}
    for row in hours.rows:
        if not total.add(row, terms):
            unpriced += row.joules
        if not row.method:
            by_hour[row.hour] = by_hour.get(row.hour, 0.0) + row.joules
        elif by == "gpu":
            continue  # what a node draws beyond its GPUs is no GPU's
        key = KEYS[by](row)
        line = lines.setdefault(key, Line(key=key))
        if by == "job" and row.job:
            line.name = " ".join(filter(None, (row.job.user, row.job.name)))
        line.add(row, terms)
    return Report(
        by=by,
        since=since,
        until=until,
        lines=tuple(sorted(lines.values(), key=lambda line: (-line.energy_joules, line.key))),
        total=total,
        terms=terms,
        error_ratio=hours.error_ratio,
        without_data_ratio=hours.without_data_ratio,
        missing=hours.missing,
        unpriced_joules=unpriced,
        host_known_ratio=_host_known(hours.rows),
        demands=hours.demands,
        active_lines=hours.active_lines,
        by_hour=dict(sorted(by_hour.items())),
    )


def of_job(hours: Hours, job_id: str, *, recorded: bool = False) -> Hours:
    """Return a job's hours; what nobody has and what is missing is not its business.

    But of a recording (``recorded``), whose GPUs are the job's.
    """
    rows = tuple(row for row in hours.rows if row.job is not None and row.job.job_id == job_id)
    if recorded:
        return dataclasses.replace(hours, rows=rows, demands={})
    return Hours(rows=rows, error_ratio=hours.error_ratio, active_lines=hours.active_lines)


def _host_known(rows: Iterable[HourRow]) -> float:
    rows = list(rows)
    known = {(row.node, row.hour) for row in rows if row.method}
    gpus = [row for row in rows if not row.method]
    total = sum(row.joules for row in gpus)
    there = sum(row.joules for row in gpus if (row.node, row.hour) in known)
    return there / total if total else 0.0
