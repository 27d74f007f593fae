"""Who holds which GPU: Slurm, Kubernetes, or, without them, whose processes run on it."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from pathlib import Path

from gpumon.workloads.kubernetes.kubernetes import Kubernetes
from gpumon.workloads.kubernetes.podresources import SOCKET
from gpumon.workloads.manager import Manager
from gpumon.workloads.processes import Processes
from gpumon.workloads.slurm.slurm import Slurm

log = logging.getLogger(__name__)


def choose(wanted: str, jobs_dir: Path, kubelet: Path = SOCKET, *, real: bool) -> Manager:
    """Return the workload manager of this machine: the one wanted, or with ``auto`` what is there.

    ``jobs_dir`` is where Slurm's hooks write, ``kubelet`` where Kubernetes' listens. ``real`` where
    the GPUs are this machine's own: no workload manager knows those of a simulation.
    """
    if wanted == "auto":
        wanted = _found(jobs_dir, kubelet) if real else "processes"
    if wanted == "slurm":
        return Slurm(jobs_dir)
    return Kubernetes(kubelet) if wanted == "kubernetes" else Processes()


def _found(jobs_dir: Path, kubelet: Path) -> str:
    """Return what brings jobs to this machine."""
    if jobs_dir.is_dir():
        return "slurm"
    if _exists(kubelet):
        if importlib.util.find_spec("grpc") is not None:
            return "kubernetes"
        log.warning(
            "a kubelet runs here, but without grpcio it cannot be asked: GPUs are held by users; "
            "pip install '.[kubernetes]' in gpumon's checkout"
        )
    return "slurm" if shutil.which("slurmd") is not None else "processes"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # its folder is not for us
        return False


__all__ = ["Manager", "choose"]
