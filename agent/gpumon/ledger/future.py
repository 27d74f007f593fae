"""Moments that have not come yet: the clock was set back since they were written down.

A job that runs has begun, and one that has ended has ended, whatever the clock says now. Without
this a job would not hold its GPUs for an hour after the clock was set back by one, and one that
ended before would go on paying.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gpumon.model import Holding

ALLOWANCE_SECONDS = 1.0
"""By how much the clocks of a workload manager and of this node may differ."""


class Future:
    """Remembers when it first heard of an end that is still to come."""

    def __init__(self) -> None:
        """Start with none."""
        self._ends: dict[tuple[str, str, float], float] = {}

    def corrected(self, holdings: Sequence[Holding], time: float) -> tuple[Holding, ...]:
        """Return holdings without moments that are still to come at a time (unix seconds).

        Who is said to begin then holds the GPU already; who is said to end then has ended when that
        was first heard.
        """
        latest = time + ALLOWANCE_SECONDS
        ends = {
            (h.job_id, h.uuid, h.until)
            for h in holdings
            if h.until is not None and h.until > latest
        }
        # A clock that was set back again makes what was heard before a thing of the future, too.
        heard = {end: min(self._ends.get(end, time), time) for end in ends}
        self._ends = heard
        return tuple(self._corrected(holding, latest) for holding in holdings)

    def _corrected(self, holding: Holding, latest: float) -> Holding:
        since, until = holding.since, holding.until
        if since is not None and since > latest:
            since = None
        if until is not None and until > latest:
            until = self._ends[holding.job_id, holding.uuid, until]
        if (since, until) == (holding.since, holding.until):
            return holding
        return dataclasses.replace(holding, since=since, until=until)
