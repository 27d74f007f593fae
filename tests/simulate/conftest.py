"""A fleet whose time goes when it is told."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import pytest

from gpumon.exposition import Format
from gpumon.simulate.clock import SteppedClock
from gpumon.simulate.fleet import SimFleet
from gpumon.simulate.fleetplan import plan_fleet
from gpumon.thresholds import Thresholds, shipped

START = 1_800_000_000.0


class SteppedFleet:
    """A fleet and the clock that moves it."""

    def __init__(
        self,
        *,
        nodes: int = 9,
        gpus: int = 4,
        seed: int = 3,
        model: str = "H100",
        stride: int | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        """Open it."""
        self.clock = SteppedClock(START)
        plan = plan_fleet(nodes=nodes, gpus=gpus, model=model, seed=seed, site=None)
        site = dataclasses.replace(plan.site, thresholds=thresholds or shipped())
        plan = dataclasses.replace(plan, site=site)
        self.fleet = SimFleet(plan, self.clock, stride=stride)

    def after(self, seconds: float, step: float = 5.0) -> None:
        """Let time pass, with a scrape of every node each step."""
        for _ in range(max(1, round(seconds / step))):
            self.clock.step(min(step, seconds))
            for node in self.fleet.nodes.values():
                node.scrape(Format.TEXT)

    def text(self, node: str) -> str:
        """Return a node's exposition now."""
        return self.fleet.nodes[node].scrape(Format.TEXT).decode()

    def value(self, node: str, series: str) -> float | None:
        """Return the value of the one series whose line has this pattern, or None."""
        found = re.findall(rf"^{series} (\S+)$", self.text(node), flags=re.MULTILINE)
        assert len(found) <= 1, found
        return float(found[0]) if found else None

    def values(self, node: str, name: str) -> list[float]:
        """Return the values of all series of a metric."""
        pattern = rf"^{name}(?:{{.*}})? (\S+)$"
        return [float(v) for v in re.findall(pattern, self.text(node), flags=re.MULTILINE)]


@pytest.fixture
def make_fleet() -> Callable[..., SteppedFleet]:
    """Return what opens a fleet."""
    return SteppedFleet


@pytest.fixture
def fleet() -> SteppedFleet:
    """Nine nodes of four H100s: eight that train, the eighth serves."""
    return SteppedFleet()
