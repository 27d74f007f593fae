"""Places for readers that nobody supervises: a check every minute must not pile them up.

A reader that hangs in the driver outlives the command that started it, and holds its place until
its call returns. The places are locks on files, which the kernel lets go of with the process.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import IO

from gpumon.errors import DriverStuckError, UnavailableError
from gpumon.reader.command import MOST_READERS

PLACES = 16
"""How many may look at the driver at once: each job's prolog may be one."""

STUCK_SECONDS = 120.0
"""A reader that is still there after this waits in the driver."""


def take_place(folder: Path | None = None) -> IO[bytes] | None:
    """Return an open file that holds a place for as long as it, or a child's copy, is open.

    None if no place can be made (a read-only system): then nobody counts. Raises DriverStuckError
    if too many readers already wait in the driver, since another one would only join them, and
    UnavailableError if all places are held for the moment.
    """
    free: list[IO[bytes]] = []
    try:
        home = folder or _folder()
        stuck = 0
        for number in range(PLACES):
            file = home / f"reader{number}"
            place = _try(file)
            if place is None:
                stuck += time.time() - file.stat().st_mtime > STUCK_SECONDS
            elif free:
                place.close()
            else:
                free.append(place)
    except OSError:
        return free[0] if free else None
    if stuck >= MOST_READERS:
        for place in free:
            place.close()
        raise DriverStuckError(
            f"{stuck} earlier looks at the driver are still waiting in it",
            "drain the node and reboot it",
        )
    if not free:
        raise UnavailableError(f"{PLACES} others look at the driver just now", "try again")
    os.utime(free[0].fileno())
    return free[0]


def _try(file: Path) -> IO[bytes] | None:
    """Return the file of a place that nobody holds, now held; None if somebody does."""
    place = file.open("ab")
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        place.close()
        return None
    return place


def _folder() -> Path:
    """Return a folder that is this user's alone, making it; OSError if there cannot be one.

    Not the service's /run/gpumon, which is the user gpumon's.
    """
    home = Path("/run") if os.geteuid() == 0 else Path(tempfile.gettempdir())
    folder = home / f"gpumon-readers-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(f"{folder} is not this user's alone")
    return folder
