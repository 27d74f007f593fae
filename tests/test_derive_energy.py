"""Doubts about a device's energy counter, and what its MIG instances draw of it."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.derive import Derivation, EnergyCheck, MigEnergy
from gpumon.model import (
    EnergyInfo,
    GpuIdentity,
    GpuReading,
    GpuState,
    MigIdentity,
    MigReading,
    PowerSample,
    Snapshot,
    SourceInfo,
)

SOURCE = SourceInfo("nvml")


def snapshot(*gpus: GpuReading) -> Snapshot:
    """Return a snapshot of GPUs at the time of the first."""
    return Snapshot(time=gpus[0].time, source=SOURCE, gpus=gpus)


def gpu(time: float, joules: float | None, watts: float | None = 500.0) -> GpuReading:
    """Return a reading of a 700 W GPU with a counter."""
    return GpuReading(
        identity=GpuIdentity(index=0, uuid="GPU-0"),
        state=GpuState.OK,
        time=time,
        power_watts=watts,
        power_limit_watts=600.0,
        power_limit_default_watts=700.0,
        energy_joules=joules,
        energy_info=EnergyInfo("counter"),
    )


def run(check: EnergyCheck, readings: list[GpuReading]) -> GpuReading:
    """Pass readings through the check and return the last."""
    for reading in readings:
        last = check.update(snapshot(reading)).gpus[0]
    return last


def test_a_counter_that_agrees_with_its_power_is_not_suspect() -> None:
    """And by how much it differs is told after two minutes, not before."""
    check = EnergyCheck()
    early = run(check, [gpu(t, 1000 + 510.0 * t) for t in range(60)])
    assert early.energy_suspect == frozenset()
    assert early.energy_divergence_ratio is None
    late = run(check, [gpu(t, 1000 + 510.0 * t) for t in range(60, 400)])
    assert late.energy_suspect == frozenset()
    assert late.energy_divergence_ratio == pytest.approx(0.02, abs=1e-4)


@pytest.mark.parametrize("rate", [0.57, 1.2])
def test_a_counter_more_than_a_tenth_off_its_power_is_diverging(rate: float) -> None:
    """0.57 is what Zeus issue 181 saw; and the flag falls once it agrees for long enough."""
    check = EnergyCheck()
    seen = run(check, [gpu(t, 500.0 * rate * t) for t in range(130)])
    assert seen.energy_suspect == {"diverging"}
    assert seen.energy_divergence_ratio == pytest.approx(rate - 1, abs=1e-4)
    base = 500.0 * rate * 129
    seen = run(check, [gpu(t, base + 500.0 * (t - 129)) for t in range(130, 450)])
    assert seen.energy_suspect == frozenset()


def test_a_counter_that_stands_still_under_power_is_stuck() -> None:
    """After ten seconds, well before it counts as diverging; it moves on and is trusted again."""
    check = EnergyCheck()
    seen = run(check, [gpu(t, 5000.0) for t in range(10)])
    assert seen.energy_suspect == frozenset()
    seen = run(check, [gpu(t, 5000.0) for t in range(10, 12)])
    assert seen.energy_suspect == {"stuck"}
    seen = run(check, [gpu(t, 5000.0 + 500 * (t - 11)) for t in range(12, 14)])
    assert seen.energy_suspect == frozenset()


def test_a_counter_ahead_of_what_the_limit_allows_has_jumped() -> None:
    """1.3 times the highest limit over the time that passed; remembered for five minutes."""
    check = EnergyCheck()
    seen = run(check, [gpu(0, 0.0), gpu(1, 900.0), gpu(2, 900.0 + 911.0)])
    assert seen.energy_suspect == {"jump"}
    seen = run(check, [gpu(t, 10_000.0 + 500 * t) for t in range(3, 310)])
    assert seen.energy_suspect == frozenset()


@pytest.mark.parametrize("then", [(100, 3.0), (200, 1e9), (50, 50_000.0)])
def test_a_reset_a_hole_and_a_clock_that_is_set_back_are_not_suspect(
    then: tuple[float, float],
) -> None:
    """The comparison begins anew: what happened in between nobody knows."""
    check = EnergyCheck()
    run(check, [gpu(t, 500.0 * t) for t in range(100)])
    time, joules = then
    seen = run(check, [gpu(time, joules), gpu(time + 1, joules + 500)])
    assert seen.energy_suspect == frozenset()
    assert seen.energy_divergence_ratio is None


def test_readings_ten_times_a_second_are_no_jump() -> None:
    """The counter is updated every 100 ms: two updates may fall between two readings."""
    check = EnergyCheck()
    generator = random.Random(7)
    readings = [gpu(n / 10, 50.0 * max(0, n - generator.randint(0, 1))) for n in range(3000)]
    assert run(check, readings).energy_suspect == frozenset()


def test_only_a_devices_own_counter_of_the_same_scope_is_judged() -> None:
    """An integral agrees with itself, and a module's joules are not the GPU's watts."""
    check = EnergyCheck()
    integral = dataclasses.replace(gpu(0, 0.0), energy_info=EnergyInfo("integral"))
    module = dataclasses.replace(gpu(0, 0.0), energy_info=EnergyInfo("counter", "module"))
    for reading in (integral, module, gpu(0, None), gpu(0, 0.0, None)):
        assert check.update(snapshot(reading)).gpus[0].energy_suspect is None


def instance(name: str, sms: int, active: float | None) -> MigReading:
    """Return an instance's reading."""
    return MigReading(
        gpu=0,
        uuid="GPU-0",
        identity=MigIdentity(name, "1g.10gb", 7, 0),
        multiprocessors=sms,
        sm_active_ratio=active,
    )


def divided(time: float, joules: float, *instances: MigReading) -> Snapshot:
    """Return a snapshot of one divided GPU."""
    return snapshot(dataclasses.replace(gpu(time, joules), mig=instances))


def joules_of(result: Snapshot) -> dict[str, float | None]:
    """Return the joules of each instance."""
    return {m.identity.mig_uuid: m.energy_joules for m in result.gpus[0].mig}


def test_instances_share_their_gpus_joules_by_the_activity_of_their_sms() -> None:
    """60 SMs half busy and 30 SMs fully busy draw the same; the method is named."""
    energy = MigEnergy()
    first = energy.update(divided(0, 100.0, instance("a", 60, 0.5), instance("b", 30, 1.0)))
    assert joules_of(first) == {"a": 0.0, "b": 0.0}
    then = energy.update(divided(1, 600.0, instance("a", 60, 0.5), instance("b", 30, 1.0)))
    assert joules_of(then) == {"a": 250.0, "b": 250.0}
    assert {m.energy_info.method for m in then.gpus[0].mig if m.energy_info} == {"sm_activity"}
    idle = energy.update(divided(2, 690.0, instance("a", 60, 0.0), instance("b", 30, 0.0)))
    assert joules_of(idle) == {"a": 310.0, "b": 280.0}


def test_without_activity_they_are_shared_by_the_number_of_sms() -> None:
    """A100: MIG, but no GPM."""
    energy = MigEnergy()
    energy.update(divided(0, 0.0, instance("a", 42, None), instance("b", 14, None)))
    then = energy.update(divided(1, 400.0, instance("a", 42, None), instance("b", 14, None)))
    assert joules_of(then) == {"a": 300.0, "b": 100.0}
    assert {m.energy_info.method for m in then.gpus[0].mig if m.energy_info} == {"sm_share"}


def test_instances_that_are_gone_are_forgotten_and_new_ones_start_at_zero() -> None:
    """Through a GPU that does not answer for a while, whose instances go on."""
    energy = MigEnergy()
    energy.update(divided(0, 0.0, instance("a", 10, 1.0)))
    energy.update(divided(1, 500.0, instance("a", 10, 1.0)))
    hung = GpuReading(identity=GpuIdentity(index=0, uuid="GPU-0"), state=GpuState.HUNG)
    other = dataclasses.replace(
        divided(2, 0.0, instance("x", 10, 1.0)).gpus[0], identity=GpuIdentity(index=1, uuid="GPU-1")
    )
    energy.update(snapshot(hung, other))
    back = energy.update(divided(3, 1500.0, instance("a", 10, 1.0)))
    assert joules_of(back) == {"a": 1500.0}
    anew = energy.update(divided(4, 2000.0, instance("b", 10, 1.0)))
    assert joules_of(anew) == {"b": 500.0}
    again = energy.update(divided(5, 2500.0, instance("a", 10, 1.0)))
    assert joules_of(again) == {"a": 500.0}


@given(
    st.lists(
        st.tuples(
            st.integers(-1_000_000, 5_000_000),
            st.lists(st.floats(0, 1), min_size=3, max_size=3),
        ),
        max_size=20,
    )
)
def test_instances_add_up_to_their_gpu_in_whole_millijoules(
    steps: list[tuple[int, list[float]]],
) -> None:
    """Whatever their activity, and through resets of the counter."""
    energy, counter, drawn = MigEnergy(), 10_000_000, 0
    sms = (60, 42, 13)
    everyone = [instance(name, n, 0.5) for name, n in zip("abc", sms, strict=True)]
    energy.update(divided(0, counter / 1000, *everyone))
    result = energy.update(divided(0, counter / 1000, *everyone))
    for step, shares in steps:
        counter += step
        drawn += max(0, step)
        now = [
            dataclasses.replace(m, sm_active_ratio=share)
            for m, share in zip(everyone, shares, strict=True)
        ]
        result = energy.update(divided(0, counter / 1000, *now))
    assert sum(round((j or 0) * 1000) for j in joules_of(result).values()) == drawn


def test_everything_that_follows_is_filled_in_at_once() -> None:
    """Extremes, doubts, and instances' joules: the agent and the viewers take the same steps."""
    derivation = Derivation()
    derivation.update(divided(0, 0.0, instance("a", 10, 1.0)))
    result = derivation.update(divided(1, 500.0, instance("a", 10, 1.0)))
    (reading,) = result.gpus
    assert reading.energy_suspect == frozenset()
    assert joules_of(result) == {"a": 500.0}
    assert result.power.gpu_power_watts == 500.0


def test_over_long_ticks_samples_tell_the_power() -> None:
    """Looked at each 15 s, always at its peak, a swinging load is no divergence: samples know."""
    check = EnergyCheck()
    for tick in range(40):
        time = 15.0 * tick
        samples = tuple(
            PowerSample(time - 14 + second, 700.0 if second % 2 else 100.0) for second in range(15)
        )
        reading = dataclasses.replace(gpu(time, 400.0 * time, 700.0), power_samples=samples)
        last = run(check, [reading])
        blind = run(EnergyCheck(), [gpu(t, 400.0 * t, 700.0) for t in range(0, 601, 15)])
    assert last.energy_suspect == frozenset()
    assert blind.energy_suspect == {"diverging"}
