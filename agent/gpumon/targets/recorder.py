"""Writes a target's snapshots to a file, one document a line."""

from __future__ import annotations

import contextlib
import gzip
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from gpumon.clock import SYSTEM, Schedule
from gpumon.documents.snapshot import to_document
from gpumon.documents.write import json_line
from gpumon.errors import UnavailableError, UsageError
from gpumon.model import Snapshot
from gpumon.targets.target import Target, open_target

log = logging.getLogger(__name__)


def record(
    target: str | None,
    path: Path,
    duration: float | None,
    interval: float,
    wrote: Callable[[int], None],
) -> int:
    """Record every ``interval`` seconds for ``duration`` (None: until interrupted).

    Calls ``wrote`` with the number of snapshots so far, and returns it. Raises UsageError if
    the file is there already.
    """
    count, last = 0, 0.0
    schedule = Schedule(interval)
    end = None if duration is None else SYSTEM.monotonic() + duration
    if path.exists():
        raise _there_already(path)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_target(target, interval=interval))
        snapshot: Snapshot | None = source.read()  # a target that does not answer leaves no file
        file = stack.enter_context(_create(path))
        while True:
            if snapshot is not None and snapshot.time != last:  # else nothing is new
                last = snapshot.time
                file.write(json_line(to_document(snapshot, samples=True)))
                file.flush()
                count += 1
                wrote(count)
            if end is not None and SYSTEM.monotonic() >= end:
                return count
            time.sleep(schedule.until_next())
            snapshot = _look(source)


def _look(source: Target) -> Snapshot | None:
    """Read a target that has answered before: an answer that fails is a hole and not the end."""
    try:
        return source.read()
    except UnavailableError as error:
        log.warning("%s", error)
        return None


def _there_already(path: Path) -> UsageError:
    return UsageError(f"{path} is there already", "choose another name, or remove it")


def _create(path: Path) -> IO[str]:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "xt", encoding="utf-8")
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise _there_already(path) from None
    except OSError as error:
        raise UnavailableError(
            f"cannot write {path} ({error.strerror})", "choose a folder you may write to"
        ) from None
