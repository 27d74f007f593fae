"""The schedule of ticks."""

from __future__ import annotations

import pytest

from gpumon.clock import Schedule
from tests.support.clock import FakeClock


def test_work_of_any_length_makes_no_drift() -> None:
    """Ticks stay a whole period apart, whatever part of it the work takes."""
    clock = FakeClock()
    schedule = Schedule(1.0, clock)
    ticks = []
    for work in (0.1, 0.9, 0.3, 0.0):
        ticks.append(clock.monotonic())
        clock.pass_(work)
        clock.pass_(schedule.until_next())
    assert ticks == pytest.approx([ticks[0] + i for i in range(4)])


def test_missed_ticks_are_skipped() -> None:
    """After work of three and a half periods the next tick is the fourth."""
    clock = FakeClock()
    schedule = Schedule(1.0, clock)
    clock.pass_(3.5)
    assert schedule.until_next() == pytest.approx(0.5)
    clock.pass_(0.5)
    assert schedule.until_next() == pytest.approx(1.0)
