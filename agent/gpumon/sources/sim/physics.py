"""Power, clocks and heat of one simulated GPU.

Power is ``(idle * leakage + (context and memory) + (SM and tensor) * phi(clock)) * noise``. Its
low-passed value against the limit moves the clock, 15 MHz a tick; heat goes through two poles, each
advanced by its exact exponential, so that a step may be of any width. Power is constant within a
step: the energy counter is its exact integral.

There are two kinds of steps. *Fine* ones, a tick wide, follow the controller's every move. A
*stride* of up to a second puts the controller at the point at which it would come to rest: twenty
times cheaper, with the same phases, heat and mean power, but without what happens in between.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import random
import typing

from gpumon.sources.sim.workload import TICKS_PER_SECOND

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

    from gpumon.sources.sim.models import GpuModel, ThermalModel
    from gpumon.sources.sim.workload import Load

CLOCK_STEP = 15
"""MHz between the SM clocks a GPU has."""

LEAKAGE = 0.006
"""Share of idle power that a degree above 40 adds (assumed)."""

NOISE = 0.01
"""Standard deviation of a tick's power, as a share."""

CAP_SECONDS = 0.075
"""Time constant of the power that is held against the limit (assumed: 50-100 ms)."""

CAP_RELEASE = 0.97
"""Share of the limit below which the clock is let up again, a step a tick."""

BURST = 1.05
"""Share of the limit above which the clock falls at once, within a tick: a B200 that goes from idle
to a load of 1.5 x its limit of 1000 W shows 1019 W (measured), not that load for a second."""

FAST_SHARE = 0.4
"""Share of the thermal resistance behind the fast pole (assumed)."""

THERMAL_STEPS = 20
"""Clock steps down per degree above the highest operating temperature (assumed): the software
slowdown then holds the GPU within two degrees of it, below the hardware's slowdown."""

MEMORY_SECONDS = 10
"""Time constant of the memory's temperature."""

SAMPLE_TICKS = TICKS_PER_SECOND // 10
"""Ticks between published energies and power samples: 100 ms."""

MOST_SAMPLES = 600
"""Power samples kept between two readings: a minute's, as the driver's own buffer is finite."""

STRIDE = TICKS_PER_SECOND
"""Ticks of the usual wide step."""

WIDEST_STRIDE = 3 * TICKS_PER_SECOND
"""Ticks of the widest step, for a fleet of thousands: it sees the mean of the phases within."""


@dataclasses.dataclass(frozen=True)
class Response:
    """How far each low-pass goes towards its input in a step of a certain width."""

    seconds: float
    fast: float
    slow: float
    memory: float
    cap: float
    noise_low: float
    noise_width: float


@dataclasses.dataclass(frozen=True)
class Tables:
    """What the GPUs of a model share.

    ``phi`` and ``starve`` go by the number of clock steps below the maximum: dynamic power, and the
    power of memory and context, as a share of theirs at the highest clock. ``responses`` go by the
    step's width in ticks.
    """

    phi: tuple[float, ...]
    starve: tuple[float, ...]
    responses: tuple[Response, ...]

    @property
    def lowest(self) -> int:
        """The lowest clock's number of steps below the maximum."""
        return len(self.phi) - 1


def phi(clock: float) -> float:
    """Return dynamic power as a share of that at the highest clock, for a clock of 0..1 of it.

    It goes with clock times voltage squared; voltage is 0.70 of its maximum below half the clock,
    then rises linearly.
    """
    voltage = 0.70 if clock < 0.5 else 0.40 + 0.60 * clock
    return clock * voltage * voltage


@functools.cache
def tables(model: GpuModel) -> Tables:
    """Return the tables of a model."""
    steps = (model.sm_clock - model.sm_clock_idle) // CLOCK_STEP
    clocks = [(model.sm_clock - CLOCK_STEP * step) / model.sm_clock for step in range(steps + 1)]
    return Tables(
        phi=tuple(phi(clock) for clock in clocks),
        # Below half the clock the SMs no longer keep the memory busy (assumed). Without it a low
        # limit could not be held, for nothing else is left to give.
        starve=tuple(min(1.0, 2 * clock) for clock in clocks),
        responses=tuple(
            _response(model.thermal, max(1, ticks)) for ticks in range(WIDEST_STRIDE + 1)
        ),
    )


def _response(thermal: ThermalModel, ticks: int) -> Response:
    seconds = ticks / TICKS_PER_SECOND

    def towards(constant: float) -> float:
        return 1 - math.exp(-seconds / constant)

    # Uniform noise of this width has the standard deviation; the mean of n ticks has less.
    width = NOISE * math.sqrt(12 / ticks)
    return Response(
        seconds=seconds,
        fast=towards(thermal.fast_seconds),
        slow=towards(thermal.slow_seconds),
        memory=towards(MEMORY_SECONDS),
        cap=towards(CAP_SECONDS),
        noise_low=1 - width / 2,
        noise_width=width,
    )


@dataclasses.dataclass(frozen=True)
class Traits:
    """What sets a die apart from its siblings: factors around 1.

    ``activity`` is not power's business: it keeps the activities of a job's GPUs from being
    equal to the last digit, as they never are.
    """

    idle: float
    efficiency: float
    activity: float
    seed: str

    @classmethod
    def draw(cls, seed: str) -> Traits:
        """Draw the traits: idle +-4.5 %, energy at equal work sigma 1.5 % (8 B200, measured)."""
        source = random.Random(f"die/{seed}")
        return cls(
            idle=1 + source.uniform(-0.045, 0.045),
            efficiency=1 + max(-0.045, min(0.045, source.gauss(0, 0.015))),
            activity=source.uniform(0.985, 1.0),
            seed=seed,
        )


class Die:
    """The state of one GPU's physics at a tick of the grid.

    Public attributes are for others to read:

    * ``tick``: the position on the grid; ``lost``: it has switched itself off;
    * ``watts``: of the last step; ``sample_watts``: of the last that ended on a multiple of 100 ms;
    * ``joules``: since ``rebase``; ``marks``: (tick, joules) each 100 ms, for a second back;
    * ``samples``: (tick, watts) each 100 ms, as many as the driver's buffer holds;
    * ``temperature``, ``memory_temperature``: degrees Celsius;
    * ``down``: clock steps below the maximum, ``power_down`` those that the power cap wants;
    * ``capped_ticks``, ``sw_thermal_ticks``, ``hw_thermal_ticks``, ``brake_ticks``: how long each
      held the clock.

    These may be set, and hold from the next step on:

    * ``limit``: the power limit in watts; ``inlet``: degrees Celsius of what cools this slot;
    * ``held_down``: clock steps below the maximum that it is held at least; ``braked``: whether it
      is the external power brake that holds it.
    """

    __slots__ = (
        "_fast",
        "_model",
        "_random",
        "_slow",
        "_smooth",
        "_tables",
        "_traits",
        "brake_ticks",
        "braked",
        "capped_ticks",
        "down",
        "held_down",
        "hw_thermal_ticks",
        "inlet",
        "joules",
        "limit",
        "lost",
        "marks",
        "memory_temperature",
        "power_down",
        "sample_watts",
        "samples",
        "sw_thermal_ticks",
        "temperature",
        "tick",
        "watts",
    )

    def __init__(
        self, model: GpuModel, traits: Traits, *, limit: float, inlet: float, tick: int
    ) -> None:
        """Start at ``tick``, idle; ``limit`` in watts, ``inlet`` in degrees at this slot."""
        self._model = model
        self._traits = traits
        self._tables = tables(model)
        self.limit = limit
        self.inlet = inlet
        self._random = random.Random(f"noise/{traits.seed}").random
        self.tick = tick
        self.watts = self.sample_watts = self._smooth = model.power.idle
        self.joules = 0.0
        self.power_down = self.down = self.held_down = 0
        self.braked = False
        self.capped_ticks = self.sw_thermal_ticks = self.hw_thermal_ticks = 0
        self.brake_ticks = 0
        self.lost = False
        self._fast = self._slow = 0.0
        self.temperature = self.memory_temperature = inlet
        self.place_heat(self.watts)
        self.marks = collections.deque([(tick, 0.0)], maxlen=TICKS_PER_SECOND + 2)
        self.samples: collections.deque[tuple[int, float]] = collections.deque(maxlen=MOST_SAMPLES)

    def place_heat(self, watts: float) -> None:
        """Set the temperatures that a constant power would lead to, below any slowdown."""
        thermal = self._model.thermal
        rise = min(watts * thermal.resistance, thermal.max_operating - 1 - self.inlet)
        self._fast = FAST_SHARE * rise
        self._slow = rise - self._fast
        self.temperature = self.inlet + rise
        self.memory_temperature = self.temperature + 2

    def rebase(self) -> None:
        """Let the counters begin here."""
        self.marks = collections.deque(
            ((tick, joules - self.joules) for tick, joules in self.marks), maxlen=self.marks.maxlen
        )
        self.joules = 0.0
        self.capped_ticks = self.sw_thermal_ticks = self.hw_thermal_ticks = 0
        self.brake_ticks = 0

    def run(self, pieces: Sequence[tuple[int, Load]], stride: int) -> None:
        """Live through pieces of phases (tick at its end, load), in steps of ``stride`` ticks.

        Strides end with a piece and at multiples of ``stride``.
        """
        began = self.tick
        for until, load in pieces:
            if self.lost:
                self.tick = until
            elif stride == 1:
                self._run_fine(until, load)
            else:
                while self.tick < until:
                    self._stride(min(until, (self.tick // stride + 1) * stride), load)
        if self.braked and not self.lost:
            self.brake_ticks += self.tick - began

    def _powers(self, load: Load) -> tuple[float, float, float, float]:
        """Return watts: idle at 40 degrees, held (memory, context), dynamic; and memory's rise."""
        power, traits = self._model.power, self._traits
        held = power.context * load.context + power.dram * load.dram
        dynamic = power.sm * load.sm + power.tensor * load.tensor
        return (
            power.idle * traits.idle,
            held * traits.efficiency,
            dynamic * traits.efficiency,
            2 + 8 * load.dram,
        )

    def _run_fine(self, until: int, load: Load) -> None:
        """Step tick by tick. The inner loop of the whole simulator: local names, no calls."""
        idle, held, dynamic, memory_rise = self._powers(load)
        phis, starve, lowest = self._tables.phi, self._tables.starve, self._tables.lowest
        response = self._tables.responses[1]
        seconds, noise_low, noise_width = response.seconds, response.noise_low, response.noise_width
        to_fast, to_slow, to_memory = response.fast, response.slow, response.memory
        to_cap, rand = response.cap, self._random
        thermal = self._model.thermal
        to_fast_watts = to_fast * thermal.resistance * FAST_SHARE
        to_slow_watts = to_slow * thermal.resistance * (1 - FAST_SHARE)
        inlet, hot, memory_hot = self.inlet, thermal.max_operating, thermal.memory_max
        limit, burst, release = self.limit, BURST * self.limit, CAP_RELEASE * self.limit
        cold, leakage = idle * (1 - 40 * LEAKAGE), idle * LEAKAGE

        joules, smooth, fast, slow = self.joules, self._smooth, self._fast, self._slow
        temperature, memory, watts = self.temperature, self.memory_temperature, self.watts
        power_down, down, capped = self.power_down, self.down, self.capped_ticks
        sampled, held_down = self.sample_watts, self.held_down
        mark, sample = self.marks.append, self.samples.append
        for tick in range(self.tick + 1, until + 1):
            watts = cold + leakage * temperature + held * starve[down] + dynamic * phis[down]
            if watts > burst and down < lowest:
                leaking = cold + leakage * temperature
                power_down = down = self._least_down(down, leaking, held, dynamic)
                watts = leaking + held * starve[down] + dynamic * phis[down]
            watts *= noise_low + noise_width * rand()
            joules += watts * seconds
            smooth += to_cap * (watts - smooth)
            fast += to_fast_watts * watts - to_fast * fast
            slow += to_slow_watts * watts - to_slow * slow
            temperature = inlet + fast + slow
            memory += to_memory * (temperature + memory_rise - memory)
            if power_down:
                capped += 1
            if smooth > limit:
                power_down = min(power_down + 1, lowest)
            elif power_down and smooth < release:
                power_down -= 1
            down = power_down if held_down == 0 else max(held_down, power_down)
            if temperature >= hot or memory >= memory_hot:
                down = self._slow_down(temperature, memory, down, 1)
                if self.lost:
                    watts = 0.0
                    break
            if not tick % SAMPLE_TICKS:
                sampled = watts
                mark((tick, joules))
                sample((tick, watts))
        self.tick, self.sample_watts = until, sampled
        self.joules, self._smooth, self._fast, self._slow = joules, smooth, fast, slow
        self.temperature, self.memory_temperature, self.watts = temperature, memory, watts
        self.power_down, self.down, self.capped_ticks = power_down, down, capped

    def _stride(self, until: int, load: Load) -> None:
        """Step to ``until`` at once, with the clock that its controllers would hold."""
        ticks = until - self.tick
        response, thermal = self._tables.responses[ticks], self._model.thermal
        idle, held, dynamic, memory_rise = self._powers(load)
        idle *= 1 + LEAKAGE * (self.temperature - 40)
        self.power_down = self._settled(idle, held, dynamic, ticks)
        if self.power_down:
            self.capped_ticks += ticks
        self.down = max(self.power_down, self.held_down, self.down if self._hot() else 0)
        watts = idle + held * self._tables.starve[self.down] + dynamic * self._tables.phi[self.down]
        watts *= response.noise_low + response.noise_width * self._random()
        self.joules += watts * response.seconds
        rise = watts * thermal.resistance
        self._fast += response.fast * (rise * FAST_SHARE - self._fast)
        self._slow += response.slow * (rise * (1 - FAST_SHARE) - self._slow)
        self.temperature = self.inlet + self._fast + self._slow
        self.memory_temperature += response.memory * (
            self.temperature + memory_rise - self.memory_temperature
        )
        self.watts = self._smooth = self.sample_watts = watts
        self.tick = until
        self.marks.append((until, self.joules))
        self.samples.append((until, watts))
        self.down = max(self.power_down, self.held_down)
        if self._hot():
            self.down = self._slow_down(self.temperature, self.memory_temperature, self.down, ticks)

    def _settled(self, idle: float, held: float, dynamic: float, ticks: int) -> int:
        """Return the clock steps down at which the cap's controller would come to rest."""
        down = self._least_down(self.power_down, idle, held, dynamic)
        phis, starve = self._tables.phi, self._tables.starve
        free = CAP_RELEASE * self.limit
        up = min(down, ticks)
        while up and idle + held * starve[down] + dynamic * phis[down] < free:
            down -= 1
            up -= 1
        return down

    def _least_down(self, down: int, idle: float, held: float, dynamic: float) -> int:
        """Return the clock steps down, from ``down`` on, at which the limit is kept."""
        phis, starve, lowest = self._tables.phi, self._tables.starve, self._tables.lowest
        while down < lowest and idle + held * starve[down] + dynamic * phis[down] > self.limit:
            down += 1
        return down

    def _hot(self) -> bool:
        thermal = self._model.thermal
        return (
            self.temperature >= thermal.max_operating
            or self.memory_temperature >= thermal.memory_max
        )

    def _slow_down(self, temperature: float, memory: float, down: int, ticks: int) -> int:
        """Return the clock steps down that heat demands; count the time; give up at shutdown."""
        thermal, lowest = self._model.thermal, self._tables.lowest
        if temperature >= thermal.shutdown:
            self.lost = True
            return lowest
        self.sw_thermal_ticks += ticks
        excess = max(temperature - thermal.max_operating, memory - thermal.memory_max)
        down = max(down, 1 + int(THERMAL_STEPS * excess))
        if temperature >= thermal.slowdown:
            self.hw_thermal_ticks += ticks
            down = max(down, self._model.sm_clock // 2 // CLOCK_STEP)
        return min(down, lowest)

    def reasons(self) -> frozenset[str]:
        """Return what throttles the clock now, in the catalogue's words."""
        reasons = set()
        if self.power_down:
            reasons.add("sw_power_cap")
        if self._hot():
            reasons.add("sw_thermal")
        if self.temperature >= self._model.thermal.slowdown:
            reasons |= {"hw_thermal", "hw_slowdown"}
        if self.braked:
            reasons |= {"hw_power_brake", "hw_slowdown"}
        return frozenset(reasons)

    def mean_watts(self) -> float:
        """Return the mean power of the second that ended with the last published mark."""
        tick, joules = self.marks[-1]
        earliest = tick - TICKS_PER_SECOND
        later = tick, joules
        for mark in reversed(self.marks):
            if mark[0] <= earliest:
                # Power is constant between marks that are further apart than ticks: a stride's.
                span = later[0] - mark[0]
                part = (earliest - mark[0]) / span if span else 0.0
                return joules - (mark[1] + part * (later[1] - mark[1]))
            later = mark
        span = tick - self.marks[0][0]
        return (joules - self.marks[0][1]) / span * TICKS_PER_SECOND if span else self.watts
