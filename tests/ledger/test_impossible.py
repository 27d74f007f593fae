"""Counters and clocks that cannot be: the ledger books what is possible, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from gpumon.ledger import Ledger
from gpumon.ledger.ledger import Books
from gpumon.statedb.file import StateFile
from gpumon.statedb.ledger import LedgerFile
from tests.ledger.test_ledger import (
    ACTIVE_RATIO,
    START,
    Bench,
    by,
    check_closes,
    energy,
    held,
    reading,
    snapshot,
)


def test_without_a_known_limit_physics_is_the_limit() -> None:
    """A leap of a counter beyond what any GPU draws is not booked, whoever sets no limit."""
    bench = Bench()
    bench.tick(held(by("1")))
    bench.time, bench.joules = bench.time + 1, bench.joules + 1e9
    leap = reading(time=bench.time, joules=bench.joules).changed(power_limit_watts=None)
    bench.ledger.update(snapshot(leap), held(by("1")), bench.time)
    assert energy(bench.ledger.state(), "1") == 100.0  # by its power
    assert bench.ledger.corrections["rejected"] == 1
    state = bench.tick(held(by("1")))
    assert energy(state, "1") == 200.0
    check_closes(state)


@pytest.mark.parametrize("joules", [(2**64 - 1) / 1000, float("inf"), float("nan"), -1.0])
def test_a_counter_that_no_device_has_is_none(joules: float) -> None:
    """The joules of that time are known by power, and the counter goes on when it is back."""
    bench = Bench()
    bench.tick(held())
    bench.tick(held())
    bench.time += 1
    bench.ledger.update(snapshot(reading(time=bench.time, joules=joules)), held(), bench.time)
    bench.joules += 100
    state = bench.tick(held())
    assert [account.ledger_energy_joules for account in state.gpus] == [300.0]
    assert bench.ledger.corrections == {"reset": 0, "rejected": 0, "gap": 0}


@pytest.mark.parametrize("year", [1970, 9999])
def test_a_clock_that_was_half_a_century_off_makes_no_half_a_million_hours(year: int) -> None:
    """Of such a span the last part stands for all of it; no joule is lost."""
    rows: list[tuple[int, str, str, str]] = []

    class Journal(LedgerFile):
        def hourly(self, key: Any, sums: Any) -> None:
            rows.append(key)
            super().hourly(key, sums)

    ledger = Ledger(Books(), Journal(StateFile(None)), active_ratio=ACTIVE_RATIO)
    begin = START if year > 2026 else 0.0
    end = 253_402_300_799.0 if year > 2026 else START
    for time, joules in ((begin, 1000.0), (end, 2000.0)):
        ledger.update(snapshot(reading(time=time, joules=joules)), held(), time)
    assert ledger.state().gpus[0].ledger_energy_joules == 1000.0
    assert len(rows) <= 400 * 24 + 1
