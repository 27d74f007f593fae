"""``python -m tests.support.slurmask FOLDER``: what gpumon makes of the Slurm around it, as JSON.

FOLDER is that of the hooks; one that is not there makes it ask the controller. The node has six
GPUs, which the driver counts the other way round than their devices; with ``--mig`` two of them are
divided as ``tests/workloads/slurm/gres-mig.conf`` has it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from gpumon.model import GpuIdentity, GpuReading, GpuState, Holding, MigIdentity, MigReading
from gpumon.workloads.slurm.slurm import Slurm, _run

DEADLINE_SECONDS = 20.0

LAST = 5
"""The GPUs are /dev/nvidia0 to this one."""

INSTANCES = {0: (2, 3), 1: (2,)}
"""GPU instances by the minor number of their GPU."""


def gpus(*, mig: bool) -> list[GpuReading]:
    """Return the node's GPUs by the driver's index."""
    return [
        GpuReading(
            identity=GpuIdentity(LAST - minor, f"GPU-{minor}", minor_number=minor),
            state=GpuState.OK,
            mig=tuple(_instance(minor, gi) for gi in INSTANCES.get(minor, ()) if mig),
        )
        for minor in range(LAST, -1, -1)
    ]


def _instance(minor: int, gpu_instance: int) -> MigReading:
    identity = MigIdentity(f"{minor}/{gpu_instance}", "1g.10gb", gpu_instance, 0)
    return MigReading(gpu=LAST - minor, uuid=f"GPU-{minor}", identity=identity)


async def ask(folder: Path, *, mig: bool) -> dict[str, Any]:
    """Return the jobs with their GPUs by minor number, once all is asked."""
    slurm = Slurm(folder)
    running = asyncio.create_task(slurm.run())
    found = None
    while found is None or not _complete(slurm):
        await asyncio.sleep(0.05)
        found = slurm.allocation(gpus(mig=mig), {}, 0.0)
    running.cancel()
    devices = slurm._order.now(slurm._node)
    held: dict[str, list[str]] = {job_id: [] for job_id in found.jobs}
    for holding in found.holdings:
        if holding.until is None:
            held[holding.job_id] += _names(holding)
    return {
        "jobs": {
            job_id: {
                "gpus": sorted(held[job_id]),
                **{name: getattr(job, name) for name in ("user", "account", "name", "cluster")},
            }
            for job_id, job in found.jobs.items()
        },
        "problems": slurm._holders._problems,
        "order": devices.source if devices else None,
        "stale": found.stale,
        "starts": {job_id: sorted(starts) for job_id, starts in found.starts.items()},
    }


def _complete(slurm: Slurm) -> bool:
    if slurm._folder.exists():
        return all(_run(held) in slurm._told or held.until is not None for held in slurm._own())
    return slurm._asked is not None


def _names(holding: Holding) -> list[str]:
    return list(holding.mig_uuids) or [holding.uuid.removeprefix("GPU-")]


def main() -> None:
    """Print what is known."""
    folder, *options = sys.argv[1:]
    found = asyncio.run(
        asyncio.wait_for(ask(Path(folder), mig="--mig" in options), DEADLINE_SECONDS)
    )
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
