"""Who holds which GPU: a workload manager says so, or else the processes on it.

A new manager is a folder (or module) with a ``REGISTRATION``, and its row in ``MANAGERS``. One
whose prolog can write a file needs neither: ``jobfiles`` reads it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gpumon.workloads import jobfiles, kubernetes, processes, slurm
from gpumon.workloads.registration import Option, Registration, Settings

if TYPE_CHECKING:
    from gpumon.workloads.manager import Manager

log = logging.getLogger(__name__)

MANAGERS: tuple[Registration, ...] = (
    slurm.REGISTRATION,
    jobfiles.REGISTRATION,
    kubernetes.REGISTRATION,
    processes.REGISTRATION,
)
"""In the order in which ``auto`` tries them: job files before the kubelet, since somebody put a
prolog there for gpumon; Slurm before the other writers of such files, since its controller knows
more. The processes on a GPU are always there."""

AUTO = "auto"


def names() -> tuple[str, ...]:
    """Return what may be asked for."""
    return (AUTO, *(manager.name for manager in MANAGERS))


def allocating() -> tuple[str, ...]:
    """Return those that give GPUs to jobs: workload managers proper."""
    return tuple(manager.name for manager in MANAGERS if manager.allocates)


def options() -> tuple[Option, ...]:
    """Return the options of all managers, each once."""
    return tuple(dict.fromkeys(option for manager in MANAGERS for option in manager.options))


def choose(wanted: str, settings: Settings, *, real: bool) -> Manager:
    """Return the workload manager of this machine: the one wanted, or with ``auto`` what is found.

    ``real`` if the GPUs are this machine's own: no workload manager knows those of a simulation.
    """
    if wanted != AUTO:
        return next(manager for manager in MANAGERS if manager.name == wanted).make(settings)
    if not real and jobfiles.JOBS_DIR.there(settings):
        log.info(
            "the job files in %s are not read: these GPUs are not this machine's; "
            "--workload-manager jobfiles reads them all the same",
            jobfiles.JOBS_DIR.of(settings),
        )
    return (find(settings) if real else processes.REGISTRATION).make(settings)


def find(settings: Settings) -> Registration:
    """Return what brings jobs to this machine.

    The first that can be heard, else the first that is installed.
    """
    heard = (manager for manager in MANAGERS if manager.speaks(settings))
    installed = (manager for manager in MANAGERS if manager.installed())
    return next(heard, None) or next(installed)


__all__ = [
    "AUTO",
    "MANAGERS",
    "Option",
    "Settings",
    "allocating",
    "choose",
    "find",
    "names",
    "options",
]
