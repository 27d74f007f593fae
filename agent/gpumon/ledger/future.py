"""Moments that the clock has passed once and that are to come again, since it was set back.

A job that runs has begun, and one that has ended has ended, whatever the clock says now. Without
this a job would not hold its GPUs for an hour after the clock was set back by one, and one that
ended before would go on paying.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gpumon.model import Holding

STEP_SECONDS = 1.0
"""A clock that is this much behind the latest time was set back."""

TICK_SECONDS = 15.0
"""So far beyond the latest time that is known of the clock may have been when it was set back."""


class Future:
    """Remembers the latest time, and when it first heard of an end that is to come again."""

    def __init__(self, latest: float) -> None:
        """Start from the latest time (unix seconds) that is known of."""
        self._latest = latest
        self._ends: dict[tuple[str, str, float], float] = {}

    def corrected(self, holdings: Sequence[Holding], time: float) -> tuple[Holding, ...]:
        """Return holdings at a time (unix seconds) without moments that come a second time.

        A job with such a beginning holds the GPU already. One with such an end has ended when that
        was first heard.
        """
        self._latest = max(self._latest, time)
        ends = {
            (h.job_id, h.uuid, h.until)
            for h in holdings
            if h.until is not None and self._was_passed(h.until, time)
        }
        # If the clock is set back once more, what was heard before is to come again, too.
        self._ends = {end: min(self._ends.get(end, time), time) for end in ends}
        return tuple(self._corrected(holding, time) for holding in holdings)

    def _was_passed(self, moment: float, time: float) -> bool:
        set_back = self._latest - time > STEP_SECONDS
        return set_back and time < moment <= self._latest + TICK_SECONDS

    def _corrected(self, holding: Holding, time: float) -> Holding:
        since, until = holding.since, holding.until
        if since is not None and self._was_passed(since, time):
            since = None
        if until is not None and self._was_passed(until, time):
            until = self._ends[holding.job_id, holding.uuid, until]
        if (since, until) == (holding.since, holding.until):
            return holding
        return dataclasses.replace(holding, since=since, until=until)
