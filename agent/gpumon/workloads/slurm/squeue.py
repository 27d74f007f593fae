"""Jobs as ``squeue --json`` prints them: no text of a user's is in any field but its own.

Slurm has had it since 21.08, if it was built with json-c. Numbers were plain up to 22.05 and may be
``{"set": true, "infinite": false, "number": 12}`` since 23.02; a job's nodes are a host list in
``job_resources`` that was ``nodes`` up to 23.11 and is ``nodes.list`` since 24.05.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from gpumon.model import Job
from gpumon.workloads.labels import plain
from gpumon.workloads.slurm.gres import NotKnownError, gpu_numbers
from gpumon.workloads.slurm.hostlist import HostlistError, expand
from gpumon.workloads.slurm.slurmcommand import SlurmError

MANAGER = "slurm"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ControllerJob:
    """What the controller says of a job on one node; ``started`` in unix seconds.

    ``numbers`` are Slurm's own of its GPUs there. If those are not known, ``problem`` says why.
    """

    job: Job
    started: float | None = None
    numbers: tuple[int, ...] = ()
    problem: str = ""


ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PENDING",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
"""States of a job that holds no GPU; with a flag such as COMPLETING it still does."""

Records = dict[str, list[dict[str, Any]]]
"""A document's jobs by their id: more than one if two clusters have the same number."""


def parse_squeue(text: str | bytes) -> Records:
    """Return the jobs in a reply; SlurmError if it is something else, or reports an error.

    Slurm hands on the bytes of a name, whatever they are.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SlurmError(f"squeue --json printed something else ({error})") from None
    if not isinstance(document, dict) or not isinstance(document.get("jobs"), list):
        raise SlurmError("squeue --json printed something else (no list of jobs)")
    errors = document.get("errors")
    if errors:
        raise SlurmError(f"squeue --json reports {_described(errors)}")
    found: Records = {}
    for record in document["jobs"]:
        if isinstance(record, dict) and (number := _integer(record.get("job_id"))) is not None:
            found.setdefault(str(number), []).append(record)
    return found


def _described(errors: Any) -> str:
    first = errors[0] if isinstance(errors, list) else errors
    if isinstance(first, dict):
        words = (first.get("description"), first.get("error"), first.get("error_code"))
        first = next((word for word in words if word), "an error")
    return plain(first)


def told_of(records: list[dict[str, Any]], node: str) -> ControllerJob | None:
    """Return what the records of one id say of a node; None if that job holds nothing."""
    records = [record for record in records if not _ended(record)]
    if not records:
        return None
    record = records[0]
    job = Job(
        job_id=str(_integer(record.get("job_id"))),
        user=_word(record, "user_name") or _number_word(record, "user_id"),
        account=_word(record, "account"),
        partition=_word(record, "partition"),
        name=_word(record, "name"),
        manager=MANAGER,
        cluster=_word(record, "cluster"),
    )
    started = _integer(record.get("start_time")) or None
    if len(records) > 1:
        problem = f"squeue lists {len(records)} jobs of this number"
        return ControllerJob(job=job, started=started, problem=problem)
    try:
        numbers = _numbers(record, node)
    except NotKnownError as error:
        return ControllerJob(job=job, started=started, problem=str(error))
    return ControllerJob(job=job, started=started, numbers=numbers)


def _ended(record: dict[str, Any]) -> bool:
    """Return whether all of a job's states, one text or a list, are those of an end."""
    states = record.get("job_state")
    words = states if isinstance(states, list) else [states]
    return bool(words) and all(isinstance(word, str) and word in ENDED for word in words)


def _numbers(record: dict[str, Any], node: str) -> tuple[int, ...]:
    """Return Slurm's numbers of the job's GPUs on a node; none if it has none there.

    ``gres_detail`` has a text for each of the job's nodes, in their order.
    """
    details = record.get("gres_detail")
    if not isinstance(details, list):
        raise NotKnownError("squeue --json has no gres_detail")
    if not any(details):
        return ()
    nodes = _nodes(record)
    if node not in nodes:
        return ()
    if len(details) != len(nodes):
        raise NotKnownError(f"squeue has resources of {len(details)} nodes, and names {len(nodes)}")
    detail = details[nodes.index(node)]
    if detail is not None and not isinstance(detail, str):
        raise NotKnownError("squeue --json has a gres_detail that is not a text")
    return gpu_numbers(detail or "")


def _nodes(record: dict[str, Any]) -> list[str]:
    resources = record.get("job_resources")
    nodes = resources.get("nodes") if isinstance(resources, dict) else None
    if isinstance(nodes, dict):
        nodes = nodes.get("list")
    if not isinstance(nodes, str) or not nodes:
        nodes = record.get("nodes")
    if not isinstance(nodes, str):
        raise NotKnownError("squeue --json does not name the job's nodes")
    try:
        return expand(nodes)
    except HostlistError as error:
        raise NotKnownError(f"the job's nodes: {error}") from None


def _integer(value: Any) -> int | None:
    """Return a number in any of its forms; None if it is not set."""
    if isinstance(value, dict):
        if not value.get("set", True) or value.get("infinite"):
            return None
        value = value.get("number")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        return None
    return value


def _word(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    return plain(value) if isinstance(value, str) else ""


def _number_word(record: dict[str, Any], key: str) -> str:
    number = _integer(record.get(key))
    return "" if number is None else str(number)
