"""What Slurm's own commands say of the jobs on a node.

``IDX`` in ``scontrol -d show job`` counts the devices of gres.conf in its order, not the driver's:
it is mapped by their ``File=`` to the minor number. ``CUDA_VISIBLE_DEVICES`` is renumbered in each
job and says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import os
import re
from collections.abc import Mapping
from pathlib import Path

from gpumon.clock import Clock
from gpumon.model import Job
from gpumon.workloads.held import HeldJob
from gpumon.workloads.labels import plain
from gpumon.workloads.slurm.hostlist import expand, ranges

GRACE_SECONDS = 1.0
"""How long a program that was killed is waited for."""

DEADLINE_SECONDS = 10.0


class SlurmError(Exception):
    """Slurm did not answer, or answered nonsense."""


async def ask_jobs(node: str, before: Mapping[str, HeldJob], clock: Clock) -> dict[str, HeldJob]:
    """Return the jobs that hold GPUs of this node; those that were there before now have an end.

    Raises SlurmError.
    """
    listed = await run_command(
        "squeue", "--noheader", f"--nodelist={node}", "--states=R,CG,S", "-o", "%A"
    )
    devices = gres_minors(node)
    found: dict[str, HeldJob] = {}
    for job_id in sorted({word for word in listed.split() if word.isdigit()}):
        with contextlib.suppress(SlurmError):  # it ended since
            job = parse_job(
                await run_command("scontrol", "-d", "show", "job", job_id), node, devices
            )
            if job is not None:
                found[job.job.job_id] = job
    now = clock.time()
    for job_id, job in before.items():
        if job_id not in found and (job.until is None or now - job.until < 2 * 60):
            found[job_id] = dataclasses.replace(job, until=job.until or now)
    return found


def parse_job(text: str, node: str, devices: Mapping[str, list[int]]) -> HeldJob | None:
    """Return the job of ``scontrol -d show job`` with its GPUs on a node; None if it has none.

    ``devices`` are the minor numbers of gres.conf by the gres's type, in its order.
    """
    head = re.search(r"JobId=(\d+)(?:\s.*?)?JobName=(.*)$", text, re.MULTILINE)
    if head is None:
        raise SlurmError("scontrol answered without a JobId")
    minors: list[int] = []
    for nodes, kind, index in re.findall(
        r"Nodes=(\S+).*?GRES=gpu(?::([^:(,\s]+))?:?\d*\(IDX:([0-9,\-]+)\)", text
    ):
        if node in expand(nodes):
            order = devices.get(kind) or devices.get("") or []
            minors += [order[i] if i < len(order) else i for i in ranges(index)]
    user = re.search(r"UserId=([^(\s]+)", text)
    if not minors:
        return None
    return HeldJob(
        job=Job(
            job_id=head.group(1),
            user=plain(user.group(1) if user else ""),
            account=plain(_known(_field(text, "Account"))),
            partition=plain(_field(text, "Partition")),
            name=plain(head.group(2)),
            manager="slurm",
        ),
        gpus=tuple(dict.fromkeys(minors)),
        since=_time(_field(text, "StartTime")),
    )


def gres_minors(node: str, path: Path | None = None) -> dict[str, list[int]]:
    """Return the minor numbers of gres.conf's GPU files by type, in its order; "" for all.

    Empty if there is no such file, or none with ``File=`` (AutoDetect): then Slurm counts
    devices by their minor number.
    """
    path = path or Path(os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf")).with_name(
        "gres.conf"
    )
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return {}
    found: dict[str, list[int]] = {}
    for line in text.splitlines():
        pairs = re.findall(r"(\w+)=(\S+)", line.partition("#")[0])
        words = {key.lower(): value for key, value in pairs}
        if words.get("name", "").lower() != "gpu" or "file" not in words:
            continue
        if "nodename" in words and node not in expand(words["nodename"]):
            continue
        for file in expand(words["file"]):
            number = re.search(r"(\d+)$", file)
            if number:
                for kind in {words.get("type", ""), ""}:
                    found.setdefault(kind, []).append(int(number.group(1)))
    return found


def _field(text: str, name: str) -> str:
    found = re.search(rf"\b{name}=(\S*)", text)
    return found.group(1) if found else ""


def _known(text: str) -> str:
    return "" if text == "(null)" else text


def _time(text: str) -> float | None:
    """Return unix seconds of Slurm's local time, or None."""
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


async def run_command(*command: str) -> str:
    """Return what a command printed; SlurmError if it failed or took too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise SlurmError(f"{command[0]} cannot be run ({error.strerror})") from None
    try:
        out, wrong = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    except asyncio.TimeoutError:
        raise SlurmError(f"{command[0]} did not answer in {DEADLINE_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            await _end(process)
    if process.returncode:
        said = wrong.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
        raise SlurmError(f"{command[0]} failed: {said[-1]}")
    return out.decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a program and see it end, so that nothing of it is left open when the agent goes."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(asyncio.TimeoutError):  # it may wait for a disk that does not answer
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
