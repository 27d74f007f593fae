"""What the simulated GPUs work on: phases of constant activity, one after another.

A program runs on one GPU or, in step, on all GPUs of a job. It knows nothing of watts and degrees
but what power it is meant to ask for. Shapes and shares follow arXiv 2508.14318 (training: compute
near the limit, then a dip of all GPUs at once while they exchange gradients) and, for inference,
prefill bursts on a plateau of memory-bound decoding. Levels are assumed if not stated there.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import functools
import math
import random
import typing

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

    from gpumon.sources.sim.models import GpuModel
    from gpumon.sources.sim.options import SimOptions

TICKS_PER_SECOND = 20
"""The grid of source time on which everything happens: 50 ms. No prefill burst is shorter, and the
power cap's controller looks about as often."""


_DAY = 86_400
_PEAK_HOUR = 15 * 3600
"""Requests are most at 15:00 UTC (assumed)."""

_STEPS = 32
"""Levels of decoding between the quietest hour and the busiest."""


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """Activity of a GPU, ratios 0..1, and its traffic each way in bytes a second.

    ``utilization`` and ``memory_access`` are what NVML means by them: a kernel was resident, memory
    was being accessed. ``context`` is whether a process is attached, which keeps the clocks up.
    """

    context: bool = False
    utilization: float = 0.0
    memory_access: float = 0.0
    sm: float = 0.0
    occupancy: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    nvlink: float = 0.0
    pcie_transmit: float = 0.0
    pcie_receive: float = 0.0


IDLE = Load()


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """Integrals of a load over time: seconds of full activity, bytes."""

    seconds: float = 0.0
    sm: float = 0.0
    occupancy: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    nvlink: float = 0.0
    pcie_transmit: float = 0.0
    pcie_receive: float = 0.0

    def plus(self, load: Load, seconds: float) -> Totals:
        """Add ``seconds`` of a load."""
        return Totals(
            seconds=self.seconds + seconds,
            sm=self.sm + load.sm * seconds,
            occupancy=self.occupancy + load.occupancy * seconds,
            tensor=self.tensor + load.tensor * seconds,
            dram=self.dram + load.dram * seconds,
            nvlink=self.nvlink + load.nvlink * seconds,
            pcie_transmit=self.pcie_transmit + load.pcie_transmit * seconds,
            pcie_receive=self.pcie_receive + load.pcie_receive * seconds,
        )

    def minus(self, other: Totals) -> Totals:
        """Return what was added since another, field by field."""
        return Totals(
            *(getattr(self, name) - getattr(other, name) for name in Totals.__dataclass_fields__)
        )


class Program(abc.ABC):
    """A sequence of phases, each a load that holds for a whole number of ticks.

    ``memory_used`` is the share of the GPU's memory that its process holds.
    """

    memory_used = 0.0

    def __init__(self, tick: int) -> None:
        """Start before ``tick``; the first phase is asked for when time goes on."""
        self.tick = tick
        self._began = tick
        self._ends = tick
        self.load = IDLE
        self._totals = Totals()
        # Enough for a second: no phase is shorter than a tick.
        self._recent: collections.deque[tuple[int, Load]] = collections.deque(
            [(tick, IDLE)], maxlen=TICKS_PER_SECOND + 2
        )

    @abc.abstractmethod
    def next_phase(self) -> tuple[int, Load]:
        """Return how many ticks the phase from ``self.tick`` on lasts (1 or more), and its load."""

    def advance(self, tick: int) -> list[tuple[int, Load]]:
        """Go on to ``tick`` and return the pieces of phases passed: (tick at its end, load)."""
        pieces = []
        while self.tick < tick:
            if self.tick == self._ends:
                self._begin_phase()
            self.tick = min(self._ends, tick)
            pieces.append((self.tick, self.load))
        return pieces

    def totals(self) -> Totals:
        """Return the integrals since the program began.

        They are summed phase by phase, so that they do not depend on when they are asked for.
        """
        return self._totals.plus(self.load, (self.tick - self._began) / TICKS_PER_SECOND)

    def recent_utilization(self) -> tuple[float, float]:
        """Return utilization and memory access, each its mean over the last second."""
        busy = access = 0.0
        end, earliest = self.tick, self.tick - TICKS_PER_SECOND
        for began, load in reversed(self._recent):
            ticks = end - max(began, earliest)
            busy += load.utilization * ticks
            access += load.memory_access * ticks
            end = began
            if began <= earliest:
                break
        return busy / TICKS_PER_SECOND, access / TICKS_PER_SECOND

    def _begin_phase(self) -> None:
        self._totals = self.totals()
        self._began = self.tick
        ticks, self.load = self.next_phase()
        self._ends = self.tick + ticks
        self._recent.append((self.tick, self.load))


def smoothed(pieces: Sequence[tuple[int, Load]], tick: int, stride: int) -> list[tuple[int, Load]]:
    """Return pieces of phases from ``tick`` on with what lies within a stride as its mean load.

    Strides end at multiples of ``stride`` ticks; pieces with a process attached, and without,
    stay apart. The mean is of what power follows from: SM, tensor and memory activity.
    """
    found: list[tuple[int, Load]] = []
    began, sums = tick, (0.0, 0.0, 0.0)
    for (until, load), following in zip(pieces, (*pieces[1:], None), strict=True):
        while tick < until:
            end = min(until, (tick // stride + 1) * stride)
            ticks, tick = end - tick, end
            sums = (
                sums[0] + load.sm * ticks,
                sums[1] + load.tensor * ticks,
                sums[2] + load.dram * ticks,
            )
            if tick % stride and following and following[1].context == load.context:
                continue
            sm, tensor, dram = (total / (tick - began) for total in sums)
            found.append((tick, Load(context=load.context, sm=sm, tensor=tensor, dram=dram)))
            began, sums = tick, (0.0, 0.0, 0.0)
    return found


class Steady(Program):
    """One load forever."""

    def __init__(self, tick: int, load: Load, memory_used: float) -> None:
        """Run ``load`` from ``tick`` on."""
        super().__init__(tick)
        self.memory_used = memory_used
        self._steady = load

    def next_phase(self) -> tuple[int, Load]:
        """Return an hour of the same."""
        return 3600 * TICKS_PER_SECOND, self._steady


class Training(Program):
    """Synchronous training: compute, exchange gradients, again; now and then a checkpoint."""

    memory_used = 0.88

    def __init__(self, tick: int, model: GpuModel, seed: str) -> None:
        """Draw the job's rhythm from ``seed`` and start it at ``tick``."""
        super().__init__(tick)
        self._model = model
        self._random = random.Random(f"training/{seed}")
        uniform = self._random.uniform
        self._period = uniform(2.0, 4.0)
        self._compute_share = uniform(0.80, 0.90)
        self._demand = uniform(0.90, 0.95)
        self._exchange = _demanding(
            model,
            uniform(0.40, 0.55),
            Load(
                context=True,
                utilization=1.0,
                memory_access=0.30,
                sm=0.45,
                occupancy=0.12,
                dram=0.30,
                nvlink=0.7 * model.nvlink_bandwidth,
                pcie_transmit=0.6 * model.pcie_bandwidth,
                pcie_receive=0.6 * model.pcie_bandwidth,
            ),
        )
        self._saving = Load(
            context=True,
            utilization=0.05,
            memory_access=0.03,
            sm=0.01,
            dram=0.02,
            pcie_transmit=0.3 * model.pcie_bandwidth,
        )
        self._save_every = int(uniform(600, 3600) * TICKS_PER_SECOND)
        self._next_save = max(0, tick) + int(uniform(120, 600) * TICKS_PER_SECOND)
        self._computing = False

    def next_phase(self) -> tuple[int, Load]:
        """Return the other half of the iteration, or the checkpoint that is due before the next."""
        if self._computing:
            self._computing = False
            return _ticks(self._period * (1 - self._compute_share)), self._exchange
        if self.tick >= self._next_save:
            self._next_save += self._save_every
            return _ticks(self._random.uniform(20, 120)), self._saving
        self._computing = True
        seconds = self._period * self._compute_share * self._random.uniform(0.97, 1.03)
        return _ticks(seconds), self._compute(self._demand + self._random.uniform(-0.05, 0.05))

    def _compute(self, demand: float) -> Load:
        return _demanding(
            self._model,
            demand,
            Load(
                context=True,
                utilization=1.0,
                memory_access=0.55,
                sm=0.90,
                occupancy=0.35,
                dram=0.45,
                nvlink=0.1 * self._model.nvlink_bandwidth,  # tensor-parallel, hidden behind compute
                pcie_transmit=0.002 * self._model.pcie_bandwidth,
                pcie_receive=0.01 * self._model.pcie_bandwidth,  # the data loader
            ),
        )


class Inference(Program):
    """Serving a model: decoding all the time, prefill bursts as requests come, more by day."""

    memory_used = 0.91

    def __init__(self, tick: int, model: GpuModel, seed: str, start: float) -> None:
        """Serve from ``tick`` on; ``start`` is the unix time of tick 0."""
        super().__init__(tick)
        self._start = start
        self._random = random.Random(f"inference/{seed}")
        self._prefill = False
        self._burst = _burst(model)
        self._decode = _decode(model)

    def next_phase(self) -> tuple[int, Load]:
        """Return a prefill burst, or the decoding until the next request."""
        self._prefill = not self._prefill
        if self._prefill:
            return _ticks(self._random.uniform(0.05, 0.5)), self._burst
        busy = self._rush()
        wait = self._random.expovariate(0.3 + 1.2 * busy)
        # Decoding follows the hour of the day, so it is looked at again within a minute.
        return _ticks(min(wait, 60)), self._decode[round(busy * _STEPS)]

    def _rush(self) -> float:
        time = self._start + self.tick / TICKS_PER_SECOND
        return (1 + math.cos((time - _PEAK_HOUR) / _DAY * math.tau)) / 2


@functools.cache
def _burst(model: GpuModel) -> Load:
    """Return the load of prefill."""
    load = Load(
        context=True,
        utilization=1.0,
        memory_access=0.45,
        sm=0.95,
        occupancy=0.40,
        dram=0.35,
        nvlink=0.15 * model.nvlink_bandwidth,
        pcie_receive=0.005 * model.pcie_bandwidth,
    )
    return _demanding(model, 0.9, load)


@functools.cache
def _decode(model: GpuModel) -> tuple[Load, ...]:
    """Return the loads of decoding, quietest hour first: 0.4 to 0.6 of the default limit.

    Decoding is bound by memory: bandwidth makes up the demand, and tensor cores what is left of it.
    """
    power, sm, tensor = model.power, 0.35, 0.05
    base = power.idle + power.context + sm * power.sm + tensor * power.tensor

    def at(demand: float) -> Load:
        dram = min(0.92, max(0.15, (demand * model.limit_default - base) / power.dram))
        load = Load(
            context=True,
            utilization=0.97,
            memory_access=dram,
            sm=sm,
            occupancy=0.15,
            tensor=tensor,
            dram=dram,
            nvlink=0.02 * model.nvlink_bandwidth,
            pcie_transmit=2e6,
            pcie_receive=2e6,
        )
        return _demanding(model, demand, load)

    return tuple(at(0.4 + 0.2 * step / _STEPS) for step in range(_STEPS + 1))


def stuck(model: GpuModel) -> Load:
    """Return the load of a collective that waits forever: resident, without work.

    The signature is 100 % utilization, no tensor activity and a tenth more than an attached
    process draws idle: a few SMs spin on a flag.
    """
    power = model.power
    spinning = 0.1 * (power.idle + power.context) / power.sm
    return Load(context=True, utilization=1.0, sm=spinning, occupancy=spinning / 10)


DENSE = Load(
    context=True,
    utilization=1.0,
    memory_access=0.45,
    sm=1.0,
    occupancy=0.25,
    tensor=1.0,
    dram=0.45,
)
"""A large dense matrix product, the load by which the power models' coefficients are chosen."""


def _ticks(seconds: float) -> int:
    return max(1, round(seconds * TICKS_PER_SECOND))


def _demanding(model: GpuModel, share: float, load: Load) -> Load:
    """Add the tensor activity that makes a load want ``share`` of the default power limit."""
    power = model.power
    have = power.idle + power.context + power.dram * load.dram + power.sm * load.sm
    tensor = (share * model.limit_default - have) / power.tensor
    return dataclasses.replace(load, tensor=min(1.0, max(load.tensor, tensor)))


def programs(options: SimOptions, *, start: float, tick: int) -> list[Program]:
    """Return the program of each GPU from ``tick`` on; those that train together share theirs.

    ``start`` is the unix time of tick 0.
    """
    model, count, seed = options.model, options.count, options.seed
    shared = {
        "training": Training(tick, model, str(seed)),
        "idle": Steady(tick, IDLE, 0.0),
        "stuck": Steady(tick, stuck(model), Training.memory_used),
    }

    kinds = options.workload.split("+")

    def of(index: int) -> Program:
        kind = kinds[index % len(kinds)]
        kind = _mixed(index, count) if kind == "mixed" else kind
        return shared.get(kind) or Inference(tick, model, f"{seed}/{index}", start)

    return [of(index) for index in range(count)]


def _mixed(index: int, count: int) -> str:
    """Share out: of eight GPUs four train, two serve, one is idle, one is stuck."""
    share = index / count
    for until, kind in ((0.5, "training"), (0.75, "inference"), (0.875, "idle")):
        if share < until:
            return kind
    return "stuck"
