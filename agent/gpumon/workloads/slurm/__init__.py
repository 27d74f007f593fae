"""Slurm: its hooks' job files, its controller, the nodes that it knows."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from gpumon.workloads.jobfiles import JOBS_DIR
from gpumon.workloads.registration import Registration, Settings

if TYPE_CHECKING:
    from gpumon.workloads.manager import Manager

PROGRAMS = ("slurmd", "scontrol", "squeue")


def _make(settings: Settings) -> Manager:
    from gpumon.workloads.slurm.slurm import Slurm

    return Slurm(JOBS_DIR.of(settings))


def _speaks(settings: Settings) -> bool:
    """Return whether there are job files, and Slurm is here or wrote one: others write them too."""
    from gpumon.workloads.jobfiles.jobfolder import JobFolder

    if not JOBS_DIR.there(settings):
        return False
    if any(shutil.which(program) for program in PROGRAMS):
        return True
    return any(
        held.job.manager == REGISTRATION.name
        for held in JobFolder(JOBS_DIR.of(settings)).read() or []
    )


REGISTRATION = Registration(
    name="slurm",
    summary="Slurm's hooks, else its controller",
    options=(JOBS_DIR,),
    speaks=_speaks,
    installed=lambda: shutil.which("slurmd") is not None,
    make=_make,
)
