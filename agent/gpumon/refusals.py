"""What was reported and cannot be: left out, counted by quantity, and logged once.

One counter for all of them (``gpumon_refused_readings_total``): what a GPU's driver says, a BMC, a
recording, and what the state file cannot keep.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)


class Refusals:
    """Counts what is refused, by quantity; each quantity of each source is logged once.

    It may be used by several threads.
    """

    def __init__(self, tell: Callable[[str], object] | None = None) -> None:
        """Start with none; ``tell`` is called once for each kind, instead of the log."""
        self._tell = tell or _log
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._said: set[tuple[str, str]] = set()

    def refuse(self, quantity: str, source: str, value: str) -> None:
        """Take note of a reading that is not used: of what, who reports it, and how it reads."""
        with self._lock:
            self._counts[quantity] = self._counts.get(quantity, 0) + 1
            first = (quantity, source) not in self._said
            self._said.add((quantity, source))
        if first:
            self._tell(f"{source} reports {value}")

    def add(self, counts: Mapping[str, int]) -> None:
        """Add what was refused, and logged, elsewhere (in the reader's process)."""
        if not counts:
            return
        with self._lock:
            for quantity, count in counts.items():
                self._counts[quantity] = self._counts.get(quantity, 0) + count

    def take(self) -> dict[str, int]:
        """Return what was refused since this was last asked, for ``add``."""
        with self._lock:
            taken, self._counts = self._counts, {}
            return taken

    @property
    def counts(self) -> dict[str, int]:
        """How many were refused, by quantity."""
        with self._lock:
            return dict(self._counts)


def _log(report: str) -> None:
    log.warning("%s, which is impossible: not used, and counted from now on", report)
