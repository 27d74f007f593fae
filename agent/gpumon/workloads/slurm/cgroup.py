"""Whose a process is, by the cgroup that its workload manager put it in."""

from __future__ import annotations

import re
from pathlib import Path

_SLURM = re.compile(
    r"(?:slurmstepd\.scope|/slurm(?:_[^/]+)?/uid_\d+)/job_(\d+)(?:/|$)", re.MULTILINE
)
"""cgroup v2 and v1 (nvml-reference section 6)."""


def slurm_job(cgroup: str) -> str | None:
    """Return the job in a ``/proc/PID/cgroup`` text, or None."""
    found = _SLURM.search(cgroup)
    return found.group(1) if found else None


def job_of_process(pid: int, proc: Path = Path("/proc")) -> str | None:
    """Return the Slurm job of a process, or None if it has none or is gone."""
    try:
        return slurm_job((proc / str(pid) / "cgroup").read_text())
    except OSError:
        return None
