"""Slurm: what its prolog and epilog wrote, and what its controller says where there are no hooks.

The hooks (``deploy/slurm``) write a file for each job, with the GPUs by the minor number of their
device and the moments of beginning and end. They cost the controller nothing. Without them the
controller is asked once a minute, which is well for some hundred nodes and not for ten thousand.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpumon.clock import SYSTEM, Clock
from gpumon.model import Allocation, GpuReading, Holding, Job
from gpumon.workloads.slurm.cgroup import job_of_process
from gpumon.workloads.slurm.slurmcommand import SlurmError, SlurmJob, ask_jobs, plain

log = logging.getLogger(__name__)

FOLDER = Path("/run/gpumon/jobs")
ASK_SECONDS = 60.0
MOST_JOBS = 10_000
MOST_BYTES = 65_536
"""A file of the hooks is some 300 bytes; what is larger is none of theirs."""


class Slurm:
    """Which job holds which GPU of this node; see ``gpumon.workloads.manager.Manager``."""

    name = "slurm"

    def __init__(
        self, folder: Path = FOLDER, *, node: str | None = None, clock: Clock = SYSTEM
    ) -> None:
        """Look into a folder; ``node`` is what Slurm calls this machine."""
        self._folder = folder
        self._node = node or socket.gethostname().partition(".")[0]
        self._clock = clock
        self.errors = 0
        self._problems: dict[str, str] = {}
        self._files: dict[str, tuple[tuple[int, int, int], SlurmJob | None]] = {}
        self._asked: dict[str, SlurmJob] | None = None
        self._facts: dict[str, Job] = {}
        self._pids: dict[int, str | None] = {}

    @property
    def success(self) -> bool:
        """Whether the hooks' folder or the controller could be read last time."""
        return not self._problems

    def allocation(
        self, gpus: Sequence[GpuReading], shown: Mapping[str, Job], time: float
    ) -> Allocation | None:
        """Return which job holds which GPU; the last known where there is no news."""
        del shown, time
        jobs = self._hooked()
        if jobs is None:
            jobs = self._asked
        if jobs is None:
            return None
        by_minor = _by_minor(gpus)
        holdings = tuple(
            Holding(job_id=job.job.job_id, uuid=by_minor[minor], since=job.since, until=job.until)
            for job in jobs.values()
            for minor in job.minors
            if minor in by_minor
        )
        return Allocation(
            jobs={
                job.job.job_id: self._facts.get(job.job.job_id, job.job) for job in jobs.values()
            },
            holdings=holdings,
            stale="; ".join(self._problems.values()),
            pids=self._owners(gpus, holdings),
        )

    async def run(self) -> None:
        """Ask the controller, where the hooks do not tell, and for what they cannot tell."""
        while True:
            try:
                if self._files or self._folder.is_dir():
                    await self._complete()
                else:
                    self._asked = await ask_jobs(self._node, self._asked or {}, self._clock)
                self._works("controller")
            except (SlurmError, OSError) as error:
                self._fails("controller", str(error))
            await asyncio.sleep(ASK_SECONDS)

    def _hooked(self) -> dict[str, SlurmJob] | None:
        """Return the jobs that the hooks wrote, or None where there are no hooks."""
        try:
            paths = sorted(self._folder.glob("*.json"))[:MOST_JOBS]
            if not paths and not self._folder.is_dir():
                return None
            files = {}
            for path in paths:
                try:
                    stat = path.stat()
                except FileNotFoundError:  # an epilog has cleared it away
                    continue
                seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                known = self._files.get(path.name)
                if known is None or known[0] != seen:
                    known = (seen, self._read(path, stat.st_size))
                files[path.name] = known
            self._files = files
            if all(job is not None for _, job in files.values()):
                self._works("hooks")
        except OSError as error:
            self._fails("hooks", f"{self._folder}: {error.strerror or error}")
        return {name: job for name, (_, job) in self._files.items() if job is not None}

    def _read(self, path: Path, size: int) -> SlurmJob | None:
        try:
            return _job_of(json.loads(_text_of(path, size)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._fails(
                "hooks", f"{path} is no job of the prolog's ({type(error).__name__}: {error})"
            )
            return None

    def _incomplete(self) -> list[str]:
        """Return the jobs whose account or name the prolog was not told (before Slurm 23.02)."""
        return [
            job.job.job_id
            for _, job in self._files.values()
            if job is not None
            and job.until is None
            and job.job.job_id not in self._facts
            and not (job.job.account and job.job.name)
        ]

    async def _complete(self) -> None:
        """Ask the controller what the prolog was not told, once for each job."""
        wanted = self._incomplete()
        if not wanted:
            return
        told = await ask_jobs(self._node, {}, self._clock)
        hooked = {job.job.job_id: job.job for _, job in self._files.values() if job is not None}
        # What the controller does not know either is not asked for again.
        self._facts.update(
            {i: told[i].job if i in told else hooked[i] for i in wanted if i in hooked}
        )
        self._facts = {job_id: job for job_id, job in self._facts.items() if job_id in hooked}

    def _owners(self, gpus: Sequence[GpuReading], holdings: Sequence[Holding]) -> dict[int, str]:
        """Return whose the processes are, on GPUs that several jobs hold."""
        count: dict[str, int] = {}
        for holding in holdings:
            if holding.until is None:
                count[holding.uuid] = count.get(holding.uuid, 0) + 1
        pids = {
            process.pid
            for gpu in gpus
            if count.get(gpu.identity.uuid, 0) > 1
            for process in gpu.held_by
        }
        self._pids = {
            pid: self._pids[pid] if pid in self._pids else job_of_process(pid) for pid in pids
        }
        return {pid: job_id for pid, job_id in self._pids.items() if job_id is not None}

    def _works(self, part: str) -> None:
        if self._problems.pop(part, None):
            log.info("Slurm's %s can be read again", part)

    def _fails(self, part: str, problem: str) -> None:
        self.errors += 1
        if problem != self._problems.get(part):
            log.warning("%s: who holds which GPU is as it was last known", problem)
        self._problems[part] = problem


def _text_of(path: Path, size: int) -> str:
    """Return what a hook wrote; ValueError where no hook wrote that much."""
    if size > MOST_BYTES:
        raise ValueError(f"{size} bytes")
    return path.read_text("utf-8", "replace")


def _job_of(document: dict[str, Any]) -> SlurmJob:
    """Return the job of a prolog's file; raises what a malformed one raises."""
    until = document.get("ended")
    return SlurmJob(
        job=Job(
            job_id=plain(str(document["job_id"])),
            user=plain(document.get("user", "")),
            account=plain(document.get("account", "")),
            partition=plain(document.get("partition", "")),
            name=plain(document.get("name", "")),
            manager="slurm",
        ),
        minors=tuple(int(number) for number in document["gpus"].split(",") if number),
        since=float(document["began"]),
        until=None if until is None else float(until),
    )


def _by_minor(gpus: Sequence[GpuReading]) -> dict[int, str]:
    """Return the uuid by minor number; by index where minors are not told (simulated GPUs)."""
    return {
        gpu.identity.index
        if gpu.identity.minor_number is None
        else gpu.identity.minor_number: gpu.identity.uuid
        for gpu in gpus
    }
