"""The format of a job file: what a prolog writes of one job (docs/workloads.md).

A file may be written by anything from a shell script on: each field is checked for itself, so that
what a user has put into one of them, such as a job's name, says nothing about any other.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, cast, get_args

from gpumon.model import Job
from gpumon.model.jobs import UNKNOWN
from gpumon.workloads.held import HeldJob, Numbers
from gpumon.workloads.labels import plain

SCHEMA = 1

SLURM = "slurm"
"""Whose a file without the key ``manager`` is: Slurm's prolog wrote none before there were others.
"""

LONGEST_ID = 128
"""Characters. PBS appends the server's host name to a job's number."""

_MANAGER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_OURS = frozenset({"processes", UNKNOWN})
"""Words that gpumon itself puts in that place."""

_UUID = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]{1,100}")


class NotAJobError(Exception):
    """A file is not a job file; the words say why."""


def parse_job(text: str) -> HeldJob:
    """Return the job of a file; NotAJobError, with the reason, if it is not one."""
    document = _object(text)
    schema = document.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise NotAJobError(f"schema is {schema!r}; this version of gpumon reads {SCHEMA}")
    manager = _manager(document)
    since, until = _time(document, "since", "began"), _time(document, "until", "ended")
    if since is not None and until is not None and until < since:
        raise NotAJobError(f"until ({until:.3f}) is before since ({since:.3f})")
    return HeldJob(
        job=Job(
            job_id=_job_id(document),
            user=_text(document, "user"),
            account=_text(document, "account"),
            partition=_text(document, "partition"),
            name=_text(document, "name"),
            manager=manager,
            cluster=_text(document, "cluster"),
        ),
        gpus=_gpus(document),
        numbers=_numbers(document, manager),
        node=_text(document, "node"),
        since=since,
        until=until,
    )


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise NotAJobError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise NotAJobError(f"broken JSON: {error}") from None
    except ValueError:  # Python makes no number of more than 4300 digits
        raise NotAJobError("a number of thousands of digits") from None
    if not isinstance(document, dict):
        raise NotAJobError("not a JSON object")
    return document


def _no_number(word: str) -> NoReturn:
    raise NotAJobError(f"{word} is not a number")


def _manager(document: dict[str, Any]) -> str:
    manager = document.get("manager", SLURM)
    if not isinstance(manager, str) or not _MANAGER.fullmatch(manager) or manager in _OURS:
        raise NotAJobError(
            f"manager is {_short(manager)}; it is a short word in lower case, such as pbs"
        )
    return manager


def _numbers(document: dict[str, Any], manager: str) -> Numbers:
    """Return what numbers of GPUs mean; those of a prolog of Slurm's are Slurm's own."""
    numbers = document.get("numbers", "gres" if manager == SLURM else "minor")
    for known in get_args(Numbers):
        if numbers == known:
            return cast("Numbers", known)
    raise NotAJobError(f"numbers is {_short(numbers)}; it may be {', '.join(get_args(Numbers))}")


def _job_id(document: dict[str, Any]) -> str:
    value = document.get("job_id")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise NotAJobError("job_id is missing" if value is None else "job_id is not a text")
    job_id = str(value).strip()
    if not job_id or len(job_id) > LONGEST_ID or not job_id.isprintable():
        raise NotAJobError(f"job_id is {_short(job_id)}; it has 1 to {LONGEST_ID} letters")
    return job_id


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise NotAJobError(f"{key} is not a text")
    return plain(value)


def _gpus(document: dict[str, Any]) -> tuple[int | str, ...]:
    value = document.get("gpus")
    if isinstance(value, str):
        value = [word for word in value.split(",") if word.strip()]
    if not isinstance(value, list):
        raise NotAJobError("gpus is missing" if value is None else "gpus is not a list")
    return tuple(map(_gpu, value))


def _gpu(value: object) -> int | str:
    if isinstance(value, str):
        word = value.strip()
        if _UUID.fullmatch(word):
            return word
        if word.isascii() and word.isdecimal():
            return int(word)
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise NotAJobError(f"a GPU is {_short(value)}; it is a UUID (GPU-… or MIG-…) or a number")


def _time(document: dict[str, Any], key: str, formerly: str) -> float | None:
    """Return unix seconds, by the key or by what Slurm's hooks call it; None is not known."""
    name = key if key in document else formerly
    value = document.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = float(value)
            if math.isfinite(seconds) and seconds >= 0:
                return seconds
    except OverflowError:
        pass
    raise NotAJobError(f"{name} is {_short(value)}; it is a time in seconds since 1970")


def _short(value: object) -> str:
    """Return a value as a message shows it: it may be any user's, and long."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
