"""Jobs of a Slurm whose ``squeue`` writes no JSON.

A user may put anything into a job's name, a newline too, and so forge lines of ``scontrol`` and
rows of ``squeue``. So each fact is taken from where no user can write:

* user, account and partition from a ``squeue`` that prints these fields alone, of fixed width;
* the GPUs from ``scontrol -d show job``, if its records are just those that ``squeue`` numbers,
  each once, and the job's has exactly one line of this node. The true ones are always there, so a
  forged one is one too many, and then it is not known;
* the name from a call of its own, for its own label only.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Collection, Sequence

from gpumon.model import Job
from gpumon.workloads.labels import plain
from gpumon.workloads.slurm.gres import NotKnownError, gpu_numbers
from gpumon.workloads.slurm.hostlist import HostlistError, names_node
from gpumon.workloads.slurm.slurmcommand import run_for_job
from gpumon.workloads.slurm.squeue import ENDED, MANAGER, ControllerJob

WHOSE = (("JobID", 32), ("UserName", 64), ("Account", 64), ("Partition", 64))
WHEN = (("JobID", 32), ("State", 32), ("StartTime", 32))
"""What is asked of squeue, and how wide each is printed, to the right of its column."""

STATES = "--states=R,CG,S"
"""Running, completing and suspended jobs: those that hold their GPUs."""

TRIES = 3
"""How often a text is asked for again because squeue lists other tasks than before it."""

_RECORD = re.compile(r"^(?=JobId=)", re.MULTILINE)
_NUMBER = re.compile(r"JobId=(\d+)\s", re.ASCII)
_DETAIL = re.compile(r"^     Nodes=(\S+) CPU_IDs=\S* Mem=\S* GRES=(.*)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class _Run:
    """A job that runs: its beginning, as Slurm writes it, and the numbers that squeue lists."""

    began: str
    listed: frozenset[str]


async def ask_text(job_id: str, node: str) -> ControllerJob | None:
    """Return what Slurm's texts say of a job on a node; None if it has ended since.

    SlurmError if a command fails.
    """
    found = await _printed(job_id)
    if found is None:
        return None
    run, text = found
    whose = _own(await _rows(job_id, WHOSE), job_id) or [job_id, "", "", ""]
    named = await run_for_job("squeue", "--noheader", "--local", "-j", job_id, "-O", "Name:.256")
    job = Job(
        job_id=job_id,
        user=plain(whose[1]),
        account=plain(whose[2]),
        partition=plain(whose[3]),
        name=plain(named.decode("utf-8", "replace").strip().partition("\n")[0]),
        manager=MANAGER,
    )
    started = _time(run.began)
    if text is None:
        problem = "the tasks of its array that squeue lists change each time"
        return ControllerJob(job=job, started=started, problem=problem)
    try:
        numbers = parse_scontrol(text, job_id, node, run.listed)
    except NotKnownError as error:
        return ControllerJob(job=job, started=started, problem=str(error))
    return ControllerJob(job=job, started=started, numbers=numbers)


async def _printed(job_id: str) -> tuple[_Run, str | None] | None:
    """Return a job's run and scontrol's text of just the jobs that squeue lists with it.

    None if it has ended; no text if the list changed each time. That the controller forgets another
    task of its array changes the list, and ends no job.
    """
    before = await _run(job_id)
    for _ in range(TRIES):
        text = await run_for_job("scontrol", "-d", "show", "job", job_id)
        after = await _run(job_id)
        if before is None or after is None or before.began != after.began:
            return None
        if before.listed == after.listed:
            return after, text.decode("utf-8", "replace")
        before = after
    return None if before is None else (before, None)


async def _run(job_id: str) -> _Run | None:
    """Return the job's run; None if it does not run."""
    rows = await _rows(job_id, WHEN)
    own = _own(rows, job_id)
    if own is None or own[1] in ENDED:
        return None
    return _Run(own[2], frozenset(row[0] for row in rows))


async def _rows(job_id: str, fields: Sequence[tuple[str, int]]) -> list[list[str]]:
    """Return some fields of the job, and of the others that scontrol prints with it.

    An array's last task has the array's number, for which both print all of its tasks. Pending ones
    are then listed one by one.
    """
    form = ",".join(f"{name}:.{width}" for name, width in fields)
    of_job = ("--noheader", "--local", "--array", "--states=all", "-j", job_id)
    return parse_rows(await run_for_job("squeue", *of_job, "-O", form), fields)


def parse_rows(rows: bytes, fields: Sequence[tuple[str, int]]) -> list[list[str]]:
    """Return the fields of each row, which are of fixed width in bytes."""
    found = []
    for row in rows.split(b"\n"):
        words, at = [], 0
        for _, width in fields:
            word = row[at : at + width].decode("utf-8", "replace").strip()
            words.append("" if word in ("(null)", "N/A") else word)
            at += width
        if words[0]:
            found.append(words)
    return found


def _own(rows: list[list[str]], job_id: str) -> list[str] | None:
    own = [row for row in rows if row[0] == job_id]
    return own[0] if len(own) == 1 else None


def parse_scontrol(
    text: str, job_id: str, node: str, listed: Collection[str] = ()
) -> tuple[int, ...]:
    """Return Slurm's numbers of a running job's GPUs on a node; none if it has none there.

    ``listed`` are the numbers of the jobs that must be in the text, by default this one.
    NotKnownError if there are others, one of them twice, or not exactly one line of the node in the
    job's record: a user may have written those.
    """
    records = [(found[1], r) for r in _RECORD.split(text) if (found := _NUMBER.match(r))]
    numbers = [number for number, _ in records]
    if sorted(numbers) != sorted(set(listed) or {job_id}) or job_id not in numbers:
        raise NotKnownError(
            f"scontrol prints records of {', '.join(numbers[:8]) or 'no job'}, and squeue lists "
            f"{', '.join(sorted(listed)[:8]) or job_id}"
        )
    own = dict(records)[job_id]
    try:
        lines = [gres for nodes, gres in _DETAIL.findall(own) if names_node(nodes, node)]
    except HostlistError as error:
        raise NotKnownError(f"scontrol prints a line of nodes that is not one: {error}") from None
    if len(lines) != 1:
        raise NotKnownError(f"scontrol prints {len(lines)} lines of the job's resources on {node}")
    return gpu_numbers(lines[0])


def _time(text: str) -> float | None:
    """Return unix seconds of Slurm's local time, or None."""
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
