"""Hours out of a recording: the ledger keeps its books over what is played."""

from __future__ import annotations

import dataclasses

from gpumon.clock import SYSTEM
from gpumon.ledger import Ledger
from gpumon.ledger.account import Account, JobAccount
from gpumon.ledger.hours import HOUR_SECONDS, ActiveLine, Demand, HourRow, Hours
from gpumon.ledger.ledger import HOST, Books, OpenJob
from gpumon.model import Allocation, Holding, Job, Snapshot
from gpumon.report.coverage import Coverage
from gpumon.report.meter import Curve
from gpumon.sources.energy import WINDOW_SECONDS
from gpumon.sources.replay.source import ReplaySource
from gpumon.sources.spec import SourceSpec
from gpumon.workloads.processes.processes import Processes

STEP_SECONDS = 0.1
"""The step at which a recording is played, if it is that fine: the boards' own refresh."""

QUARTER_SECONDS = 900


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """A recording's hours, its span (unix seconds), and its joules over time.

    ``edge_joules`` is how much of what was drawn just before the span may be in it, or lack at its
    end: a reading is a mean over a time before it, up to a second. ``unknown_joules`` is what may
    have been drawn, at most, while there was no data.
    """

    hours: Hours
    since: float
    until: float
    curve: Curve
    edge_joules: float
    unknown_joules: float


def load_recording(spec: SourceSpec, active_ratio: float, node: str = "") -> Recorded:
    """Play a recording into a ledger; raises what opening and reading it raise.

    From ``active_ratio`` on a held GPU is active. ``node`` is what the node is called if the
    recording does not say.
    """
    source = ReplaySource(spec, SYSTEM)
    journal = _Journal()
    ledger = Ledger(Books(), journal, active_ratio=active_ratio)
    holders = _Holders()
    coverage = Coverage()
    points: list[tuple[float, float]] = []
    gpus: dict[str, int] = {}
    error, lowest, highest, mean = 0.0, float("inf"), 0.0, False
    for snapshot in source.play(STEP_SECONDS):
        node = snapshot.node or node
        ledger.update(snapshot, holders.allocation(snapshot), snapshot.time, _beyond_gpus(snapshot))
        coverage.add(snapshot)
        points.append((snapshot.time, journal.millijoules / 1000))
        gpus.update({gpu.identity.uuid: gpu.identity.index for gpu in snapshot.gpus})
        errors = [gpu.energy_error_ratio for gpu in snapshot.gpus if gpu.up]
        error = max(error, *(ratio or 0.0 for ratio in errors), 0.0)
        mean = mean or any(
            g.energy_info and g.energy_info.method == "integral" for g in snapshot.gpus
        )
        watts = sum(gpu.power_watts or 0.0 for gpu in snapshot.gpus)
        lowest, highest = min(lowest, watts), max(highest, watts)
    remarks = source.remarks
    source.close()
    coverage.forget({gpu.identity.uuid for gpu in snapshot.gpus})
    since, until = points[0][0], points[-1][0]
    curve = Curve(tuple(points))
    hours = Hours(
        rows=tuple(_rows(journal, gpus, node)),
        demands=_demands(curve),
        without_data_ratio=coverage.without_data_ratio(since, until),
        missing=(*coverage.remarks(since, until), *(_sentence(remark) for remark in remarks)),
        error_ratio=error,
        active_lines=(ActiveLine(since, active_ratio),),
    )
    # A trailing mean over w moves at most w/2 times the swing of power across an edge.
    edge = WINDOW_SECONDS / 2 * (highest - lowest) if mean else 0.0
    return Recorded(hours, since, until, curve, edge, coverage.unknown_joules(since, until))


def _sentence(remark: str) -> str:
    return f"{remark[:1].upper()}{remark[1:]}"


class _Journal:
    """Keeps the hours only; see ``gpumon.ledger.ledger.Journal``."""

    def __init__(self) -> None:
        self.sums: dict[tuple[int, str, str, str], list[int]] = {}
        self.jobs: dict[str, Job] = {}
        self.millijoules = 0

    def hourly(self, key: tuple[int, str, str, str], sums: tuple[int, int, int, int]) -> None:
        held = self.sums.setdefault(key, [0, 0, 0, 0])
        for at, more in enumerate(sums):
            held[at] += more
        self.millijoules += 0 if key[1] == HOST else sums[0]

    def quarterly(self, quarter: int, millijoules: int, *, host: bool) -> None:
        """Not needed."""

    def account(self, account: Account) -> None:
        """Not needed."""

    def job_account(self, job: OpenJob, uuid: str, account: JobAccount) -> None:
        """Not needed."""

    def job(self, job: OpenJob, *, shown: bool) -> None:
        self.jobs[job.job.job_id] = job.job

    def active_line(self, time: float, ratio: float) -> None:
        """One line holds for all of it."""

    def node(self, millijoules: int) -> None:
        """Hours have it."""

    def commit(self, time: float) -> None:
        """Nothing is written."""


class _Holders:
    """Who holds what, as the recording says: its jobs, else its processes."""

    def __init__(self) -> None:
        self._processes = Processes()
        self._known: dict[str, Job] = {}

    def allocation(self, snapshot: Snapshot) -> Allocation | None:
        told = {reading.job.job_id: reading.job for reading in snapshot.ledger.jobs}
        if not told and not any(gpu.jobs for gpu in snapshot.gpus):
            return self._of_processes(snapshot)
        return Allocation(
            jobs=told,
            holdings=tuple(
                Holding(job_id=job_id, uuid=gpu.identity.uuid)
                for gpu in snapshot.gpus
                for job_id in gpu.jobs
            ),
        )

    def _of_processes(self, snapshot: Snapshot) -> Allocation | None:
        found = self._processes.allocation(snapshot.gpus, self._known, snapshot.time)
        if found is not None:
            self._known.update(found.jobs)
        return found


def _beyond_gpus(snapshot: Snapshot) -> tuple[str, float] | None:
    """Return how what the node drew beyond its GPUs is known, and in watts."""
    for (method, _), watts in (snapshot.host.power_watts or {}).items():
        gpus = sum(gpu.power_watts or 0.0 for gpu in snapshot.gpus)
        return method, max(0.0, watts - gpus)
    return None


def _rows(journal: _Journal, gpus: dict[str, int], node: str) -> list[HourRow]:
    return [
        HourRow(
            hour=hour,
            node=node,
            uuid="" if uuid == HOST else uuid,
            gpu=gpus.get(uuid),
            job=journal.jobs.get(job_id),
            method=reason if uuid == HOST else "",
            reason="" if uuid == HOST else reason,
            joules=sums[0] / 1000,
            idle_joules=sums[1] / 1000,
            active_seconds=sums[2] / 1000,
            idle_seconds=sums[3] / 1000,
        )
        for (hour, uuid, job_id, reason), sums in sorted(journal.sums.items())
    ]


def _demands(curve: Curve) -> dict[str, Demand]:
    """Return the highest quarter of an hour; none if the recording is shorter."""
    first = -int(-curve.since // QUARTER_SECONDS)
    last = int(curve.until // QUARTER_SECONDS)
    quarters = [
        Demand(begin, curve.between(begin, begin + QUARTER_SECONDS) / QUARTER_SECONDS)
        for begin in (quarter * QUARTER_SECONDS for quarter in range(first, last))
    ]
    return {"gpu": max(quarters, key=lambda demand: demand.watts)} if quarters else {}


def hours_of_span(since: float, until: float) -> tuple[int, int]:
    """Return the hours (since 1970) that cover a span of unix seconds, the last excluded."""
    return int(since // HOUR_SECONDS), int(until // HOUR_SECONDS) + 1
