"""The books of one GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from gpumon.ledger.measure import Mark
from gpumon.ledger.shares import NOBODY

HOUR = 3600.0
QUARTER = 900.0

LONGEST_SECONDS = 400 * 24 * HOUR
"""The state file keeps no hour for longer."""


@dataclasses.dataclass(slots=True)
class JobAccount:
    """One job on one GPU, in whole millijoules and milliseconds, active and idle apart."""

    active_millijoules: int = 0
    idle_millijoules: int = 0
    active_milliseconds: int = 0
    idle_milliseconds: int = 0

    @property
    def millijoules(self) -> int:
        """What the job pays."""
        return self.active_millijoules + self.idle_millijoules

    def add(self, millijoules: int, milliseconds: int, *, active: bool) -> None:
        """Enter a part of a tick."""
        if active:
            self.active_millijoules += millijoules
            self.active_milliseconds += milliseconds
        else:
            self.idle_millijoules += millijoules
            self.idle_milliseconds += milliseconds


@dataclasses.dataclass(slots=True)
class Account:
    """One GPU: what it drew since its ledger began, and whose that is.

    ``holders`` are who held it at the last mark.
    """

    uuid: str
    gpu: int
    mark: Mark
    holders: tuple[str, ...] = ()
    total: int = 0
    ended: int = 0
    unallocated: int = 0
    jobs: dict[str, JobAccount] = dataclasses.field(default_factory=dict)

    def enter(self, owner: str, millijoules: int, milliseconds: int, *, active: bool) -> None:
        """Enter a part of a tick for its owner."""
        self.total += millijoules
        if owner == NOBODY:
            self.unallocated += millijoules
            return
        self.jobs.setdefault(owner, JobAccount()).add(millijoules, milliseconds, active=active)

    def fold(self, job_id: str) -> None:
        """Move an ended job to those no longer shown; what comes under its id is another."""
        self.holders = tuple(holder for holder in self.holders if holder != job_id)
        job = self.jobs.pop(job_id, None)
        if job is not None:
            self.ended += job.millijoules


def pieces_of(begin: float, end: float, length: float) -> Iterator[tuple[int, float]]:
    """Yield (number since 1970, seconds) of the hours, or quarters, that a span lies in.

    ``begin`` and ``end`` are unix seconds, ``length`` seconds; an empty span lies at its end. Of a
    span that is longer than anything is kept, the last part stands for all of it: a clock that
    started in 1970 and was set must not make half a million hours.
    """
    begin = max(begin, end - LONGEST_SECONDS)
    if end <= begin:
        yield int(end // length), 1.0
        return
    while begin < end:
        number = int(begin // length)
        until = min(end, (number + 1) * length)
        yield number, until - begin
        begin = until
