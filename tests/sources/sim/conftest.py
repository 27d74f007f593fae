"""A clock that stands still until it is told otherwise, and sources that live by it."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from gpumon.sources.sim.source import SimSource
from gpumon.sources.spec import SourceSpec

if typing.TYPE_CHECKING:
    from collections.abc import Callable


@dataclasses.dataclass
class StillClock:
    """A clock that goes on by assignment."""

    seconds: float = 0.0

    def time(self) -> float:
        """Return unix seconds: noon in January, plus what has passed."""
        return 1_767_268_800.0 + self.seconds

    def monotonic(self) -> float:
        """Return seconds since an arbitrary beginning."""
        return 5000.0 + self.seconds


@pytest.fixture
def clock() -> StillClock:
    """Return a clock at its beginning."""
    return StillClock()


@pytest.fixture
def open_sim(clock: StillClock) -> Callable[[str], SimSource]:
    """Return what opens ``sim:SPEC`` on the clock."""

    def opener(text: str) -> SimSource:
        return SimSource(SourceSpec.parse(f"sim:{text}"), clock)

    return opener
