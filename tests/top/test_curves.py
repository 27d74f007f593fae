"""What the graphs are drawn from, and how."""

from __future__ import annotations

import dataclasses

import pytest

from gpumon.model import Snapshot
from gpumon.top.curves import NODE, History, columns
from gpumon.top.graph import bars
from tests.top.conftest import node


@pytest.fixture
def snapshot() -> Snapshot:
    """Four GPUs, of which one is lost."""
    return node()


def test_the_node_is_the_sum_the_least_and_the_mean_of_its_gpus(snapshot: Snapshot) -> None:
    """Power adds up, the warmest counts, and activity is shared; of a lost GPU nothing is known."""
    history = History()
    history.add(snapshot)
    known = [gpu for gpu in snapshot.gpus if gpu.power_watts is not None]
    assert len(known) == 3
    (power,) = history.values(NODE, "power")
    assert power == pytest.approx(sum(gpu.power_watts or 0 for gpu in known))
    assert history.scale(NODE, "power") == 2100
    margins = [g.temperature_margin_celsius for g in known if g.temperature_margin_celsius]
    assert list(history.values(NODE, "margin")) == [min(margins)]
    busy = [gpu.sm_active_ratio or 0 for gpu in known]
    assert history.values(NODE, "activity")[0] == pytest.approx(sum(busy) / 3)
    assert list(history.values(2, "power")) == [None]


def test_a_gpu_that_comes_later_was_not_known_before(snapshot: Snapshot) -> None:
    """Its values stand below those of the others of the same time."""
    history = History()
    history.add(dataclasses.replace(snapshot, gpus=snapshot.gpus[:1]))
    history.add(snapshot)
    assert next(iter(history.values(1, "power"))) is None
    assert len(history.values(1, "power")) == len(history.values(0, "power")) == 2


def test_no_more_is_kept_than_was_asked_for(snapshot: Snapshot) -> None:
    """The oldest goes first."""
    history = History(most=3)
    for watts in (100.0, 200.0, 300.0, 400.0):
        gpu = snapshot.gpus[0].changed(power_watts=watts)
        history.add(dataclasses.replace(snapshot, gpus=(gpu,)))
    assert list(history.values(0, "power")) == [200, 300, 400]
    assert history.looks == 4


def test_a_column_is_the_mean_of_its_looks_and_moves_as_a_whole() -> None:
    """With one look more, every column but the last has the values it had, one place on."""
    values = [float(n) for n in range(10)]
    assert columns(values, 10, 4, 1) == [6, 7, 8, 9]
    before = columns(values, 10, 4, 3)
    assert before == [1, 4, 7, 9]
    after = columns([*values, 10.0, 11.0, 12.0], 13, 4, 3)
    assert after[:2] == before[1:3]


def test_what_is_not_known_is_a_gap_and_nought_is_not() -> None:
    """The lowest known value is an eighth high; above the scale a bar ends at it."""
    assert bars([None, 0.0, 50.0, 100.0, 150.0], 100.0, 1) == [" ▁▄██"]
    assert bars([None, 0.0, 50.0, 75.0, 150.0], 100.0, 2) == ["   ▄█", " ▁███"]
