"""Where snapshots come from: one seam, a door for each kind (``kinds``).

``nvml`` reads the driver, ``sim`` a physical model of GPUs, ``replay`` a recording. Nothing behind
this seam knows who reads it, and nothing in front of it knows which door was taken.
"""

from __future__ import annotations

import importlib
from typing import Protocol

from gpumon.clock import SYSTEM, Clock
from gpumon.model import Snapshot, Tier
from gpumon.refusals import Refusals
from gpumon.sources.gate import Gate
from gpumon.sources.kinds import ROWS
from gpumon.sources.spec import ENOUGH, Patience, SourceSpec


class Source(Protocol):
    """Something that can be asked for a snapshot, again and again, from one thread."""

    def read(self) -> Snapshot:
        """Return the state now.

        Returns within a second whatever the driver does; what could not be read in that time is
        in the snapshot with its age or its fault. Raises UnavailableError if there is nothing
        to read at all (no driver); asking again later is how one waits for it.
        """
        ...

    def leave_alone(self, index: int, reason: str) -> None:
        """Stop asking a GPU, since that is dangerous; the source says so instead."""
        ...

    def close(self) -> None:
        """Let go of what the source holds, waiting for a call that is under way."""
        ...


class Package(Protocol):
    """What the package of a kind offers."""

    def open_source(
        self, spec: SourceSpec, clock: Clock, tier: Tier, patience: Patience, /
    ) -> Source:
        """Open the source of a specification; UsageError if it makes no sense."""
        ...

    def possible_origins(self, field: str, /) -> list[str]:
        """Return the words for where a field of a GPU's reading may come from, best first.

        Fields of a MIG instance begin with ``mig.`` (``gpumon.model.origins``).
        """
        ...


def open_source(
    spec: SourceSpec | str,
    clock: Clock = SYSTEM,
    tier: Tier = Tier.FULL,
    patience: Patience = ENOUGH,
) -> Source:
    """Open the source of a specification; UsageError if it makes no sense.

    ``tier`` is how much of the catalogue is read, if reading costs something; ``patience`` how
    long a driver is waited for.
    """
    if isinstance(spec, str):
        spec = SourceSpec.parse(spec)
    return GatedSource(_package(spec.kind).open_source(spec, clock, tier, patience))


class GatedSource:
    """A source of any kind, behind the gate: what cannot be does not get past it."""

    def __init__(self, source: Source) -> None:
        """Put the gate before a source."""
        self._source = source
        self._gate = Gate(Refusals())

    def read(self) -> Snapshot:
        """Return the state now, without what cannot be; see Source."""
        return self._gate.snapshot(self._source.read())

    def leave_alone(self, index: int, reason: str) -> None:
        """Stop asking a GPU; see Source."""
        self._source.leave_alone(index, reason)

    def close(self) -> None:
        """Let go of what the source holds; see Source."""
        self._source.close()


def possible_origins(field: str) -> dict[str, list[str]]:
    """Return where a field of a reading may come from, by the kinds of source that have it."""
    found = {row.name: _package(row.name).possible_origins(field) for row in ROWS}
    return {kind: words for kind, words in found.items() if words}


def _package(kind: str) -> Package:
    """Return the package of a kind; what it needs is loaded when it is wanted, and not before."""
    package: Package = importlib.import_module(f"{__name__}.{kind}")
    return package
