"""Files that any workload manager's prolog writes, one for each job (docs/workloads.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpumon.workloads.registration import Option, Registration, Settings

if TYPE_CHECKING:
    from gpumon.workloads.manager import Manager

JOBS_DIR = Option(
    flag="--jobs-dir",
    default=Path("/run/gpumon/jobs"),
    metavar="FOLDER",
    folder=True,
    help="Folder in which the workload manager's prolog and epilog write which job has which GPU.",
)


def _make(settings: Settings) -> Manager:
    from gpumon.workloads.jobfiles.jobfiles import JobFiles

    return JobFiles(JOBS_DIR.of(settings))


REGISTRATION = Registration(
    name="jobfiles",
    summary="files that any manager's prolog writes: PBS, Flux, LSF, a home-made one",
    options=(JOBS_DIR,),
    speaks=JOBS_DIR.there,
    make=_make,
)
