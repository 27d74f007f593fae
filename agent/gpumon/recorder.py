"""Writes a target's snapshots to a file, one document a line."""

from __future__ import annotations

import contextlib
import gzip
import json
import time
from pathlib import Path
from typing import IO

from gpumon.clock import SYSTEM, Schedule
from gpumon.errors import UnavailableError, UsageError
from gpumon.serialize import to_document
from gpumon.targets import open_target


def record(target: str | None, path: Path, duration: float | None, interval: float) -> int:
    """Record every ``interval`` seconds for ``duration`` (None: until interrupted).

    Returns the number of snapshots written. Raises UsageError where the file is there already.
    """
    count = 0
    schedule = Schedule(interval)
    end = None if duration is None else SYSTEM.monotonic() + duration
    with (
        open_target(target) as source,
        _create(path) as file,
        contextlib.suppress(KeyboardInterrupt),
    ):
        while True:
            document = to_document(source.read(), samples=True)
            file.write(json.dumps(document, allow_nan=False, separators=(",", ":")) + "\n")
            file.flush()
            count += 1
            if end is not None and SYSTEM.monotonic() >= end:
                break
            time.sleep(schedule.until_next())
    return count


def _create(path: Path) -> IO[str]:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "xt", encoding="utf-8")
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise UsageError(f"{path} is there already", "choose another name, or remove it") from None
    except OSError as error:
        raise UnavailableError(
            f"cannot write {path} ({error.strerror})", "choose a folder you may write to"
        ) from None
