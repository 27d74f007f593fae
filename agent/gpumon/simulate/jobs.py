"""Who works on what: each group of GPUs has one job after another, drawn from the seed.

A slot is a group that is always given out together: some nodes, one node, or part of one. Its jobs
and the pauses between them follow from the seed alone, so every node of a slot knows them without
asking the others, and those of a training job run in step.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence

from gpumon.model import Job
from gpumon.simulate.fleetplan import FleetPlan
from gpumon.sources.sim.node import WARM_UP
from gpumon.sources.sim.workload import (
    IDLE,
    TICKS_PER_SECOND,
    Inference,
    Load,
    Program,
    Steady,
    Training,
)

SIZES = (16, 4, 1, 8, 1, 2)
"""Nodes of the training slots, again and again: few jobs are large, and have most GPU hours."""

HOUR = 3600.0
TRAINING_HOURS = (6.0, 72.0)
SMALL_HOURS = (0.5, 8.0)
PAUSE_SECONDS = (60.0, 1200.0)
"""How long a job lasts, and how long its GPUs then stand free (assumed)."""

USERS = ("ada", "bea", "cem", "dai", "eva", "fay", "gil", "hoa", "ida", "jun")
ACCOUNTS = ("vision", "language", "speech", "search")


@dataclasses.dataclass(frozen=True, slots=True)
class JobSlot:
    """A group of GPUs: by node its GPUs' indices; ``kind`` is training or inference."""

    number: int
    kind: str
    gpus: Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """The slot's job of this number, from ``begin`` to ``end``, in seconds since the opening."""

    number: int
    job: Job
    kind: str
    begin: float
    end: float
    seed: str


def slots_of(plan: FleetPlan) -> list[JobSlot]:
    """Return the slots of a fleet: every GPU is in one of them."""
    training = [node for node in plan.nodes if node.node_partition != "serve"]
    serving = [node for node in plan.nodes if node.node_partition == "serve"]
    whole = {node.node: tuple(range(plan.gpus_of(node))) for node in plan.nodes}
    groups: list[tuple[str, dict[str, tuple[int, ...]]]] = []
    at = turn = 0
    while at < len(training):
        size = min(SIZES[turn % len(SIZES)], len(training) - at)
        names = [node.node for node in training[at : at + size]]
        at, turn = at + size, turn + 1
        groups.append(("training", {name: whole[name] for name in names}))
    for node in serving:
        # A node that serves is shared by two jobs.
        half = (len(whole[node.node]) + 1) // 2
        parts = (whole[node.node][:half], whole[node.node][half:])
        groups += [("inference", {node.node: part}) for part in parts if part]
    return [JobSlot(number, kind, gpus) for number, (kind, gpus) in enumerate(groups)]


class Timeline:
    """The jobs of a slot, in order; made as far as somebody has asked."""

    def __init__(self, plan: FleetPlan, slot: JobSlot) -> None:
        """Begin with a job that has been running for a while."""
        self._seed = f"{plan.seed}/{slot.number}"
        self._slot = slot
        self._partition = next(node.node_partition for node in plan.nodes if node.node in slot.gpus)
        source = random.Random(f"slot/{self._seed}")
        first = self._span(0, 0.0)
        # It has still a third of its time and more, so a fleet does not end all jobs at once.
        left = (first.end - first.begin) * source.uniform(0.34, 1.0)
        self._spans = [dataclasses.replace(first, begin=-HOUR, end=left)]

    def at(self, seconds: float) -> Span | None:
        """Return the job that runs at a time, or None in a pause."""
        span = self._upto(seconds)
        return span if span.begin <= seconds < span.end else None

    def between(self, since: float, until: float) -> list[Span]:
        """Return the jobs that ran at any time between two, in order."""
        self._upto(until)
        return [span for span in self._spans if span.begin <= until and span.end > since]

    def next_begin(self, seconds: float) -> float:
        """Return when the next job begins after a time at which none runs."""
        return self._after(self._upto(seconds)).begin

    def _upto(self, seconds: float) -> Span:
        """Return the last job that has begun by a time."""
        while self._spans[-1].end <= seconds:
            upcoming = self._after(self._spans[-1])
            if upcoming.begin > seconds:
                return self._spans[-1]
            self._spans.append(upcoming)
        return next(span for span in reversed(self._spans) if span.begin <= seconds)

    def _after(self, span: Span) -> Span:
        number = span.number + 1
        pause = random.Random(f"pause/{self._seed}/{number}").uniform(*PAUSE_SECONDS)
        return self._span(number, span.end + pause)

    def _span(self, number: int, begin: float) -> Span:
        slot, seed = self._slot, f"{self._seed}/{number}"
        source = random.Random(f"job/{seed}")
        large = len(slot.gpus) > 1 or slot.kind == "inference"
        hours = source.uniform(*(TRAINING_HOURS if large else SMALL_HOURS))
        user = source.choice(USERS)
        job = Job(
            job_id=str(10_000 + 1000 * slot.number + number),
            user=user,
            account=source.choice(ACCOUNTS),
            partition=self._partition,
            name="serve" if slot.kind == "inference" else f"train-{source.randrange(100):02d}",
            manager="slurm",
        )
        return Span(number, job, slot.kind, begin, begin + hours * HOUR, seed)


class Shift(Program):
    """What one node does in a slot: its jobs' programs one after another, idle between them."""

    def __init__(
        self, plan: FleetPlan, timeline: Timeline, *, start: float, lane: str = ""
    ) -> None:
        """Begin at the warm-up's first tick; ``start`` is the unix time of the opening.

        ``lane`` distinguishes GPUs that do not work in step: each that serves has its own requests.
        """
        super().__init__(-WARM_UP)
        self._plan = plan
        self._timeline = timeline
        self._start = start
        self._lane = lane
        self._running: tuple[str, Program] | None = None

    def next_phase(self) -> tuple[int, Load]:
        """Return the running job's next phase, or the pause until the next job."""
        seconds = self.tick / TICKS_PER_SECOND
        span = self._timeline.at(seconds)
        if span is None:
            self._running, self.memory_used = None, 0.0
            wait = self._timeline.next_begin(seconds) - seconds
            return max(1, round(wait * TICKS_PER_SECOND)), IDLE
        program = self._program(span)
        program.tick = self.tick
        ticks, load = program.next_phase()
        left = round((span.end - seconds) * TICKS_PER_SECOND)
        return max(1, min(ticks, left)), load

    def _program(self, span: Span) -> Program:
        if self._running is None or self._running[0] != span.seed:
            self._running = span.seed, self._make(span)
            self.memory_used = self._running[1].memory_used
        return self._running[1]

    def _make(self, span: Span) -> Program:
        if span.kind == "training":
            return Training(self.tick, self._plan.model, span.seed)
        return Inference(self.tick, self._plan.model, f"{span.seed}/{self._lane}", self._start)


class Fixed(Program):
    """Swings between a load and none, or holds one forever: for faults."""

    def __init__(
        self, tick: int, load: Load, *, memory_used: float, half_period: float = 0
    ) -> None:
        """Begin at a tick; with ``half_period`` seconds of load, then as long idle, and so on."""
        super().__init__(tick)
        self.memory_used = memory_used
        self._load = load
        self._half = round(half_period * TICKS_PER_SECOND)

    def next_phase(self) -> tuple[int, Load]:
        """Return the load, or its absence; halves begin at the same ticks on all nodes."""
        if not self._half:
            return HOUR_TICKS, self._load
        turn, into = divmod(self.tick, self._half)
        return self._half - into, IDLE if turn % 2 else self._load


HOUR_TICKS = 3600 * TICKS_PER_SECOND


def shifts(
    plan: FleetPlan, slots: Sequence[JobSlot], timelines: Mapping[int, Timeline], start: float
) -> dict[str, list[Program]]:
    """Return the programs of each node's GPUs, by the node's name.

    GPUs of a node that train are in step and share one; each that serves has its own.
    """
    by_node: dict[str, list[Program]] = {
        node.node: [Steady(-WARM_UP, IDLE, 0.0)] * plan.gpus_of(node) for node in plan.nodes
    }
    for slot in slots:
        timeline = timelines[slot.number]
        for name, indices in slot.gpus.items():
            shared = Shift(plan, timeline, start=start)
            for index in indices:
                by_node[name][index] = (
                    shared
                    if slot.kind == "training"
                    else Shift(plan, timeline, start=start, lane=f"{name}/{index}")
                )
    return by_node
