"""The words of checks: what is looked at, what is found, and what a verdict is."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from gpumon.clock import SYSTEM
from gpumon.model import GpuReading, Snapshot
from gpumon.thresholds import Thresholds
from gpumon.times import format_age

TELLING_SECONDS = 10.0
"""What has lasted for less is taken as having begun now."""

Number = TypeVar("Number", int, float)


class Level(str, enum.Enum):
    """A verdict, the worst first.

    FAIL: a job that starts here fails, is wrong, or is slowed to a fraction. WARN: it runs, and
    somebody should look within days. SKIP: nothing is known, which is never a PASS.
    """

    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    PASS = "pass"  # noqa: S105 - a verdict


NO_AGENT = "the node's agent was not asked, or does not report it"
"""Why nothing is said of what only an agent knows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: a level, the evidence with its numbers, and what to do next.

    ``alert`` is the alert of the same thing, empty if there is none.
    """

    level: Level
    evidence: str
    next_step: str = ""
    alert: str = ""


def passed(evidence: str) -> Finding:
    """Return that nothing is wrong, and what shows it."""
    return Finding(Level.PASS, evidence)


def skipped(reason: str) -> Finding:
    """Return that nothing is known, and why."""
    return Finding(Level.SKIP, reason)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says of the node, or of one GPU (``gpu`` is NVML's index)."""

    check: str
    level: Level
    evidence: str
    gpu: int | None = None
    uuid: str = ""
    next_step: str = ""
    alert: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the checks look at.

    ``snapshot`` is None if there is none; ``problem`` says why, and ``broken`` that the driver
    itself is at fault, and not the way to it. ``earlier`` is a snapshot of ``window_seconds``
    before, for rates. ``expected`` is how many GPUs there should be, if it was declared. ``now`` is
    a moment of the monotonic clock, for ages.
    """

    snapshot: Snapshot | None
    problem: str = ""
    broken: bool = False
    earlier: Snapshot | None = None
    expected: int | None = None
    thresholds: Thresholds
    now: float = dataclasses.field(default_factory=SYSTEM.monotonic)

    def number(self, threshold: str) -> float:
        """Return a threshold that is a number."""
        return self.thresholds.number(threshold)

    def seconds(self, threshold: str) -> float:
        """Return a threshold that is a duration, in seconds."""
        return self.thresholds.seconds(threshold)

    @property
    def window_seconds(self) -> float:
        """How much later the snapshot is than the one before; 0 if there is none before."""
        if self.snapshot is None or self.earlier is None:
            return 0.0
        return self.snapshot.time - self.earlier.time

    def before(self, gpu: GpuReading) -> GpuReading | None:
        """Return the reading of a GPU in the snapshot before, if it had one."""
        for reading in self.earlier.gpus if self.earlier is not None else ():
            if reading.identity.uuid == gpu.identity.uuid and reading.up:
                return reading
        return None

    def lasting(self, gpu: GpuReading, *conditions: str) -> str:
        """Return `` for 12 min``: how long the first of some conditions has lasted.

        Empty if nobody has looked for long enough to know.
        """
        began = [at for name, at in (gpu.since or {}).items() if name in conditions]
        if not began or self.snapshot is None:
            return ""
        seconds = self.snapshot.time - min(began)
        return f" for {format_age(seconds)}" if seconds >= TELLING_SECONDS else ""

    def rate(self, later: Number | None, earlier: Number | None) -> float | None:
        """Return what a counter gained per second of the window; None if that is not known.

        A counter that has fallen was reset meanwhile, and says nothing.
        """
        if later is None or earlier is None or self.window_seconds <= 0 or later < earlier:
            return None
        return (later - earlier) / self.window_seconds


NodeJudge = Callable[[Observation], Iterable[Finding]]
GpuJudge = Callable[[GpuReading, Observation], Iterable[Finding]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: of the node (``node``) or of each GPU (``gpu``).

    ``title`` is what holds when it passes, ``fails`` and ``warns`` what is found otherwise.
    ``alerts`` are those it goes with, ``thresholds`` the names of those it compares with. A check
    of GPUs is asked only about those that answer, unless it is ``of_state``: about what is known
    of a GPU however it is.
    """

    name: str
    title: str
    node: NodeJudge | None = None
    gpu: GpuJudge | None = None
    of_state: bool = False
    fails: str = ""
    warns: str = ""
    alerts: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()


def node_check(**row: Any) -> Callable[[NodeJudge], Check]:
    """Make a function that judges the node a Check, with the rest of its row."""
    return lambda judge: Check(node=judge, **row)


def gpu_check(**row: Any) -> Callable[[GpuJudge], Check]:
    """Make a function that judges each GPU a Check, with the rest of its row."""
    return lambda judge: Check(gpu=judge, **row)
