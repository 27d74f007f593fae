"""Recordings played as if they happened now: nvidia-smi's CSV logs, and gpumon's own.

``smilog`` and ``recording`` read files into frames; ``source`` plays frames at a speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumon.sources.replay.columns import possible_columns

if TYPE_CHECKING:
    from gpumon.clock import Clock
    from gpumon.model import Tier
    from gpumon.sources import Source
    from gpumon.sources.spec import Patience, SourceSpec


def open_source(spec: SourceSpec, clock: Clock, _: Tier, __: Patience) -> Source:
    """Open a recording; UsageError or UnavailableError if it cannot be played."""
    from gpumon.sources.replay.source import ReplaySource

    return ReplaySource(spec, clock)


def possible_origins(field: str) -> list[str]:
    """Return the columns of an nvidia-smi log that a value may be read from, best first."""
    return [f"column {name}" for name in possible_columns(field)]
