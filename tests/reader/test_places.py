"""Readers that wait in the driver do not pile up."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gpumon.errors import DriverStuckError, UnavailableError
from gpumon.reader.command import MOST_READERS
from gpumon.reader.places import PLACES, STUCK_SECONDS, take_place


def test_a_place_is_held_while_it_is_open(tmp_path: Path) -> None:
    """And free again with the process that held it."""
    first, second = take_place(tmp_path), take_place(tmp_path)
    assert first is not None
    assert second is not None
    assert Path(first.name) != Path(second.name)
    first.close()
    third = take_place(tmp_path)
    assert third is not None
    assert third.name == first.name
    for place in (second, third):
        place.close()


def test_many_at_once_are_turned_away_for_the_moment(tmp_path: Path) -> None:
    """Which says nothing of the driver."""
    places = [take_place(tmp_path) for _ in range(PLACES)]
    with pytest.raises(UnavailableError, match="try again") as refused:
        take_place(tmp_path)
    assert not isinstance(refused.value, DriverStuckError)
    for place in filter(None, places):
        place.close()


def test_those_that_wait_for_minutes_are_the_drivers_fault(tmp_path: Path) -> None:
    """A fourth would only join them."""
    places = [take_place(tmp_path) for _ in range(MOST_READERS)]
    long_ago = time.time() - STUCK_SECONDS - 1
    for place in filter(None, places):
        os.utime(place.name, (long_ago, long_ago))
    with pytest.raises(DriverStuckError, match="3 earlier looks at the driver are still waiting"):
        take_place(tmp_path)
    for place in filter(None, places):
        place.close()
    free = take_place(tmp_path)
    assert free is not None
    free.close()


def test_where_nothing_can_be_written_nobody_counts(tmp_path: Path) -> None:
    """A check is worth more than the count."""
    assert take_place(tmp_path / "none") is None
