"""Jobs and what they hold: the words that workload managers and the ledger share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Who a holding belongs to.

    ``manager`` is slurm, kubernetes, processes, or what a job file says, such as pbs.
    """

    job_id: str
    user: str = ""
    account: str = ""
    partition: str = ""
    name: str = ""
    manager: str


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

    ``pids`` says whose a process is, on GPUs that several jobs may share.
    """

    jobs: Mapping[str, Job] = dataclasses.field(default_factory=dict)
    holdings: tuple[Holding, ...] = ()
    stale: str = ""
    pids: Mapping[int, str] = dataclasses.field(default_factory=dict)
