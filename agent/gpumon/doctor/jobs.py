"""The facts of the workload manager: what the agent says of it, and what Slurm says here."""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from gpumon.doctor import command
from gpumon.doctor.agent import ask
from gpumon.doctor.facts import Jobs, SlurmHere
from gpumon.doctor.here import CALL_SECONDS
from gpumon.workloads.slurm.gresindex import (
    GresIndex,
    from_gres_conf,
    from_slurmd,
    without_slurmd,
)
from gpumon.workloads.slurm.slurmconf import folder, node_name

SLURM = "slurm"
JOB_FILES = "jobfiles"

_SAMPLE = re.compile(
    r"^gpumon_(workload_manager_info|collector_success|workload_manager_unresolved_jobs)"
    r'(?:\{(?:manager|collector)="([^"\n]*)"\})? (\d+)',
    re.MULTILINE,
)


def jobs(url: str, metrics: str, folder_: Path | None = None) -> Jobs:
    """Ask the agent which manager reports its jobs, and look at what it reads on this machine.

    ``folder_`` is that of job files.
    """
    found = _agents_word(url, metrics)
    manager = next((name for key, name in found if key == "workload_manager_info"), "")
    here = manager == SLURM or (not manager and folder() is not None)
    return Jobs(
        manager=manager,
        success=found.get(("collector_success", manager)) != 0 if manager else None,
        unresolved=found.get(("workload_manager_unresolved_jobs", "")),
        slurm=slurm() if here else None,
        folder_problem=_folder_problem(folder_) if folder_ and manager == JOB_FILES else "",
    )


def _folder_problem(path: Path) -> str:
    """Return why nothing can come of a folder of job files, or nothing."""
    try:
        if path.is_dir():
            return ""
        there = path.exists()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return f"{path} is not a folder" if there else f"there is no folder {path}"


def _agents_word(url: str, metrics: str) -> Mapping[tuple[str, str], int]:
    """Return the samples that matter by name and label; none if the agent does not reply."""
    try:
        text = ask(url, metrics).text
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    return {(name, label): int(value) for name, label, value in _SAMPLE.findall(text)}


def slurm() -> SlurmHere:
    """Look at what Slurm's commands can say on this machine."""
    node = node_name()
    version = command.run(("squeue", "--version"), CALL_SECONDS)
    json_problem = _json_problem(command.run(("sinfo", "--json"), CALL_SECONDS))
    config = command.run(("scontrol", "show", "config"), CALL_SECONDS)
    private = re.search(r"^PrivateData\s*= *(\S+)", config.text, re.MULTILINE)
    return SlurmHere(
        node=node,
        version=version.text.strip().removeprefix("slurm ") if version.code == 0 else "",
        problem=version.problem or ("" if config.code == 0 else _last(config)),
        json_problem=json_problem,
        hides_jobs=bool(private and "jobs" in private[1].split(",") and os.geteuid()),
        devices=_devices(node),
    )


def _devices(node: str) -> GresIndex:
    devices = from_gres_conf(node)
    if devices is None:
        devices, problem = from_slurmd(node)
        devices = devices or without_slurmd(node, "", problem)
    return devices


def _json_problem(printed: command.Printed) -> str:
    if printed.problem or printed.code != 0:
        return printed.problem or _last(printed)
    try:
        # A warning may come before it.
        json.loads(printed.text[max(0, printed.text.find("{")) :])
    except (ValueError, RecursionError):
        return "it prints something else"
    return ""


def _last(printed: command.Printed) -> str:
    lines = printed.text.strip().splitlines()
    return printed.problem or (lines[-1][:200] if lines else "it prints nothing")
