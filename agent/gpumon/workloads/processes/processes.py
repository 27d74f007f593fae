"""Without a workload manager: a GPU is held by the users whose processes are on it.

All that a user's processes do is one job, until none has been on a GPU for a quarter of an hour;
what comes later is another. So short programs that follow each other are not a job each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gpumon.model import Allocation, GpuProcess, GpuReading, Holding, Job

MANAGER = "processes"


class Processes:
    """Whose processes run on which GPU; see ``Manager``."""

    name = MANAGER
    errors = 0
    success = True
    unresolved = 0

    def __init__(self) -> None:
        """Know nobody yet."""
        self._last: dict[str, tuple[GpuProcess, ...]] = {}

    def allocation(
        self, gpus: Sequence[GpuReading], shown: Mapping[str, Job], time: float
    ) -> Allocation | None:
        """Return who is on which GPU; one that is silent keeps its last holders."""
        self._last = {
            gpu.identity.uuid: gpu.held_by if gpu.up else self._last.get(gpu.identity.uuid, ())
            for gpu in gpus
        }
        known = {_user_of(job): job for job in shown.values() if job.manager == MANAGER}
        jobs: dict[str, Job] = {}
        holdings: dict[tuple[str, str], set[str]] = {}
        pids: dict[int, str] = {}
        for gpu in gpus:
            uuid = gpu.identity.uuid
            for process in self._last[uuid]:
                number = "unknown" if process.uid is None else str(process.uid)
                job = known.get(number)
                if job is None:
                    job_id = f"user-{number}-{time:.0f}"
                    job = known[number] = Job(job_id=job_id, user=process.user, manager=MANAGER)
                jobs[job.job_id] = job
                pids[process.pid] = job.job_id
                holdings.setdefault((job.job_id, uuid), set()).update(_instances(gpu, process))
        return Allocation(
            jobs=jobs,
            holdings=tuple(
                Holding(job_id=job_id, uuid=uuid, mig_uuids=tuple(sorted(instances)))
                for (job_id, uuid), instances in holdings.items()
            ),
            pids=pids,
        )

    async def run(self) -> None:
        """Readings bring all there is to know."""
        await asyncio.Event().wait()


def _user_of(job: Job) -> str:
    return job.job_id.split("-")[1]


def _instances(gpu: GpuReading, process: GpuProcess) -> list[str]:
    """Return the MIG instances that a process is on; none on a whole GPU."""
    if process.gpu_instance is None:
        return []
    return [
        instance.identity.mig_uuid
        for instance in gpu.mig
        if instance.identity.gpu_instance == process.gpu_instance
        and process.compute_instance in (None, instance.identity.compute_instance)
    ]
