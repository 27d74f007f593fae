"""Where snapshots come from: one seam, three doors.

``nvml`` reads the driver, ``sim`` a physical model of GPUs, ``replay`` a recording. Nothing behind
this seam knows who reads it, and nothing in front of it knows which door was taken.
"""

from __future__ import annotations

from typing import Protocol

from gpumon.clock import SYSTEM, Clock
from gpumon.model import Snapshot, Tier
from gpumon.sources.spec import ENOUGH, Patience, SourceSpec


class Source(Protocol):
    """Something that can be asked for a snapshot, again and again, from one thread."""

    def read(self) -> Snapshot:
        """Return the state now.

        Returns within a second whatever the driver does; what could not be read in that time is
        in the snapshot with its age or its fault. Raises UnavailableError where there is nothing
        to read at all (no driver); asking again later is how one waits for it.
        """
        ...

    def leave_alone(self, index: int, reason: str) -> None:
        """Ask nothing of a GPU any more, which is dangerous; the source says so instead."""
        ...

    def close(self) -> None:
        """Let go of what the source holds, waiting for a call that is under way."""
        ...


def open_source(
    spec: SourceSpec | str,
    clock: Clock = SYSTEM,
    tier: Tier = Tier.FULL,
    patience: Patience = ENOUGH,
) -> Source:
    """Open the source of a specification; UsageError where it makes no sense.

    ``tier`` is how much of the catalogue is read, where reading costs something; ``patience`` how
    long a driver is waited for.
    """
    if isinstance(spec, str):
        spec = SourceSpec.parse(spec)
    if spec.kind == "sim":
        from gpumon.sources.sim import SimSource

        return SimSource(spec, clock)
    if spec.kind == "replay":
        from gpumon.sources.replay import ReplaySource

        return ReplaySource(spec, clock)
    from gpumon.sources.nvml import NvmlSource

    return NvmlSource(clock, tier, patience=patience)
