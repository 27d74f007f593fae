"""What processes cost, seen from outside: CPU time, memory, and how long a command takes."""

from __future__ import annotations

import collections
import dataclasses
import os
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence

import psutil


@dataclasses.dataclass(frozen=True)
class Spread:
    """The least, the middle and the greatest of several measurements."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of some values, of which there is at least one."""
        ordered = sorted(values)
        return cls(ordered[0], statistics.median(ordered), ordered[-1])

    def times(self, factor: float) -> Spread:
        """Return the spread in another unit."""
        return Spread(self.least * factor, self.median * factor, self.most * factor)

    def text(self, form: str, unit: str = "") -> str:
        """Return the median, and the range in brackets where it shows."""
        least, median, most = map(form.format, (self.least, self.median, self.most))
        return f"{median}{unit}" if least == most else f"{median}{unit} ({least} to {most})"


@dataclasses.dataclass(frozen=True)
class Memory:
    """Megabytes (a million bytes) of a process and its children.

    ``pss`` shares pages evenly with whoever else has them mapped, so another Python program on the
    machine makes it smaller; ``alone`` counts each page once, as if there were none.
    """

    pss: float
    alone: float


def processes(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all below it so far, those that ended included.

    From utime and stime in /proc: right to 10 ms a process.
    """
    total = 0.0
    for process in processes(pid):
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory(pid: int) -> Memory:
    """Return the memory of a process and all below it, from smaps_rollup and smaps."""
    pss = private = 0.0
    shared: collections.Counter[str] = collections.Counter()
    for process in processes(pid):
        pss += process.memory_full_info().pss
        for area in process.memory_maps(grouped=True):
            ours = area.private_clean + area.private_dirty
            private += ours
            shared[area.path] = max(shared[area.path], area.rss - ours)
    return Memory(pss / 1e6, (private + sum(shared.values())) / 1e6)


def wall_seconds(
    argv: Sequence[str], runs: int, env: Mapping[str, str] | None = None
) -> list[float]:
    """Run a command so many times, after once for the caches, and return how long each took."""
    taken = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(
            argv, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **(env or {})}
        )
        taken.append(time.perf_counter() - started)
    return taken[1:]
