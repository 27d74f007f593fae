"""The driver's door: the only package that imports pynvml.

``table`` says where NVML keeps each value, ``library`` guards every call, ``plan`` finds out what a
GPU reports and reads it in one batch, ``gpu`` makes that a reading, ``source`` puts them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumon.model.origins import MIG as OF_MIG

if TYPE_CHECKING:
    from gpumon.clock import Clock
    from gpumon.model import Tier
    from gpumon.sources import Source
    from gpumon.sources.spec import Patience, SourceSpec


def open_source(_: SourceSpec, clock: Clock, tier: Tier, patience: Patience) -> Source:
    """Open this machine's driver; it is looked for at the first read."""
    from gpumon.sources.nvml.source import NvmlSource

    return NvmlSource(clock, tier, patience=patience)


def possible_origins(field: str) -> list[str]:
    """Return the fields and calls of NVML that a value may be read from, best first."""
    from gpumon.sources.nvml.table import GPU, MIG, possible_origins

    if field.startswith(OF_MIG):
        return possible_origins(MIG, field.removeprefix(OF_MIG))
    return possible_origins(GPU, field)
