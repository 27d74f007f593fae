"""Jobs and what they hold: the words that workload managers and the ledger share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

UNKNOWN = "unknown"
"""The manager of a job of which the ledger knows no more than that it holds a GPU."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Who a holding belongs to.

    ``manager`` is slurm, kubernetes, processes, or what a job file says, such as pbs; ``cluster``
    is which one of the manager's, if it says so.
    """

    job_id: str
    user: str = ""
    account: str = ""
    partition: str = ""
    name: str = ""
    manager: str
    cluster: str = ""

    def facts(self) -> dict[str, str]:
        """Return what documents show of a job: its cluster is only for keeping jobs apart."""
        return {name: getattr(self, name) for name in JOB_FACTS}


JOB_FACTS = ("job_id", "user", "account", "partition", "name", "manager")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A job's hold on one GPU, from ``since`` until ``until``.

    Both are unix seconds; None is not known, or not over. ``mig_uuids`` are the instances it has
    of a divided GPU; empty is the whole GPU.
    """

    job_id: str
    uuid: str
    mig_uuids: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Who holds what now; ``stale`` is why this is not news (empty if it is).

    ``pids`` says whose a process is, on GPUs that several jobs may share. ``starts`` are since when
    (unix seconds) each job holds what it does, as far as its manager says of all of it: they
    distinguish a job that was started again from the one that had its id before.
    """

    jobs: Mapping[str, Job] = dataclasses.field(default_factory=dict)
    holdings: tuple[Holding, ...] = ()
    stale: str = ""
    pids: Mapping[int, str] = dataclasses.field(default_factory=dict)
    starts: Mapping[str, frozenset[float]] = dataclasses.field(default_factory=dict)
