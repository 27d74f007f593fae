"""Looking into a state file that an agent may be writing: the one way, and its errors."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gpumon.errors import UnavailableError


@contextlib.contextmanager
def open_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a state file for reading only.

    Raises UnavailableError if it is not there, may not be read, is not a state file, or was
    written by an agent that is too old for what is asked of it.
    """
    try:
        path.stat()
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            yield db
    except FileNotFoundError:
        raise UnavailableError(
            f"{path} is not there", "gpumon agent writes it; --state-dir names another folder"
        ) from None
    except (OSError, sqlite3.Error) as error:
        if "no such table" in str(error):
            raise UnavailableError(
                f"{path} is of an older agent", "restart gpumon agent, which brings it up to date"
            ) from None
        raise UnavailableError(
            f"{path} cannot be read ({error})", "read it as the agent's user or as root"
        ) from None
