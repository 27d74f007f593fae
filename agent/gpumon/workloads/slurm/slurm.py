"""Slurm: what its prolog and epilog wrote, and what its controller says if there are no hooks.

The hooks (``deploy/slurm``) write a file for each job, with the GPUs by the minor number of their
device and the moments of beginning and end. They cost the controller nothing. Without them the
controller is asked once a minute, which is well for some hundred nodes and not for ten thousand.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gpumon.clock import SYSTEM, Clock
from gpumon.model import Allocation, GpuReading, Holding, Job
from gpumon.workloads.held import HeldJob, Holders
from gpumon.workloads.jobfiles.jobfolder import JobFolder
from gpumon.workloads.slurm.cgroup import job_of_process
from gpumon.workloads.slurm.slurmcommand import SlurmError, ask_jobs

log = logging.getLogger(__name__)

ASK_SECONDS = 60.0

NAME = "slurm"


class Slurm:
    """Which job holds which GPU of this node; see ``gpumon.workloads.manager.Manager``."""

    name = NAME

    def __init__(self, folder: Path, *, node: str | None = None, clock: Clock = SYSTEM) -> None:
        """Look into a folder; ``node`` is what Slurm calls this machine."""
        self._folder = JobFolder(folder)
        self._node = node or node_name()
        self._clock = clock
        self._refusals = 0
        self._silence = ""
        self._holders = Holders()
        self._asked: dict[str, HeldJob] | None = None
        self._facts: dict[str, Job] = {}
        self._pids: dict[int, str | None] = {}

    @property
    def errors(self) -> int:
        """How often the hooks' folder, a file in it or the controller could not be read."""
        return self._folder.errors + self._refusals

    @property
    def success(self) -> bool:
        """Whether the hooks' folder and the controller could be read last time."""
        return not self._problems()

    def allocation(
        self, gpus: Sequence[GpuReading], shown: Mapping[str, Job], time: float
    ) -> Allocation | None:
        """Return which job holds which GPU; the last known if there is no news."""
        del time
        hooked = self._folder.read()
        if hooked is not None:
            jobs = [self._completed(job) for job in hooked]
        elif self._asked is not None:
            jobs = list(self._asked.values())
        else:
            return None
        told = self._holders.allocation(jobs, gpus, shown)
        return dataclasses.replace(
            told, stale="; ".join(self._problems()), pids=self._owners(gpus, told)
        )

    async def run(self) -> None:
        """Ask the controller if there are no hooks, and for what the hooks did not know."""
        while True:
            try:
                if self._folder.exists():
                    await self._complete()
                else:
                    self._asked = await ask_jobs(self._node, self._asked or {}, self._clock)
                self._answers()
            except (SlurmError, OSError) as error:
                self._fails(str(error))
            await asyncio.sleep(ASK_SECONDS)

    def _problems(self) -> list[str]:
        return [problem for problem in (self._folder.problem, self._silence) if problem]

    def _completed(self, held: HeldJob) -> HeldJob:
        """Return a job of the hooks with what the controller added."""
        known = self._facts.get(held.job.job_id) if held.job.manager == NAME else None
        return held if known is None else dataclasses.replace(held, job=known)

    def _own(self) -> Iterable[HeldJob]:
        """Return Slurm's jobs in the folder, where other managers may write too."""
        return (held for held in self._folder.jobs if held.job.manager == NAME)

    def _incomplete(self) -> list[str]:
        """Return the jobs whose account or name the prolog did not know (before Slurm 23.02)."""
        return [
            held.job.job_id
            for held in self._own()
            if held.until is None
            and held.job.job_id not in self._facts
            and not (held.job.account and held.job.name)
        ]

    async def _complete(self) -> None:
        """Ask the controller what the prolog did not know, once for each job."""
        wanted = self._incomplete()
        if not wanted:
            return
        told = await ask_jobs(self._node, {}, self._clock)
        hooked = {held.job.job_id: held.job for held in self._own()}
        # What the controller does not know either is not asked for again.
        self._facts.update(
            {i: told[i].job if i in told else hooked[i] for i in wanted if i in hooked}
        )
        self._facts = {job_id: job for job_id, job in self._facts.items() if job_id in hooked}

    def _owners(self, gpus: Sequence[GpuReading], told: Allocation) -> dict[int, str]:
        """Return whose the processes are, on GPUs that several jobs hold."""
        shared = _shared(told.holdings)
        pids = {
            process.pid for gpu in gpus if gpu.identity.uuid in shared for process in gpu.held_by
        }
        self._pids = {
            pid: self._pids[pid] if pid in self._pids else job_of_process(pid) for pid in pids
        }
        called = {
            job.job_id.removeprefix(f"{NAME}:"): job.job_id
            for job in told.jobs.values()
            if job.manager == NAME
        }
        return {
            pid: called[job_id]
            for pid, job_id in self._pids.items()
            if job_id is not None and job_id in called
        }

    def _answers(self) -> None:
        if self._silence:
            log.info("Slurm's controller can be read again")
        self._silence = ""

    def _fails(self, problem: str) -> None:
        self._refusals += 1
        if problem != self._silence:
            log.warning("%s: who holds which GPU is as it was last known", problem)
        self._silence = problem


def node_name() -> str:
    """Return what Slurm calls this machine: NodeName in slurm.conf may be another than the host's.

    slurmd sets SLURMD_NODENAME for what it starts; the agent's own environment may have it too.
    """
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname().partition(".")[0]


def _shared(holdings: Iterable[Holding]) -> set[str]:
    """Return the GPUs that several jobs hold now."""
    once: set[str] = set()
    twice: set[str] = set()
    for holding in holdings:
        if holding.until is None:
            (twice if holding.uuid in once else once).add(holding.uuid)
    return twice
