"""Whose a process is, by the cgroup that its workload manager put it in."""

from __future__ import annotations

import re
from pathlib import Path

_SLURM = re.compile(
    r"^\d+:[^:\n]*:(?:"
    r"(?:(?!user\.slice|user-\d|slurmstepd\.scope/)[^\n])*?slurmstepd\.scope"
    r"|/slurm(?:_[^/\n]+)?/uid_\d+"
    r")/job_(\d{1,10})(?:/|$)",
    re.MULTILINE | re.ASCII,
)
"""cgroup v2, and v1 with its hierarchies one a line.

In v1 slurmd's is at the root of each hierarchy (``/slurm_n1/uid_1000/job_12``); in v2 it is where
slurmd's scope is. The first in a line counts: those below it may be a job's own. None below
``user.slice`` does: there users make cgroups of any name."""


def slurm_job(cgroup: str) -> str | None:
    """Return the job in a ``/proc/PID/cgroup`` text; None if there is none, or more than one."""
    found = set(_SLURM.findall(cgroup))
    return found.pop() if len(found) == 1 else None


def job_of_process(pid: int, proc: Path = Path("/proc")) -> str | None:
    """Return the Slurm job of a process, or None if it has none or is gone."""
    try:
        return slurm_job((proc / str(pid) / "cgroup").read_text("utf-8", "replace"))
    except OSError:
        return None
