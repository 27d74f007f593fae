"""From jobs, and the names they have for their GPUs, to an allocation."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from gpumon.model import Allocation, GpuReading, Holding, Job, MigIdentity
from gpumon.model.jobs import UNKNOWN
from gpumon.workloads.knowngpus import Instance, KnownGpus, Place

log = logging.getLogger(__name__)

Name = int | str | Instance
"""A GPU by its number or its UUID, or a MIG instance by its UUID or its device files."""

Numbers = Literal["minor", "index", "gres"]
"""What a number means: N of /dev/nvidiaN, the driver's index, or Slurm's own (workloads.slurm)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeldJob:
    """A job and its GPUs here, as its manager names them; times in unix seconds.

    ``problem`` is why it is not known which GPUs it has, or whether these are all. ``node`` is
    what its manager calls this machine, if it says so.
    """

    job: Job
    gpus: tuple[Name, ...] = ()
    numbers: Numbers = "minor"
    since: float | None = None
    until: float | None = None
    problem: str = ""
    node: str = ""

    def places(self, known: KnownGpus) -> Iterator[tuple[Name, Place | None]]:
        """Yield each GPU by its name, and where that is; None if this node has no such GPU."""
        numbered = known.at_index if self.numbers == "index" else known.at_minor_or_index
        for name in self.gpus:
            if isinstance(name, str):
                yield name, known.named(name)
            elif isinstance(name, Instance):
                yield name, known.at_instance(name)
            else:
                yield name, numbered(name)


def shown_ids(jobs: Sequence[HeldJob], shown: Mapping[str, Job]) -> list[str]:
    """Return what each job is called here: its own id, unless another job has that.

    A job of another manager is then ``MANAGER:ID``, one of the same manager's other cluster
    ``CLUSTER:ID``, for as long as it is shown: two jobs never share an account. ``shown`` are the
    jobs that the ledger still shows.
    """
    owners = {job_id: job for job_id, job in shown.items() if job.manager != UNKNOWN}
    found = [""] * len(jobs)
    for number in sorted(range(len(jobs)), key=lambda n: _seniority(jobs[n])):
        job = jobs[number].job
        found[number] = _shown_id(job, owners)
        owners.setdefault(found[number], job)
    return found


def _shown_id(job: Job, owners: Mapping[str, Job]) -> str:
    by_manager, by_cluster = f"{job.manager}:{job.job_id}", f"{job.cluster}:{job.job_id}"
    both = f"{job.manager}:{by_cluster}"
    for name in (by_manager, job.job_id, by_cluster, both):
        if name in owners and _same(owners[name], job):
            return name
    owner = owners.get(job.job_id)
    if owner is None:
        return job.job_id
    name = by_cluster if job.cluster and owner.manager == job.manager else by_manager
    return both if name in owners else name


def _same(one: Job, other: Job) -> bool:
    """Return whether two jobs of one number are of one manager, and of one cluster if known."""
    clusters = {one.cluster, other.cluster} - {""}
    return one.manager == other.manager and len(clusters) < 2


def _seniority(job: HeldJob) -> tuple[float, str, str]:
    return (job.since or 0.0, job.job.manager, job.job.cluster)


def _latest_runs(jobs: Sequence[HeldJob]) -> list[HeldJob]:
    """Return the jobs without those runs after which the same job was started again."""
    last: dict[tuple[str, str, str], float] = {}
    for held in jobs:
        last[_key(held)] = max(held.since or 0.0, last.get(_key(held), 0.0))
    return [held for held in jobs if held.until is None or held.until > last[_key(held)]]


def _key(held: HeldJob) -> tuple[str, str, str]:
    return (held.job.manager, held.job.cluster, held.job.job_id)


class Holders:
    """Says which job holds which GPU of this node; remembers the GPUs that it has seen."""

    def __init__(self) -> None:
        """Know no GPUs."""
        self._known = KnownGpus()
        self._unknown: frozenset[str] = frozenset()
        self._problems: dict[str, str] = {}

    @property
    def unresolved(self) -> int:
        """Jobs that now hold a GPU of which it is not known which one it is."""
        return len(self._problems)

    def instances(self, gpus: Sequence[GpuReading]) -> Mapping[str, tuple[MigIdentity, ...]]:
        """Return each GPU's MIG instances by its UUID; of one that is lost those last known."""
        self._known.see(gpus)
        return self._known.all_instances

    def allocation(
        self, jobs: Sequence[HeldJob], gpus: Sequence[GpuReading], shown: Mapping[str, Job]
    ) -> Allocation:
        """Return who holds what; ``shown`` are the jobs that the ledger still shows."""
        self._known.see(gpus)
        facts: dict[str, Job] = {}
        holdings: list[Holding] = []
        unknown: set[str] = set()
        problems: dict[str, str] = {}
        starts: dict[str, set[float | None]] = {}
        jobs = _latest_runs(jobs)
        for held, job_id in zip(jobs, shown_ids(jobs, shown), strict=True):
            facts[job_id] = dataclasses.replace(held.job, job_id=job_id)
            places = []
            missing = []
            for name, place in held.places(self._known):
                if place is None:
                    missing.append(f"{_said(name)} of job {job_id}")
                else:
                    places.append(place)
            unknown.update(missing)
            if held.until is None and (held.problem or missing):
                problems[job_id] = held.problem
            holdings += holdings_of(job_id, places, since=held.since, until=held.until)
            starts.setdefault(job_id, set()).add(held.since)
        if gpus:
            self._warn(frozenset(unknown), problems)
        return Allocation(
            jobs=facts,
            holdings=tuple(holdings),
            starts={
                job_id: frozenset(moment for moment in moments if moment is not None)
                for job_id, moments in starts.items()
                if None not in moments
            },
        )

    def _warn(self, unknown: frozenset[str], problems: dict[str, str]) -> None:
        """Log GPUs that this node does not have, and what is not known of a job's, once each."""
        new = sorted(unknown - self._unknown)
        if new:
            log.warning(
                "jobs hold %d GPUs that this node does not have: %s", len(new), ", ".join(new[:8])
            )
        for job_id, problem in problems.items():
            if problem and self._problems.get(job_id) != problem:
                log.warning("job %s: it is not known which GPUs it holds: %s", job_id, problem)
        self._unknown, self._problems = unknown, problems


def _said(name: Name) -> str:
    if isinstance(name, Instance):
        return f"{name.minor} (MIG instance {name.gpu_instance})"
    return str(name)


def holdings_of(
    job_id: str,
    places: Iterable[Place],
    *,
    since: float | None = None,
    until: float | None = None,
) -> list[Holding]:
    """Return one holding for each GPU of a job, of which it may have several parts."""
    held: dict[str, set[str]] = {}
    whole: set[str] = set()
    for place in places:
        held.setdefault(place.uuid, set()).update(place.mig_uuids)
        if not place.mig_uuids:
            whole.add(place.uuid)
    return [
        Holding(
            job_id=job_id,
            uuid=uuid,
            mig_uuids=() if uuid in whole else tuple(sorted(parts)),
            since=since,
            until=until,
        )
        for uuid, parts in held.items()
    ]
