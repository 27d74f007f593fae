"""What Slurm's controller says of the jobs on a node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from gpumon.workloads.slurm.scontrol import STATES, ask_text
from gpumon.workloads.slurm.slurmcommand import SlurmError, run_command, run_for_job
from gpumon.workloads.slurm.squeue import ControllerJob, Records, parse_squeue, told_of

log = logging.getLogger(__name__)

JSON_AGAIN = 60
"""After this number of times without JSON it is tried again: Slurm may have been upgraded."""


class Controller:
    """Asks Slurm's controller by its own commands; each call waits for them."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        self._without_json = 0

    async def running(self, node: str) -> list[str]:
        """Return the numbers of the jobs on a node; SlurmError if Slurm does not say."""
        listed = await run_command(
            "squeue", "--noheader", "--local", f"--nodelist={node}", STATES, "-o", "%A"
        )
        return sorted({word for word in listed.split() if word.isascii() and word.isdigit()})

    async def ask(self, job_ids: Iterable[str], node: str) -> dict[str, ControllerJob]:
        """Return what is known of those of the jobs that still run, by their id.

        SlurmError if Slurm does not say.
        """
        wanted = list(job_ids)
        if not wanted:
            return {}
        problem = ""
        if not 0 < self._without_json < JSON_AGAIN:
            try:
                return await self._by_json(wanted, node)
            except SlurmError as error:
                problem = str(error)
        told = await self._by_text(wanted, node)
        if problem and not self._without_json:
            log.warning("%s: Slurm is asked field by field, which takes longer", problem)
        self._without_json = 1 if problem else self._without_json + 1
        return told

    async def _by_json(self, wanted: list[str], node: str) -> dict[str, ControllerJob]:
        """Ask for each job; up to 22.05 squeue prints all jobs, whichever are asked for."""
        found: Records = {}
        for job_id in wanted:
            if job_id not in found:
                text = await run_for_job("squeue", "--json", "--local", "-j", job_id)
                if text:
                    # In a thread: one of many megabytes takes a while, and the loop has others.
                    found.update(await asyncio.to_thread(parse_squeue, text))
        self._without_json = 0
        told = {job_id: told_of(found[job_id], node) for job_id in wanted if job_id in found}
        return _known(told)

    async def _by_text(self, wanted: list[str], node: str) -> dict[str, ControllerJob]:
        return _known({job_id: await ask_text(job_id, node) for job_id in wanted})


def _known(told: dict[str, ControllerJob | None]) -> dict[str, ControllerJob]:
    return {job_id: one for job_id, one in told.items() if one is not None}
