"""The programs: their phases, their means, and who shares them."""

from __future__ import annotations

import itertools

import pytest

from gpumon.sources.sim.models import MODELS, GpuModel
from gpumon.sources.sim.options import SimOptions
from gpumon.sources.sim.workload import (
    TICKS_PER_SECOND,
    Inference,
    Load,
    Program,
    Steady,
    Training,
    programs,
    smoothed,
)
from gpumon.sources.spec import SourceSpec

NOON = 1_767_268_800.0

models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def wanted(model: GpuModel, load: Load) -> float:
    """Return what a load wants at the highest clock, as a share of the default limit."""
    power = model.power
    watts = power.idle + power.context * load.context + power.dram * load.dram
    return (watts + power.sm * load.sm + power.tensor * load.tensor) / model.limit_default


def phases(program: Program, seconds: float) -> list[tuple[float, Load]]:
    """Return (seconds, load) of the phases from now on."""
    found, tick = [], program.tick
    for until, load in program.advance(tick + round(seconds * TICKS_PER_SECOND)):
        found.append(((until - tick) / TICKS_PER_SECOND, load))
        tick = until
    return found[:-1]  # the last one is cut off


@models
@pytest.mark.parametrize("seed", range(3))
def test_training_alternates(model: GpuModel, seed: int) -> None:
    """Training computes near the limit most of the time and dips to exchange gradients."""
    iterations = phases(Training(0, model, str(seed)), 100)
    compute, exchange = iterations[0::2], iterations[1::2]
    for (busy, high), (dip, low) in zip(compute, exchange, strict=False):
        assert 1.9 <= busy + dip <= 4.2
        assert 0.78 <= busy / (busy + dip) <= 0.92
        assert 0.84 <= wanted(model, high) <= 1.01
        assert 0.35 <= wanted(model, low) <= 0.6
        assert low.nvlink > high.nvlink


def test_training_saves_checkpoints() -> None:
    """Every 10 to 60 minutes training stops for 20 to 120 s near idle."""
    model = MODELS["H100"]
    saving = [
        seconds
        for seconds, load in phases(Training(0, model, "1"), 4 * 3600)
        if wanted(model, load) < 0.3
    ]
    assert 4 <= len(saving) <= 24
    assert all(20 <= seconds <= 120 for seconds in saving)


@models
def test_inference_bursts(model: GpuModel) -> None:
    """Serving is a plateau of decoding, with prefill bursts of 50 to 500 ms."""
    found = phases(Inference(0, model, "1", NOON), 300)
    bursts, plateau = found[0::2], found[1::2]
    assert all(0.05 <= seconds <= 0.5 for seconds, _ in bursts)
    assert all(wanted(model, load) == pytest.approx(0.9, abs=0.05) for _, load in bursts)
    assert all(0.35 <= wanted(model, load) <= 0.62 for _, load in plateau)


def test_inference_is_diurnal() -> None:
    """More is asked in the afternoon than at night."""
    midnight = NOON - 12 * 3600
    day = phases(Inference(0, MODELS["H100"], "1", midnight + 15 * 3600), 600)
    night = phases(Inference(0, MODELS["H100"], "1", midnight + 3 * 3600), 600)
    assert len(day) > 2 * len(night)


def test_mixed_shares_out() -> None:
    """Of eight GPUs four train together, two serve, one is idle and one is stuck."""
    options = SimOptions(model=MODELS["H100"], count=8, workload="mixed")
    of = programs(options, start=NOON, tick=0)
    for program in of:
        program.advance(100)
    assert all(program is of[0] for program in of[:4])
    assert isinstance(of[0], Training)
    assert isinstance(of[4], Inference)
    assert isinstance(of[5], Inference)
    assert of[4] is not of[5]
    assert isinstance(of[6], Steady)
    assert not of[6].load.context
    assert of[7].load.utilization == 1.0


@pytest.mark.parametrize("count", [1, 2, 3, 4, 16])
def test_mixed_of_any_size(count: int) -> None:
    """Half of any number of GPUs trains, at least one."""
    options = SimOptions(model=MODELS["H100"], count=count, workload="mixed")
    kinds = [type(program) for program in programs(options, start=NOON, tick=0)]
    assert kinds.count(Training) == max(1, (count + 1) // 2)


def test_totals_do_not_depend_on_when_they_are_asked_for() -> None:
    """Asked for often or once, integrals are the same to the last bit."""
    often, once = (Training(0, MODELS["H100"], "1") for _ in range(2))
    for tick in range(7, 2000, 7):
        often.advance(tick)
        often.totals()
    often.advance(2000)
    once.advance(2000)
    assert often.totals() == once.totals()
    assert often.recent_utilization() == once.recent_utilization()


@pytest.mark.parametrize("seed", range(5))
def test_strides_have_the_mean_of_their_phases(seed: int) -> None:
    """One load a stride, with the activity of the phases in it; both sum up to the same."""
    stride = 3 * TICKS_PER_SECOND
    pieces = Training(0, MODELS["H100"], str(seed)).advance(200 * stride)
    strides = smoothed(pieces, 0, stride)
    assert [tick for tick, _ in strides] == [stride * n for n in range(1, 201)]
    for name in ("sm", "tensor", "dram"):
        sums = [_integral(found, name) for found in (pieces, strides)]
        assert sums[0] == pytest.approx(sums[1])


def test_a_process_that_comes_is_not_smoothed_away() -> None:
    """A stride ends where a process is attached or goes: a context without one draws nothing."""
    busy = Load(context=True, sm=1.0)
    found = smoothed([(10, Load()), (90, busy), (120, Load())], 0, 60)
    assert found == [(10, Load()), (60, busy), (90, busy), (120, Load())]


def _integral(pieces: list[tuple[int, Load]], name: str) -> float:
    ends = [0, *(tick for tick, _ in pieces)]
    spans = [until - since for since, until in itertools.pairwise(ends)]
    return sum(getattr(load, name) * s for (_, load), s in zip(pieces, spans, strict=True))


def test_recent_utilization_is_the_last_second() -> None:
    """Utilisation is the mean over a second, whatever phases it held."""
    busy = Steady(0, Load(utilization=1.0, memory_access=0.5), 0.0)
    busy.advance(TICKS_PER_SECOND // 2)
    assert busy.recent_utilization() == (0.5, 0.25)
    busy.advance(TICKS_PER_SECOND * 5)
    assert busy.recent_utilization() == (1.0, 0.5)


def test_gpus_may_run_different_workloads() -> None:
    """One after another, and again from the first."""
    options = SimOptions.parse(SourceSpec.parse("sim:5xH100,workload=training+idle"))
    names = [type(program).__name__ for program in programs(options, start=0.0, tick=0)]
    assert names == ["Training", "Steady", "Training", "Steady", "Training"]
