"""Slurm's configuration on this machine: its folder, whether it changed, and the node's name."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from gpumon.workloads.slurm.gresconf import files_of

FOLDERS = (Path("/etc/slurm"), Path("/run/slurm/conf"), Path("/etc/slurm-llnl"))
"""Slurm's configuration: its default, what a node without one fetched, that of older Debians."""


def folder() -> Path | None:
    """Return the folder of Slurm's configuration on this machine; None if there is none."""
    named = os.environ.get("SLURM_CONF")
    found = [Path(named).parent] if named else FOLDERS
    return next((path for path in found if _has_configuration(path)), None)


def _has_configuration(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return any((path / name).exists() for name in ("slurm.conf", "gres.conf"))
    return False


def stamp() -> tuple[object, ...]:
    """Return what changes when the configuration does, in included files too."""
    where = folder()
    if where is None:
        return ()
    files = [file for name in ("slurm.conf", "gres.conf") for file in files_of(where / name)]
    return (where, *((file, _stamp_of(file)) for file in dict.fromkeys(files)))


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def node_name() -> str:
    """Return what Slurm calls this machine: NodeName in slurm.conf may be another than the host's.

    slurmd sets SLURMD_NODENAME for what it starts; the agent's own environment may have it too.
    """
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname().partition(".")[0]
