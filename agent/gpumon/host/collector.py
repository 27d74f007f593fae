"""What every collector is, and what it says if its hardware is not there or may not be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from gpumon.model import Denied


class DeniedError(Exception):
    """The collector's hardware is there, but this user may not read it."""

    def __init__(self, denied: Denied) -> None:
        """Say what was denied."""
        super().__init__(f"{denied.reading}: {denied.needs}")
        self.denied = denied


class AbsentError(Exception):
    """There is nothing here that measures, and why: that is not a failure of the collector."""


class Collector(Protocol):
    """Reads one part of the host, in a thread of its own.

    ``name`` is its label on gpumon_collector_success; ``period`` and ``deadline`` are in seconds.
    """

    name: str
    period: float
    deadline: float

    def collect(self) -> Any:
        """Return what it read, or None if its hardware is not there.

        Raises AbsentError if that takes words, DeniedError if it may not read, OSError or
        ValueError if it cannot.
        """
        ...


def text_of(path: Path) -> str:
    """Return the text of a file of /sys, without its last newline; OSError if it has none."""
    return path.read_text("ascii", "replace").strip()


def number_of(path: Path) -> int:
    """Return the number a file of /sys holds; OSError or ValueError if there is none."""
    return int(text_of(path))
