"""Simulated GPUs: ``sim:8xH100,workload=training,seed=7``; every snapshot says that it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpumon.clock import Clock
    from gpumon.model import Tier
    from gpumon.sources import Source
    from gpumon.sources.spec import Patience, SourceSpec


def open_source(spec: SourceSpec, clock: Clock, _: Tier, __: Patience) -> Source:
    """Open the node of a specification, warm; UsageError if it makes no sense."""
    from gpumon.sources.sim.source import SimSource

    return SimSource(spec, clock)


def possible_origins(_: str) -> list[str]:
    """Return nothing: what is simulated has no origin that the reference could list."""
    return []
