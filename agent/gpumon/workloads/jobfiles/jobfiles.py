"""Any workload manager whose prolog writes a file for each job: PBS, Flux, LSF, a home-made one."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpumon.model import Allocation, GpuReading, Job
from gpumon.workloads.held import Holders
from gpumon.workloads.jobfiles.jobfolder import JobFolder


class JobFiles:
    """Which job holds which GPU, by a folder of job files alone; see ``Manager``.

    Each job shows the manager that its own file names.
    """

    name = "jobfiles"

    def __init__(self, folder: Path) -> None:
        """Look into a folder."""
        self._folder = JobFolder(folder)
        self._holders = Holders()

    @property
    def errors(self) -> int:
        """How often the folder could not be read, or a file in it was not right."""
        return self._folder.errors

    @property
    def success(self) -> bool:
        """Whether the folder and all files in it were right last time."""
        return not self._folder.problem

    @property
    def unresolved(self) -> int:
        """How many jobs hold GPUs that this node does not have."""
        return self._holders.unresolved

    def allocation(
        self, gpus: Sequence[GpuReading], shown: Mapping[str, Job], time: float
    ) -> Allocation | None:
        """Return which job holds which GPU; None while the folder has never been readable.

        If there is no folder, no prolog has run since this node was started: no job holds a GPU.
        """
        del time
        jobs = self._folder.read()
        if jobs is None and self._folder.problem:
            return None
        told = self._holders.allocation(jobs or [], gpus, shown)
        return dataclasses.replace(told, stale=self._folder.problem)

    async def run(self) -> None:
        """The files bring all there is to know."""
        await asyncio.Event().wait()
