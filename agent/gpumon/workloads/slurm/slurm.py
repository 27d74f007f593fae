"""Slurm: what its prolog and epilog wrote, and what its controller says if there are no hooks.

The hooks (``deploy/slurm``) write a file for each job, with its GPUs as slurmd gives them to a
prolog and the moments of beginning and end. They are root's words, from Slurm's own environment,
and win over the controller's, which is asked for what a prolog is not given. Without hooks the
controller is asked once a minute, which is well for some hundred nodes and not for ten thousand.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gpumon.clock import SYSTEM, Clock
from gpumon.model import Allocation, GpuReading, Holding, Job
from gpumon.workloads.held import HeldJob, Holders, Name
from gpumon.workloads.jobfiles.jobfolder import JobFolder
from gpumon.workloads.slurm.cgroup import job_of_process
from gpumon.workloads.slurm.controller import Controller
from gpumon.workloads.slurm.deviceorder import DeviceOrder
from gpumon.workloads.slurm.gres import NotKnownError
from gpumon.workloads.slurm.gresindex import GresIndex
from gpumon.workloads.slurm.slurmcommand import SlurmError
from gpumon.workloads.slurm.slurmconf import node_name
from gpumon.workloads.slurm.squeue import MANAGER, ControllerJob

log = logging.getLogger(__name__)

ASK_SECONDS = 60.0

LEAST_SECONDS = 1.0
"""Jobs that begin together are asked for together."""

AGAIN_SECONDS = 600.0
"""How soon the controller is asked again for GPUs that it did not know."""

ENDED_SECONDS = 120.0
"""How long a job that the controller no longer lists is kept, with its end."""

NAME = MANAGER


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
        self._controller = Controller()
        self._order = DeviceOrder(clock)
        self._asked: dict[str, HeldJob] | None = None
        self._told: dict[_Run, ControllerJob | None] = {}
        self._told_at: dict[_Run, float] = {}
        self._heard = False
        self._waiting = 0
        self._without: set[str] = set()
        self._pids: dict[int, str | None] = {}
        self._news: asyncio.Event | None = None

    @property
    def errors(self) -> int:
        """How often the hooks' folder, a file in it or the controller could not be read."""
        return self._folder.errors + self._refusals

    @property
    def success(self) -> bool:
        """Whether the hooks' folder and the controller could be read last time."""
        return self._heard and not self._problems()

    @property
    def unresolved(self) -> int:
        """Jobs that hold a GPU of which it is not known, or not yet, which one it is."""
        return self._waiting or self._holders.unresolved

    def allocation(
        self, gpus: Sequence[GpuReading], shown: Mapping[str, Job], time: float
    ) -> Allocation | None:
        """Return which job holds which GPU; the last known if there is no news."""
        del time
        hooked = self._folder.read()
        self._heard = hooked is not None or self._asked is not None
        if not self._heard:
            return None
        asked = (self._asked or {}).values()
        jobs = asked if hooked is None else [self._completed(held) for held in hooked]
        if gpus:
            self._order.see(self._holders.instances(gpus))
        found = [(held, self._order.now(held.node or self._node)) for held in jobs]
        self._waiting = sum(devices is None and _by_slurm(held) for held, devices in found)
        if self._waiting:
            self._wake()
            return None  # for the moment that it takes to ask, the last holders stay
        placed = [_placed(held, devices) for held, devices in found]
        told = self._holders.allocation(placed, gpus, shown)
        return dataclasses.replace(
            told, stale="; ".join(self._problems()), pids=self._owners(gpus, told)
        )

    async def run(self) -> None:
        """Ask the controller if there are no hooks, and for what the hooks did not know."""
        self._news = asyncio.Event()
        while True:
            self._news.clear()
            try:
                await self._order.refresh({self._node, *(job.node for job in self._own())} - {""})
                if self._folder.exists():
                    await self._complete()
                else:
                    self._asked = await self._ask()
                self._answers()
            except (SlurmError, OSError) as error:
                self._fails(str(error))
            await self._pause(self._news)

    async def _pause(self, news: asyncio.Event) -> None:
        """Wait a minute, or until there is a job of which a prolog does not know all GPUs."""
        try:
            await asyncio.wait_for(news.wait(), ASK_SECONDS)
        except asyncio.TimeoutError:
            return
        await asyncio.sleep(min(ASK_SECONDS, LEAST_SECONDS))

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()

    def _problems(self) -> list[str]:
        return [problem for problem in (self._folder.problem, self._silence) if problem]

    def _own(self) -> Iterable[HeldJob]:
        """Return Slurm's jobs in the folder, where other managers may write too."""
        return (held for held in self._folder.jobs if held.job.manager == NAME)

    def _completed(self, held: HeldJob) -> HeldJob:
        """Return a job of the hooks with what the controller added; the hooks' own words stand."""
        if held.job.manager != NAME or held.until is not None:
            return self._with_facts(held)
        told = self._told.get(_run(held))
        if not self._one_kind(held) and _run(held) not in self._told:
            self._wake()
        if problem := self._untold(held):
            held = dataclasses.replace(
                held, problem=f"a prolog is given GPUs of one kind only, and {problem}"
            )
        if told is not None and len(set(told.numbers)) > len(set(held.gpus)):
            held = dataclasses.replace(held, gpus=(*held.gpus, *told.numbers))
        return self._with_facts(held)

    def _with_facts(self, held: HeldJob) -> HeldJob:
        told = self._told.get(_run(held)) if held.job.manager == NAME else None
        if told is None:
            return held
        known = {
            name: getattr(held.job, name) or getattr(told.job, name)
            for name in ("user", "account", "partition", "name", "cluster")
        }
        return dataclasses.replace(held, job=dataclasses.replace(held.job, **known))

    def _one_kind(self, held: HeldJob) -> bool:
        """Return whether the node has GPUs of one name and type, as far as is known."""
        devices = self._order.now(held.node or self._node)
        return devices is None or devices.kinds == 1 or held.numbers != "gres"

    def _untold(self, held: HeldJob) -> str:
        """Return why it is not known whether a job has more GPUs than its prolog was given."""
        if self._one_kind(held):
            return ""
        if _run(held) not in self._told:
            return self._silence
        told = self._told[_run(held)]
        return "the controller does not know this job" if told is None else told.problem

    def _due(self, held: HeldJob) -> bool:
        """Return whether the controller is asked for a job: once, if it knew all GPUs of it."""
        asked = self._told_at.get(_run(held))
        if asked is None:
            return not (held.job.account and held.job.name and self._one_kind(held))
        return bool(self._untold(held)) and self._clock.monotonic() - asked >= AGAIN_SECONDS

    def _incomplete(self) -> list[HeldJob]:
        """Return the jobs of which the prolog did not know all: a job's name it never does."""
        return [held for held in self._own() if held.until is None and self._due(held)]

    async def _complete(self) -> None:
        """Ask the controller what the prolog did not know, of each run of a job."""
        wanted = self._incomplete()
        by_node: dict[str, list[HeldJob]] = {}
        for held in wanted:
            by_node.setdefault(held.node or self._node, []).append(held)
        for node, jobs in by_node.items():
            told = await self._controller.ask([held.job.job_id for held in jobs], node)
            # A name that the controller does not know either is not asked for again.
            self._told.update({_run(held): _of_cluster(told, held) for held in jobs})
            self._told_at.update(dict.fromkeys(map(_run, jobs), self._clock.monotonic()))
        kept = {_run(held) for held in self._own()}
        self._told = {run: told for run, told in self._told.items() if run in kept}
        self._told_at = {run: time for run, time in self._told_at.items() if run in kept}

    async def _ask(self) -> dict[str, HeldJob]:
        """Return the jobs that hold GPUs here; those that were there before now have an end."""
        running = set(await self._controller.running(self._node))
        told_of = await self._controller.ask(sorted(running - self._without), self._node)
        # A job without a GPU gets none while it runs, and a node may have a hundred of them.
        self._without &= running
        self._without |= {i for i, told in told_of.items() if not (told.numbers or told.problem)}
        found = {
            job_id: HeldJob(
                job=told.job,
                gpus=told.numbers,
                numbers="gres",
                since=told.started,
                problem=told.problem,
            )
            for job_id, told in told_of.items()
            if told.numbers or told.problem
        }
        for job_id, job in (self._asked or {}).items():
            if job_id in found:
                continue
            if job.until is None and job_id in running and job_id not in told_of:
                found[job_id] = job  # it was listed a moment ago, so it is not taken for ended
            elif job.until is None or self._clock.time() - job.until < ENDED_SECONDS:
                found[job_id] = dataclasses.replace(job, until=job.until or self._clock.time())
        return found

    def _owners(self, gpus: Sequence[GpuReading], told: Allocation) -> dict[int, str]:
        """Return whose the processes are, on GPUs that several jobs hold."""
        shared = _shared(told.holdings)
        pids = {
            process.pid for gpu in gpus if gpu.identity.uuid in shared for process in gpu.held_by
        }
        self._pids = {
            pid: self._pids[pid] if pid in self._pids else job_of_process(pid) for pid in pids
        }
        called = _by_number(told.jobs.values())
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


_Run = tuple[str, str, float | None]
"""One run of a job: the cluster that the hook names, the job's number, and its beginning."""


def _run(held: HeldJob) -> _Run:
    return (held.job.cluster, held.job.job_id, held.since)


def _of_cluster(told: Mapping[str, ControllerJob], held: HeldJob) -> ControllerJob | None:
    """Return what the controller says of a job, unless that is another cluster's of its number."""
    one = told.get(held.job.job_id)
    clusters = {held.job.cluster, one.job.cluster} - {""} if one else set()
    return None if len(clusters) > 1 else one


def _by_slurm(held: HeldJob) -> bool:
    return held.numbers == "gres" and any(isinstance(name, int) for name in held.gpus)


def _placed(held: HeldJob, devices: GresIndex | None) -> HeldJob:
    """Return a job with its GPUs by names that this node knows; the rest is not known."""
    if devices is None or not _by_slurm(held):
        return held
    names: list[Name] = [name for name in held.gpus if not isinstance(name, int)]
    problem = held.problem
    try:
        names += devices.named(name for name in held.gpus if isinstance(name, int))
    except NotKnownError as error:
        problem = problem or str(error)
    return dataclasses.replace(held, gpus=tuple(names), numbers="minor", problem=problem)


def _by_number(jobs: Iterable[Job]) -> dict[str, str]:
    """Return what Slurm's jobs are called here, by the number that their cgroups have.

    Not of a number that two clusters have: whose a process is then cannot be said.
    """
    own = [job.job_id for job in jobs if job.manager == NAME]
    counted = collections.Counter(job_id.rpartition(":")[2] for job_id in own)
    return {number: job_id for job_id in own if counted[number := job_id.rpartition(":")[2]] == 1}


def _shared(holdings: Iterable[Holding]) -> set[str]:
    """Return the GPUs that several jobs hold now."""
    once: set[str] = set()
    twice: set[str] = set()
    for holding in holdings:
        if holding.until is None:
            (twice if holding.uuid in once else once).add(holding.uuid)
    return twice
