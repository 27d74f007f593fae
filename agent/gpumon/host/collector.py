"""What every collector is, and what it says if its hardware is not there or may not be read."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, Protocol

from gpumon.model import Denied

log = logging.getLogger(__name__)

MOST_NODE_WATTS = 50_000.0
"""More than one node draws: one with eight of the largest GPUs draws 15 kW. A BMC or a meter that
knows no value says so with all bits set, which is 65,535 W or 4.3 MW."""


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


class Refusals:
    """Counts readings that no hardware can mean, by quantity; each kind is logged once."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._said: set[tuple[str, str]] = set()

    def refuse(self, quantity: str, source: str, value: str) -> None:
        """Take note of a reading that is not used: of what, who says it, and how it reads."""
        with self._lock:
            self._counts[quantity] = self._counts.get(quantity, 0) + 1
            first = (quantity, source) not in self._said
            self._said.add((quantity, source))
        if first:
            log.warning(
                "%s reports %s, which is impossible: not used, and counted from now on",
                source,
                value,
            )

    @property
    def counts(self) -> dict[str, int]:
        """How many were refused, by quantity."""
        with self._lock:
            return dict(self._counts)


def text_of(path: Path) -> str:
    """Return the text of a file of /sys, without its last newline; OSError if it has none."""
    return path.read_text("ascii", "replace").strip()


def number_of(path: Path) -> int:
    """Return the number a file of /sys holds; OSError or ValueError if there is none."""
    return int(text_of(path))
