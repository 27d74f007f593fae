"""Power, clock and heat of one die under a steady load, against the anchors that are known."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpumon.sources.sim.models import MODELS, GpuModel
from gpumon.sources.sim.physics import STRIDE, Die, Traits, phi
from gpumon.sources.sim.workload import DENSE, IDLE, TICKS_PER_SECOND, Load, stuck

AVERAGE = Traits(idle=1.0, efficiency=1.0, activity=1.0, seed="test")

models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def die_of(model: GpuModel, *, limit: float | None = None, inlet: float | None = None) -> Die:
    """Return an average die at tick 0."""
    return Die(
        model,
        AVERAGE,
        limit=model.limit_default if limit is None else limit,
        inlet=model.thermal.inlet if inlet is None else inlet,
        tick=0,
    )


def run(die: Die, load: Load, seconds: float, *, stride: int = 1) -> float:
    """Run a load and return its mean power."""
    before, ticks = die.joules, round(seconds * TICKS_PER_SECOND)
    die.run([(die.tick + ticks, load)], stride)
    return (die.joules - before) / seconds


def settle(die: Die, load: Load) -> float:
    """Run a load until it is warm, and return its mean power then."""
    run(die, load, 400, stride=STRIDE)
    return run(die, load, 10)


IDLE_WATTS = {
    "A100": (50, 65),
    "H100": (65, 75),
    "H200": (70, 80),
    "B200": (187, 204),
    "GB200": (160, 172),
}
IDLE_CELSIUS = {
    "A100": (28, 33),
    "H100": (27, 31),
    "H200": (28, 32),
    "B200": (31, 39),
    "GB200": (25, 29),
}


@models
def test_idle(model: GpuModel) -> None:
    """An idle GPU draws, and is as warm as, what captures of real ones show."""
    die = die_of(model)
    low, high = IDLE_WATTS[model.key]
    assert low <= settle(die, IDLE) <= high
    low, high = IDLE_CELSIUS[model.key]
    assert low <= die.temperature <= high


@models
def test_dense_product_wants_more_than_the_limit(model: GpuModel) -> None:
    """At the highest clock a dense product wants the share of the default limit that is known."""
    power = model.power
    wanted = power.idle + power.context + power.dram * DENSE.dram + power.sm + power.tensor
    low, high = {"Ampere": (1.0, 1.1), "Hopper": (1.15, 1.3), "Blackwell": (1.4, 1.6)}[
        model.architecture
    ]
    assert low <= wanted / model.limit_default <= high


def test_b200_dense_product() -> None:
    """A B200 at its cap draws about 988 W and reaches 56 degrees with air of 20, as measured."""
    die = die_of(MODELS["B200"], inlet=20)
    assert settle(die, DENSE) == pytest.approx(988, rel=0.01)
    assert die.temperature == pytest.approx(56, abs=1)
    assert die.memory_temperature > die.temperature
    assert "sw_power_cap" in die.reasons()


@models
def test_steady_temperature(model: GpuModel) -> None:
    """Warm, a die stands above its inlet by its power times its thermal resistance."""
    die = die_of(model)
    watts = settle(die, DENSE)
    expected = model.thermal.inlet + watts * model.thermal.resistance
    assert die.temperature == pytest.approx(expected, abs=0.5)


@models
def test_stuck_signature(model: GpuModel) -> None:
    """A collective that hangs draws a tenth more than an attached process that does nothing."""
    die = die_of(model)
    waiting = settle(die_of(model), Load(context=True))
    assert settle(die, stuck(model)) == pytest.approx(1.1 * waiting, rel=0.02)


def test_phi() -> None:
    """Dynamic power is all at the highest clock, and linear below half of it, voltage fixed."""
    assert phi(1.0) == pytest.approx(1.0)
    assert phi(0.5) == pytest.approx(0.5 * 0.7**2)
    assert phi(0.25) == pytest.approx(phi(0.5) / 2)


@pytest.mark.parametrize(("key", "limit"), [("H100", 350), ("A100", 250), ("B200", 600)])
def test_cap_is_honoured(key: str, limit: float) -> None:
    """Under a cap the mean is at most 2 % above and 6 % below it, and the clock is down for it."""
    model = MODELS[key]
    die = die_of(model, limit=limit)
    watts = settle(die, DENSE)
    assert 0.94 * limit <= watts <= 1.02 * limit
    assert die.reasons() == {"sw_power_cap"}
    assert die.down > 0


@models
def test_onset_of_a_load_is_no_spike(model: GpuModel) -> None:
    """From idle to a load of 1.5 x the limit no sample is more than 8 % above it (2 % measured)."""
    die = die_of(model)
    settle(die, IDLE)
    die.samples.clear()
    run(die, DENSE, 2.0)
    assert max(watts for _, watts in die.samples) <= 1.08 * model.limit_default


def test_capped_time_is_exact() -> None:
    """Throttle time grows by every second of a steady cap, and by none without."""
    die = die_of(MODELS["H100"], limit=350)
    settle(die, DENSE)
    before = die.capped_ticks
    run(die, DENSE, 7.0)
    assert die.capped_ticks - before == 7 * TICKS_PER_SECOND
    settle(die, IDLE)
    before = die.capped_ticks
    run(die, IDLE, 7.0)
    assert die.capped_ticks == before
    assert die.reasons() == frozenset()


@models
def test_warm_air_slows_down(model: GpuModel) -> None:
    """Air too warm for the load makes software slow the GPU down and hold it below shutdown."""
    thermal = model.thermal
    inlet = thermal.max_operating - 0.8 * model.limit_default * thermal.resistance
    die = die_of(model, inlet=inlet)
    watts = settle(die, DENSE)
    assert "sw_thermal" in die.reasons()
    assert thermal.max_operating <= die.temperature < thermal.slowdown
    assert watts < 0.9 * model.limit_default
    assert die.sw_thermal_ticks > 0
    assert not die.lost


def test_hotter_air_brings_the_hardware_slowdown() -> None:
    """Where software cannot hold it, hardware halves the clock, and says so."""
    model = MODELS["H100"]
    die = die_of(model, inlet=70)
    seen = set()
    for _ in range(60):
        run(die, DENSE, 1.0)
        seen |= die.reasons()
    assert {"sw_thermal", "hw_thermal", "hw_slowdown"} <= seen
    assert die.hw_thermal_ticks > 0
    assert not die.lost


@pytest.mark.parametrize("stride", [1, STRIDE])
def test_lost_at_shutdown(stride: int) -> None:
    """At its shutdown temperature a GPU switches itself off and draws nothing any more."""
    die = die_of(MODELS["H100"], inlet=93)
    run(die, DENSE, 300, stride=stride)
    assert die.lost
    joules = die.joules
    run(die, DENSE, 10, stride=stride)
    assert die.joules == joules


@models
@pytest.mark.parametrize("limited", [False, True])
def test_strides_agree_with_fine_steps(model: GpuModel, *, limited: bool) -> None:
    """Strides give the energy of fine steps within 2 % and the temperature within a degree."""
    limit = model.limit_min + 0.4 * (model.limit_default - model.limit_min) if limited else None
    fine, coarse = die_of(model, limit=limit), die_of(model, limit=limit)
    for load, seconds in ((DENSE, 20.0), (IDLE, 5.5), (stuck(model), 11.3), (DENSE, 30.0)):
        run(fine, load, seconds)
        run(coarse, load, seconds, stride=STRIDE)
    assert coarse.joules == pytest.approx(fine.joules, rel=0.02)
    assert coarse.temperature == pytest.approx(fine.temperature, abs=1)


ratios = st.floats(0, 1)
loads = st.builds(
    Load, context=st.booleans(), sm=ratios, tensor=ratios, dram=ratios, utilization=ratios
)


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(list(MODELS.values())),
    share=ratios,
    inlet=st.floats(-20, 70),
    pieces=st.lists(st.tuples(st.integers(1, 200), loads), min_size=1, max_size=6),
    stride=st.sampled_from([1, STRIDE]),
)
def test_stays_physical(
    model: GpuModel,
    share: float,
    inlet: float,
    pieces: list[tuple[int, Load]],
    stride: int,
) -> None:
    """Whatever it does: power above 0 and never far over the limit for long, heat in bounds."""
    limit = model.limit_min + share * (model.limit_max - model.limit_min)
    die = die_of(model, limit=limit, inlet=inlet)
    # What cannot be given up at the lowest clock: leakage at up to shutdown, and a rest.
    floor = 1.35 * (model.power.idle + model.power.context)
    for ticks, load in pieces:
        joules, capped = die.joules, die.capped_ticks
        die.run([(die.tick + ticks, load)], stride)
        assert die.joules > joules
        assert die.capped_ticks >= capped
        assert inlet <= die.temperature <= model.thermal.shutdown
        assert not die.lost
        if ticks > TICKS_PER_SECOND:
            # The second's first ticks may be those of a burst, over which a hot die leaks more.
            assert die.mean_watts() <= max(1.35 * limit, floor)


@pytest.mark.parametrize("stride", [1, STRIDE])
def test_a_clock_that_is_held_down_costs_power(stride: int) -> None:
    """Half of the clock steps away: less power, no reason told, and back when it is let go."""
    die = die_of(MODELS["H100"])
    free = run(die, DENSE, 60, stride=stride)
    die.held_down = 66
    held = run(die, DENSE, 60, stride=stride)
    assert held < 0.7 * free
    assert die.down >= 66
    assert not die.reasons() & {"hw_power_brake", "hw_slowdown"}
    die.held_down = 0
    run(die, DENSE, 20, stride=stride)
    assert run(die, DENSE, 60, stride=stride) == pytest.approx(free, rel=0.05)


@pytest.mark.parametrize("stride", [1, STRIDE])
def test_the_power_brake_is_told_and_counted(stride: int) -> None:
    """For as long as it is on, to the tick."""
    die = die_of(MODELS["H100"])
    run(die, DENSE, 10, stride=stride)
    die.held_down, die.braked = 66, True
    run(die, DENSE, 7, stride=stride)
    assert {"hw_power_brake", "hw_slowdown"} <= die.reasons()
    die.held_down, die.braked = 0, False
    run(die, DENSE, 5, stride=stride)
    assert die.brake_ticks == 7 * TICKS_PER_SECOND
    assert "hw_power_brake" not in die.reasons()


def test_a_limit_can_be_set_while_it_runs() -> None:
    """The cap's controller follows within seconds, and the time under it is counted."""
    die = die_of(MODELS["H100"])
    run(die, DENSE, 20)
    die.limit = 350.0
    run(die, DENSE, 20)
    assert run(die, DENSE, 20) == pytest.approx(350.0, rel=0.03)
