"""What follows from readings: extremes, the node's sum, ages."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.derive import PowerExtremes
from gpumon.model import (
    GpuIdentity,
    GpuReading,
    GpuState,
    PowerSample,
    Snapshot,
    SourceInfo,
)

START = 1_700_000_000.0


def gpu(index: int, time: float, watts: list[float], **changes: object) -> GpuReading:
    """Return a reading at a time, with samples each 0.1 s up to it."""
    first = time - 0.1 * (len(watts) - 1)
    reading = GpuReading(
        identity=GpuIdentity(index=index, uuid=f"GPU-{index}", serial=f"board-{index}"),
        state=GpuState.OK,
        time=time,
        power_watts=watts[-1] if watts else None,
        power_samples=tuple(PowerSample(first + 0.1 * i, w) for i, w in enumerate(watts)),
    )
    return dataclasses.replace(reading, **changes)


def snapshot(*gpus: GpuReading) -> Snapshot:
    """Return a snapshot of GPUs."""
    return Snapshot(time=gpus[0].time if gpus else 0.0, source=SourceInfo("nvml"), gpus=gpus)


def test_peak_and_trough_are_of_the_sub_second_samples() -> None:
    """A spike of a tenth of a second is seen, although the mean does not show it."""
    seen = PowerExtremes().update(snapshot(gpu(0, START, [300, 700, 100, 300])))
    assert (seen.gpus[0].power_peak_watts, seen.gpus[0].power_trough_watts) == (700, 100)


def test_extremes_last_thirty_seconds() -> None:
    """A peak stays for the window, and is gone after it."""
    extremes = PowerExtremes()
    extremes.update(snapshot(gpu(0, START, [900.0])))
    for second in range(1, 30):
        seen = extremes.update(snapshot(gpu(0, START + second, [300.0])))
    assert seen.gpus[0].power_peak_watts == 900
    assert seen.power.gpu_power_peak_watts == 900
    seen = extremes.update(snapshot(gpu(0, START + 30, [300.0])))
    assert seen.gpus[0].power_peak_watts == 300
    assert seen.power.gpu_power_peak_watts == 300


def test_peaks_do_not_add() -> None:
    """Two GPUs that peak one after the other never draw both peaks together."""
    first = gpu(0, START, [100.0, 500.0, 100.0, 100.0])
    second = gpu(1, START, [100.0, 100.0, 500.0, 100.0])
    node = PowerExtremes().update(snapshot(first, second)).power
    assert node.gpu_power_peak_watts == 600
    assert node.gpu_power_trough_watts == 200
    assert node.gpu_power_watts == 200


def test_the_ramp_is_the_largest_change_within_a_second() -> None:
    """From 200 W to 800 W in half a second is a ramp of 600 W."""
    extremes = PowerExtremes()
    extremes.update(snapshot(gpu(0, START, [200.0] * 10)))
    node = extremes.update(snapshot(gpu(0, START + 1, [200.0] * 5 + [800.0] * 5))).power
    assert node.gpu_power_ramp_watts_per_second == 600


def test_a_gpu_without_news_holds_its_last_sample() -> None:
    """GPUs are sampled at different moments; the sum is of what each drew last."""
    extremes = PowerExtremes()
    extremes.update(snapshot(gpu(0, START, [300.0]), gpu(1, START, [400.0])))
    late = dataclasses.replace(gpu(1, START, [400.0]), power_samples=())
    node = extremes.update(snapshot(gpu(0, START + 1, [310.0]), late)).power
    assert node.gpu_power_peak_watts == 710


def test_a_lost_gpu_leaves_the_sum_and_has_no_extremes() -> None:
    """What it drew last counts no more, and is no trough either."""
    extremes = PowerExtremes()
    extremes.update(snapshot(gpu(0, START, [300.0]), gpu(1, START, [400.0])))
    lost = GpuReading(identity=gpu(1, START, [1.0]).identity, state=GpuState.LOST)
    seen = extremes.update(snapshot(gpu(0, START + 1, [300.0]), lost))
    assert seen.power.gpu_power_watts == 300
    assert seen.gpus[1].power_peak_watts is None


def test_a_gpu_that_goes_and_comes_back_is_neither_a_ramp_nor_a_trough() -> None:
    """What is added up changes then, and no power; the peak before was one."""
    extremes = PowerExtremes()
    lost = GpuReading(identity=gpu(1, START, [1.0]).identity, state=GpuState.LOST)
    for second in range(12):
        both = second < 4 or second >= 8
        other = gpu(1, START + second, [700.0] * 10) if both else lost
        seen = extremes.update(snapshot(gpu(0, START + second, [300.0] * 10), other))
        assert seen.power.gpu_power_ramp_watts_per_second in (None, 0.0), second
        assert seen.power.gpu_power_trough_watts == seen.power.gpu_power_watts, second
        assert seen.power.gpu_power_peak_watts == 1000, second


def test_a_ramp_of_the_gpus_that_stay_is_one() -> None:
    """Also in the second in which another GPU is lost."""
    extremes = PowerExtremes()
    lost = GpuReading(identity=gpu(1, START, [1.0]).identity, state=GpuState.LOST)
    extremes.update(snapshot(gpu(0, START, [300.0] * 10), gpu(1, START, [700.0] * 10)))
    seen = extremes.update(snapshot(gpu(0, START + 1, [300.0] * 5 + [500.0] * 5), lost))
    assert seen.power.gpu_power_ramp_watts_per_second == 200


def test_a_module_is_counted_once() -> None:
    """Both GPUs of a Grace module answer for the whole of it."""
    both = [gpu(i, START, [1000.0], power_scope="module") for i in range(2)]
    same_board = [
        dataclasses.replace(g, identity=dataclasses.replace(g.identity, serial="one")) for g in both
    ]
    assert PowerExtremes().update(snapshot(*same_board)).power.gpu_power_watts == 1000
    nameless = [
        dataclasses.replace(g, identity=dataclasses.replace(g.identity, serial="")) for g in both
    ]
    assert PowerExtremes().update(snapshot(*nameless)).power.gpu_power_watts == 2000


def test_one_tick_longer_than_the_window_shows_only_its_end() -> None:
    """A fast replay brings minutes in one tick; the extremes are still those of 30 s."""
    seen = PowerExtremes().update(snapshot(gpu(0, START, [900.0] + [300.0] * 400)))
    assert seen.gpus[0].power_peak_watts == 300
    assert seen.power.gpu_power_peak_watts == 300


def test_without_gpus_there_is_no_sum() -> None:
    """Nothing is not nought watts."""
    assert PowerExtremes().update(snapshot()).power.gpu_power_watts is None


def test_age_counts_from_the_reading_by_the_monotonic_clock() -> None:
    """And a GPU that was never read has none."""
    never = GpuReading(identity=GpuIdentity(index=1, uuid="b"), state=GpuState.HUNG)
    assert gpu(0, START, [1.0], read_at=100.0).age(102.25) == 2.25
    assert never.age(102.25) is None


def test_samples_too_far_apart_tell_nothing_of_a_second() -> None:
    """Two seconds between them: the ramp is not known, which is not nought."""
    extremes = PowerExtremes()
    for number, watts in enumerate([100.0, 700.0, 100.0]):
        node = extremes.update(snapshot(gpu(0, START + 2 * number, [watts]))).power
    assert node.gpu_power_ramp_watts_per_second is None
    assert node.gpu_power_peak_watts == 700


def test_a_clock_that_is_set_back_begins_the_window_anew() -> None:
    """As at the end of summer time in a log: what was before is not before any more."""
    extremes = PowerExtremes()
    extremes.update(snapshot(gpu(0, START, [900.0] * 5)))
    for second in range(3):
        seen = extremes.update(snapshot(gpu(0, START - 3600 + second, [100.0] * 5)))
    assert seen.gpus[0].power_peak_watts == 100
    assert seen.power.gpu_power_peak_watts == 100
    assert seen.power.gpu_power_ramp_watts_per_second == 0


@given(st.lists(st.lists(st.floats(0, 2000), min_size=1, max_size=12), min_size=1, max_size=40))
def test_extremes_bound_every_sample_of_the_window(ticks: list[list[float]]) -> None:
    """The trough is never above, the peak never below, a sample of the last ticks."""
    extremes = PowerExtremes()
    for number, watts in enumerate(ticks):
        seen = extremes.update(snapshot(gpu(0, START + 2.0 * number, watts)))
    recent = [w for watts in ticks[-14:] for w in watts]
    peak, trough = seen.gpus[0].power_peak_watts, seen.gpus[0].power_trough_watts
    assert peak is not None
    assert trough is not None
    assert trough <= min(recent)
    assert max(recent) <= peak
    assert seen.power.gpu_power_peak_watts == pytest.approx(peak, abs=0.001)
