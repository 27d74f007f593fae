"""How busy the CPUs are, and how much memory is left; the rest of a host is node_exporter's."""

from __future__ import annotations

from typing import Any, NamedTuple

import psutil

from gpumon.model import HostReading, group_of
from gpumon.model.bounds import Bound, bound_of, quantity_of
from gpumon.refusals import Refusals


class HostBasics(NamedTuple):
    """Logical CPUs, their utilisation since the last look (None at the first), bytes of memory.

    What cannot be is None.
    """

    cpus: int | None
    cpu_utilization_ratio: float | None
    memory_total_bytes: int | None
    memory_available_bytes: int | None


class Basics:
    """Asks the kernel by psutil; see Collector."""

    name = "host"
    period = 5.0
    deadline = 5.0

    def __init__(self, refusals: Refusals | None = None) -> None:
        """Begin the first look."""
        self._refusals = refusals or Refusals()
        self._before = psutil.cpu_times()

    def collect(self) -> HostBasics:
        """Return the basics since the last look."""
        now = psutil.cpu_times()
        memory = psutil.virtual_memory()
        busy = _busy_share(self._before, now)
        self._before = now
        found = HostBasics(psutil.cpu_count(), busy, memory.total, memory.available)
        return HostBasics(**{name: self._possible(name, v) for name, v in found._asdict().items()})

    def _possible(self, field: str, value: Any) -> Any:
        # The server's own collectors are not behind the gate of the sources, which is in the
        # reader's process: the bounds are the same.
        metric = group_of(HostReading)[field]
        bound = bound_of(HostReading, metric)
        if value is None or not isinstance(bound, Bound) or bound.holds(value):
            return value
        self._refusals.refuse(quantity_of(metric), "the kernel", f"{field} {value}")
        return None


def _busy_share(before: object, now: object) -> float | None:
    """Return the share of all CPUs' time that was not idle between two looks."""
    # Guests' time is in user's already (proc(5)); waiting for a disk is idling.
    spent: dict[str, float] = {
        name: max(0.0, getattr(now, name) - getattr(before, name))
        for name in getattr(now, "_fields", ())
        if name not in ("guest", "guest_nice")
    }
    total = sum(spent.values())
    if total <= 0:
        return None
    return round(1 - (spent["idle"] + spent.get("iowait", 0.0)) / total, 4)
