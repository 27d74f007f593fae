"""How busy the CPUs are, and how much memory is left; the rest of a host is node_exporter's."""

from __future__ import annotations

from typing import NamedTuple

import psutil


class HostBasics(NamedTuple):
    """Logical CPUs, their utilisation since the last look (None at the first), bytes of memory."""

    cpus: int | None
    cpu_utilization_ratio: float | None
    memory_total_bytes: int
    memory_available_bytes: int


class Basics:
    """Asks the kernel by psutil; see Collector."""

    name = "host"
    period = 5.0
    deadline = 5.0

    def __init__(self) -> None:
        """Begin the first look."""
        self._before = psutil.cpu_times()

    def collect(self) -> HostBasics:
        """Return the basics since the last look."""
        now = psutil.cpu_times()
        memory = psutil.virtual_memory()
        busy = _busy_share(self._before, now)
        self._before = now
        return HostBasics(psutil.cpu_count(), busy, memory.total, memory.available)


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
