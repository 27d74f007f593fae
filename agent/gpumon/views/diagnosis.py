"""What is wrong with a node and its GPUs now, in words: what ``gpumon check`` finds, by GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.checks import Level, Observation, Verdict, chosen, judge
from gpumon.model import GpuReading, Snapshot
from gpumon.thresholds import Thresholds

SETTINGS = ("persistence",)
"""Checks of what somebody chose, and not of how the GPUs do: no matter for a first glance."""

STYLES = {Level.FAIL: "bold red", Level.WARN: "yellow", Level.SKIP: "dim", Level.PASS: "green"}

_ORDER = {level: place for place, level in enumerate((Level.FAIL, Level.WARN))}


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    """The failures and warnings of a node, the worst first; ``gpus`` is by NVML's index.

    ``thresholds`` are those that it was judged by.
    """

    verdicts: tuple[Verdict, ...]
    gpus: Mapping[int, tuple[Verdict, ...]]
    thresholds: Thresholds

    def level(self, index: int) -> Level:
        """Return how a GPU is: FAIL, WARN or PASS."""
        found = self.gpus.get(index)
        return found[0].level if found else Level.PASS

    def count(self, level: Level) -> int:
        """Return how many GPUs are at a level, FAIL or WARN, at the worst."""
        return sum(self.level(index) is level for index in self.gpus)

    def rank(self, gpu: GpuReading) -> tuple[int, int]:
        """Return a GPU's place in an order with the worst first."""
        place = _ORDER.get(self.level(gpu.identity.index), len(_ORDER))
        return place, gpu.identity.index


def diagnose(snapshot: Snapshot, thresholds: Thresholds) -> Diagnosis:
    """Return what is wrong in a snapshot."""
    seen = Observation(snapshot=snapshot, thresholds=thresholds)
    report = judge(seen, chosen((), SETTINGS))
    wrong = tuple(v for v in report.verdicts if v.level in _ORDER)
    gpus: dict[int, tuple[Verdict, ...]] = {}
    for verdict in wrong:
        if verdict.gpu is not None:
            gpus[verdict.gpu] = (*gpus.get(verdict.gpu, ()), verdict)
    return Diagnosis(wrong, gpus, thresholds)
