"""What a reading can be: every quantity of the catalogue has bounds, or a reason for none."""

from __future__ import annotations

import math

import pytest

from gpumon.model import Metric
from gpumon.model.bounds import (
    MOST_GPU_WATTS,
    Bound,
    bound_of,
    is_node_power,
    is_pid,
    is_temperature,
    is_threshold,
    is_time,
    power_bound,
    quantity_of,
)
from gpumon.model.catalogue import OWNERS
from gpumon.model.gpu import GpuReading
from gpumon.model.metric import Kind, Tier, group_of

QUANTITIES = [(owner, metric) for owner in OWNERS for metric in group_of(owner).metrics]


@pytest.mark.parametrize(
    ("owner", "metric"), QUANTITIES, ids=[metric.name for _, metric in QUANTITIES]
)
def test_every_quantity_has_bounds_or_a_reason_for_none(owner: type, metric: Metric) -> None:
    """Its bounds let nothing through that is no number, or that is beyond all hardware."""
    bound = bound_of(owner, metric)
    if isinstance(bound, str):
        assert len(bound.split()) >= 1
        return
    assert bound.least <= bound.most
    assert bound.holds(max(bound.least, 1))
    for value in (math.nan, math.inf, -math.inf, 2**64 - 1, float(2**80), -1000):
        assert not bound.holds(value), value


def test_a_new_metric_without_a_unit_needs_a_row() -> None:
    """Nobody can say what a count of something unknown can be."""
    new = Metric("gpumon_gpu_gears", Kind.GAUGE, "Gears.", Tier.FULL, "gears")
    with pytest.raises(LookupError, match="gpumon_gpu_gears"):
        bound_of(GpuReading, new)


def test_the_name_where_it_is_counted_has_no_unit() -> None:
    """As node_power, which came first."""
    names = {quantity_of(metric) for owner, metric in QUANTITIES if owner is GpuReading}
    assert {"gpu_power", "gpu_utilization", "gpu_temperature", "gpu_pcie_replays"} <= names


ONES = [
    *((2**bits - 1, "raw") for bits in (31, 32, 63, 64)),
    *(((2**bits - 1) * 1024, "KiB") for bits in (32, 64)),
    *(((2**bits - 1) / 1000, "milli") for bits in (32, 64)),
    *(((2**bits - 1) / 1e9, "nano") for bits in (32, 64)),
]


@pytest.mark.parametrize(("value", "unit"), ONES)
def test_all_bits_set_are_no_value_in_any_unit(value: float, unit: str) -> None:
    """Not even within bounds."""
    assert not Bound(0, 2.0**90).holds(value), unit
    assert not Bound(0, 2.0**90).holds(float(value)), unit
    assert Bound(0, 2.0**90).holds(value / 3)


@pytest.mark.parametrize(
    ("limits", "module", "most"),
    [
        ((700.0, 700.0), False, 1400),
        ((200.0, 700.0), False, 1400),  # lowered just now: it may still draw what it drew
        ((70.0, None), False, 200),
        ((5.0, None), False, 200),  # a laptop's board that reports nonsense
        ((None, None), False, MOST_GPU_WATTS),
        ((0.0, None), False, MOST_GPU_WATTS),
        ((4_294_967.295, None), False, MOST_GPU_WATTS),
        ((900.0, 900.0), True, MOST_GPU_WATTS),  # a GPU's limits are not its module's
    ],
)
def test_a_gpu_draws_twice_its_own_limit_at_most(
    limits: tuple[float | None, ...],
    module: bool,  # noqa: FBT001 - a column of the table
    most: float,
) -> None:
    """A spike passes, whatever is beyond physics does not."""
    assert power_bound(limits, module=module) == Bound(0, most)


def test_a_gpu_may_be_cold_but_its_thresholds_are_not() -> None:
    """-1 is what drivers and tools say if they know no temperature."""
    assert [n for n in (-51, -50, -2, -1.0, -1, 0, 150, 151) if is_temperature(n)] == [
        *(-50, -2, 0, 150)
    ]
    assert [n for n in (-2, -1, 0, 90) if is_threshold(n)] == [0, 90]
    shutdown = group_of(GpuReading)["temperature_shutdown_celsius"]
    bound = bound_of(GpuReading, shutdown)
    assert isinstance(bound, Bound)
    assert not bound.holds(-2)


def test_real_hardware_is_within_bounds() -> None:
    """Superchips, big nodes, hot memory, a cold start."""
    assert power_bound((1400.0,), module=False).holds(1400 * 1.8)
    assert power_bound((1200.0,), module=True).holds(2700)
    assert is_node_power(14_300)
    assert not is_node_power(132_000)  # a rack, which no node measures
    assert not is_node_power(65_535)
    assert is_pid(4_194_304)
    assert not is_pid(0)
    assert not is_pid(2**64 - 1)
    assert is_time(1_790_000_000.5)
    assert not is_time(1_790_000_000_000)  # milliseconds
    assert not is_time(math.nan)
