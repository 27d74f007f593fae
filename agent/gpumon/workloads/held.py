"""From jobs, and the names they have for their GPUs, to an allocation."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpumon.model import Allocation, GpuReading, Holding, Job
from gpumon.workloads.knowngpus import KnownGpus, Place

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
"""The manager of a job of which the ledger knows no more than that it holds a GPU."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeldJob:
    """A job and its GPUs here, as its manager names them; times in unix seconds.

    ``gpus`` are UUIDs of GPUs or MIG instances, or numbers N of /dev/nvidiaN; ``by_index`` if the
    numbers are the driver's indices instead.
    """

    job: Job
    gpus: tuple[int | str, ...] = ()
    by_index: bool = False
    since: float | None = None
    until: float | None = None

    def places(self, known: KnownGpus) -> Iterator[tuple[int | str, Place | None]]:
        """Yield each GPU by its name, and where that is; None if this node has no such GPU."""
        numbered = known.at_index if self.by_index else known.at_minor_or_index
        for name in self.gpus:
            yield name, known.named(name) if isinstance(name, str) else numbered(name)


def shown_ids(jobs: Sequence[HeldJob], shown: Mapping[str, Job]) -> list[str]:
    """Return what each job is called here: its own id, unless another manager's job has that.

    Then it is ``MANAGER:ID``, for as long as it is shown: two jobs never share an account.
    ``shown`` are the jobs that the ledger still shows.
    """
    owners = {job_id: job.manager for job_id, job in shown.items() if job.manager != UNKNOWN}
    found = [""] * len(jobs)
    for number in sorted(range(len(jobs)), key=lambda n: _seniority(jobs[n])):
        job = jobs[number].job
        qualified = f"{job.manager}:{job.job_id}"
        if owners.get(qualified) == job.manager:
            found[number] = qualified
        elif owners.setdefault(job.job_id, job.manager) == job.manager:
            found[number] = job.job_id
        else:
            found[number] = qualified
            owners[qualified] = job.manager
    return found


def _seniority(job: HeldJob) -> tuple[float, str]:
    return (job.since or 0.0, job.job.manager)


class Holders:
    """Says which job holds which GPU of this node; remembers the GPUs that it has seen."""

    def __init__(self) -> None:
        """Know no GPUs."""
        self._known = KnownGpus()
        self._unknown: frozenset[str] = frozenset()

    def allocation(
        self, jobs: Sequence[HeldJob], gpus: Sequence[GpuReading], shown: Mapping[str, Job]
    ) -> Allocation:
        """Return who holds what; ``shown`` are the jobs that the ledger still shows."""
        self._known.see(gpus)
        facts: dict[str, Job] = {}
        holdings: list[Holding] = []
        unknown: set[str] = set()
        for held, job_id in zip(jobs, shown_ids(jobs, shown), strict=True):
            facts[job_id] = dataclasses.replace(held.job, job_id=job_id)
            places = []
            for name, place in held.places(self._known):
                if place is None:
                    unknown.add(f"{name} of job {job_id}")
                else:
                    places.append(place)
            holdings += holdings_of(job_id, places, since=held.since, until=held.until)
        if gpus:
            self._warn(frozenset(unknown))
        return Allocation(jobs=facts, holdings=tuple(holdings))

    def _warn(self, unknown: frozenset[str]) -> None:
        """Log GPUs that this node does not have, once."""
        new = sorted(unknown - self._unknown)
        if new:
            log.warning(
                "jobs hold %d GPUs that this node does not have: %s", len(new), ", ".join(new[:8])
            )
        self._unknown = unknown


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
