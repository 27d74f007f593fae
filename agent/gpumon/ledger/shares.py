"""Whose a GPU's joules are: the pieces of a tick, and the holders of each piece."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from gpumon.derive.mig_energy import divide, mig_weights
from gpumon.model import GpuReading, Holding

NOBODY = ""
"""The owner of what nobody held."""


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """What one owner pays and for how long it held; ``active`` by its own activity, if known."""

    owner: str
    millijoules: int
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One GPU from a reading to the next: when (unix seconds of the source), and how long it took.

    ``holdings`` are those of this GPU, ``pids`` whose its processes are.
    """

    begin: float
    end: float
    seconds: float
    gpu: GpuReading
    holdings: Sequence[Holding]
    pids: Mapping[int, str]

    def holders(self) -> list[Holding]:
        """Return who has the GPU at the end of the tick."""
        return [holding for holding in self.holdings if in_force(holding, self.end)]


def parts_of_tick(millijoules: int, tick: Tick) -> list[Part]:
    """Divide what was drawn in a tick among its holders.

    A job that began or ended in between pays for its piece; power is taken to be constant
    meanwhile. The parts add up to ``millijoules`` exactly, those of nobody included.
    """
    pieces = _pieces(tick)
    amounts = divide(millijoules, [length for length, _ in pieces])
    whole = sum(length for length, _ in pieces)
    parts = []
    for (length, held), amount in zip(pieces, amounts, strict=True):
        weights = weights_of(held, tick)
        shares = divide(amount, list(weights.values()))
        seconds = tick.seconds * length / whole
        parts += [Part(o, part, seconds) for o, part in zip(weights, shares, strict=True)]
    return parts


def parts_of_gap(millijoules: int, tick: Tick) -> list[Part]:
    """Divide what was drawn in a gap among those who hold the GPU at its end."""
    weights = weights_of(tick.holders(), tick)
    shares = divide(millijoules, list(weights.values()))
    seconds = max(0.0, tick.seconds)
    return [Part(o, part, seconds) for o, part in zip(weights, shares, strict=True)]


def weights_of(holdings: Sequence[Holding], tick: Tick) -> dict[str, float]:
    """Return by what share each owner pays for a GPU that these hold together."""
    if not holdings:
        return {NOBODY: 1.0}
    if tick.gpu.mig and any(holding.mig_uuids for holding in holdings):
        return _normal(_by_instance(holdings, tick.gpu))
    owners = list(dict.fromkeys(holding.job_id for holding in holdings))
    if len(owners) == 1:
        return {owners[0]: 1.0}
    return _normal(_by_activity(owners, tick))


def _pieces(tick: Tick) -> list[tuple[float, list[Holding]]]:
    """Return (seconds, who held) of each piece between a change of holders and the next."""
    changes = {tick.begin, tick.end}
    for holding in tick.holdings:
        for moment in (holding.since, holding.until):
            if moment is not None and tick.begin < moment < tick.end:
                changes.add(moment)
    return [
        (until - since, [h for h in tick.holdings if _covers(h, since, until)])
        for since, until in itertools.pairwise(sorted(changes))
    ]


def in_force(holding: Holding, moment: float) -> bool:
    """Return whether a holding is there at a moment (unix seconds)."""
    return _covers(holding, moment, moment) and (holding.until is None or holding.until > moment)


def _covers(holding: Holding, since: float, until: float) -> bool:
    begun = holding.since is None or holding.since <= since
    return begun and (holding.until is None or holding.until >= until)


def _by_instance(holdings: Sequence[Holding], gpu: GpuReading) -> dict[str, float]:
    """Divide by instances; one that several hold equally, one that nobody holds is nobody's."""
    found: dict[str, float] = {}
    weights, _ = mig_weights(gpu.mig)
    for instance, weight in zip(gpu.mig, weights, strict=True):
        uuid = instance.identity.mig_uuid
        owners = [h.job_id for h in holdings if not h.mig_uuids or uuid in h.mig_uuids] or [NOBODY]
        for owner in owners:
            found[owner] = found.get(owner, 0.0) + weight / len(owners)
    return found


def _by_activity(owners: Sequence[str], tick: Tick) -> dict[str, float]:
    """Divide by the SM time of each job's processes; equally if none has any."""
    found = dict.fromkeys(owners, 0.0)
    for process in tick.gpu.held_by:
        owner = tick.pids.get(process.pid)
        if owner in found and process.sm_ratio:
            found[owner] += process.sm_ratio
    return found if any(found.values()) else dict.fromkeys(owners, 1.0)


def _normal(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {owner: weight / total for owner, weight in weights.items()}
