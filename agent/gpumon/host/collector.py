"""What every collector is, and what they say when they may not read something."""

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


class Collector(Protocol):
    """Reads one part of the host, in a thread of its own.

    ``name`` is its label on gpumon_collector_success; ``period`` and ``deadline`` are in seconds.
    """

    name: str
    period: float
    deadline: float

    def collect(self) -> Any:
        """Return what it read, or None where its hardware is not there.

        Raises DeniedError where it may not, OSError or ValueError where it cannot.
        """
        ...


def text_of(path: Path) -> str:
    """Return the text of a file of /sys, without its last newline; OSError where it cannot be."""
    return path.read_text("ascii", "replace").strip()


def number_of(path: Path) -> int:
    """Return the number a file of /sys holds; OSError or ValueError where there is none."""
    return int(text_of(path))
