"""Who holds which GPU: Slurm, or, without it, whose processes run on it."""

from __future__ import annotations

import shutil
from pathlib import Path

from gpumon.workloads.manager import Manager
from gpumon.workloads.processes import Processes
from gpumon.workloads.slurm import Slurm


def choose(wanted: str, jobs_dir: Path, *, real: bool) -> Manager:
    """Return the workload manager of this machine: the one wanted, or with ``auto`` what is there.

    ``jobs_dir`` is where Slurm's hooks write. ``real`` where the GPUs are this machine's own: those
    of a simulation are in no Slurm.
    """
    if wanted == "slurm" or (wanted == "auto" and real and _runs_slurm(jobs_dir)):
        return Slurm(jobs_dir)
    return Processes()


def _runs_slurm(jobs_dir: Path) -> bool:
    """Tell whether jobs come to this machine by Slurm: its hooks ran, or slurmd is installed."""
    return jobs_dir.is_dir() or shutil.which("slurmd") is not None


__all__ = ["Manager", "choose"]
