"""The books of a node: fed by each tick, asked by each scrape.

Every tick each GPU's joules go to the job that held it. A gap (the agent was down, the GPU silent)
goes to who held the GPU before and after it, else to nobody: what happened in between is not known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from gpumon.derive.mig_energy import divide
from gpumon.derive.totals import activity
from gpumon.ledger.account import HOUR, QUARTER, Account, JobAccount, pieces_of
from gpumon.ledger.future import Future
from gpumon.ledger.idleness import Idleness
from gpumon.ledger.measure import Epoch, Mark, drawn
from gpumon.ledger.shares import NOBODY, Part, Tick, parts_of_gap, parts_of_tick, weights_of
from gpumon.model import NOT_ANSWERED_YET, Allocation, GpuReading, Holding, Job, Snapshot
from gpumon.model.jobs import UNKNOWN
from gpumon.model.ledger import (
    JobGpuReading,
    JobReading,
    LedgerReading,
    LedgerState,
)

GAP_SECONDS = 15.0
"""Longer without a reading is a gap: the slowest tick is 5 s, and a GPU that hung is asked again
after 10 s."""

SHOWN_SECONDS = 900.0
"""How long the series of a job stay after its end, so that every scraper sees the last value."""

OVER_SECONDS = 60.0
"""Who held a GPU until this long ago may still have a part in the tick at hand."""

HOST = "host"
"""Stands for a GPU's uuid, in the hours, if joules are those that the node drew beyond its GPUs;
their reason is the method by which they are known."""

CORRECTIONS = ("reset", "rejected", "gap")

RUN = "\n"
"""Stands between a job's id and when it began, in the hours; no id has it."""


@dataclasses.dataclass(slots=True)
class OpenJob:
    """One run of a job that is shown: since when, and since when it no longer holds anything.

    ``began`` and ``ended`` are when the ledger saw it, ``starts`` are those of what it held last,
    as far as its manager says; all in unix seconds.
    """

    job: Job
    began: float
    ended: float | None = None
    host_millijoules: dict[str, int] = dataclasses.field(default_factory=dict)
    starts: frozenset[float] = frozenset()

    @property
    def run(self) -> str:
        """What the hours call it: a job's id, and which run, if its manager keeps them apart."""
        return f"{self.job.job_id}{RUN}{self.began!r}" if self.starts else self.job.job_id

    def is_run(self, job: Job, starts: frozenset[float]) -> bool:
        """Return whether a job of the same id is this run of it.

        A requeued job, one that got a number a second time, and one of another cluster are not. A
        job that takes one GPU after another is, while it still holds one of those from before.
        """
        if job.manager != self.job.manager and UNKNOWN not in (job.manager, self.job.manager):
            return False
        if len({job.cluster, self.job.cluster} - {""}) > 1:
            return False
        return not starts or not self.starts or bool(starts & self.starts)


class Journal(Protocol):
    """Keeps what the ledger enters, so that the next agent goes on from there."""

    def hourly(self, key: tuple[int, str, str, str], sums: tuple[int, int, int, int]) -> None:
        """Add to (hour, GPU or HOST, a job's run or nobody, why nobody's or HOST's method).

        The sums are millijoules, those of them while idle, and milliseconds active and idle.
        """

    def quarterly(self, quarter: int, millijoules: int, *, host: bool) -> None:
        """Add to a quarter of an hour (since 1970) what GPUs, or the host beyond them, drew."""

    def account(self, account: Account) -> None:
        """Keep a GPU's account as it is."""

    def job_account(self, job: OpenJob, uuid: str, account: JobAccount) -> None:
        """Keep what a job pays for a GPU."""

    def job(self, job: OpenJob, *, shown: bool) -> None:
        """Keep a job's facts and times, and whether its series are still shown."""

    def active_line(self, time: float, ratio: float) -> None:
        """Keep from which activity on a held GPU is active, from a time (unix seconds) on."""

    def node(self, millijoules: int) -> None:
        """Keep what was ever entered of all GPUs, those that are gone among them."""

    def commit(self, time: float) -> None:
        """Write all that was kept since, as one."""


@dataclasses.dataclass(slots=True)
class Books:
    """What a ledger goes on from.

    ``active_ratio`` is from which activity on a held GPU was active, as far as that is known.
    ``node_millijoules`` is what was ever entered of all GPUs.
    """

    accounts: dict[str, Account] = dataclasses.field(default_factory=dict)
    jobs: dict[str, OpenJob] = dataclasses.field(default_factory=dict)
    active_ratio: float | None = None
    node_millijoules: int = 0


class Ledger:
    """Belongs to the agent's event loop; pure arithmetic but for its journal."""

    def __init__(  # noqa: PLR0913 - each is a rule of the books
        self,
        books: Books,
        journal: Journal,
        *,
        active_ratio: float,
        idle_seconds: float | None = None,
        steady: bool = False,
        gap_seconds: float = GAP_SECONDS,
        epoch: Callable[[], Epoch] = Epoch,
    ) -> None:
        """Go on from what an earlier ledger left.

        ``active_ratio``: from this activity on a held GPU is active. What was entered by another
        line stays as it was; the journal keeps which one held when. ``idle_seconds``: so long
        without activity a job's GPU is idle for good, None if nobody asks. ``gap_seconds``: longer
        without a reading is a gap. ``steady`` if readings are taken in this machine's own time: how
        long a tick was is then measured by the monotonic clock, which nobody sets, and the source's
        time only says when. ``epoch`` returns since when the devices' counters count.
        """
        self._accounts = books.accounts
        self._jobs = books.jobs
        self._node = books.node_millijoules
        self._caught_up = False
        self._journal = journal
        self._active_ratio = active_ratio
        self._journaled_ratio = books.active_ratio
        self._steady = steady
        self._gap_seconds = gap_seconds
        self._epoch_now = epoch
        self._epoch = Epoch()
        latest = max((a.mark.time for a in books.accounts.values()), default=0.0)
        self._future = Future(latest)
        self._read_at: dict[str, float] = {}
        self._corrections = dict.fromkeys(CORRECTIONS, 0)
        self._corrected: list[tuple[str, int, str]] = []
        self._shares: dict[tuple[str, str], float] = {}
        self._idleness = Idleness(idle_seconds)
        self._present: tuple[str, ...] = ()

    @property
    def open_jobs(self) -> Mapping[str, OpenJob]:
        """The jobs that are shown, by their id."""
        return self._jobs

    def update(
        self,
        snapshot: Snapshot,
        allocation: Allocation | None,
        time: float,
        host: tuple[str, float] | None = None,
    ) -> None:
        """Enter a tick: what the GPUs drew since the last, and whose it was.

        ``allocation`` is None while nothing has been heard of who holds what: then who did before
        still does. ``time`` is now (unix seconds); ``host`` is what the node draws beyond its
        GPUs: by what method it is known, and watts.
        """
        allocation = allocation or self._remembered()
        allocation = dataclasses.replace(
            allocation,
            holdings=self._future.corrected(
                [h for h in allocation.holdings if not _long_over(h, time)], time
            ),
        )
        self._epoch = self._epoch_now()
        for job_id in {holding.job_id for holding in allocation.holdings}:
            starts = allocation.starts.get(job_id, frozenset())
            self._meet(allocation.jobs.get(job_id), job_id, starts, time)
        self._shares = {}
        self._corrected = []
        longest = 0.0
        counted = _each_once(snapshot.gpus)
        self._keep_active_line(counted)
        for gpu in counted:
            holdings = [h for h in allocation.holdings if h.uuid == gpu.identity.uuid]
            longest = max(longest, self._enter(gpu, holdings, allocation.pids))
        self._idleness.forget_others({*self._shares})
        self._present = tuple(gpu.identity.uuid for gpu in snapshot.gpus)
        held = {h.job_id for h in allocation.holdings if h.until is None or h.until > time}
        if host is not None and counted and longest <= self._gap_seconds:
            self._enter_host(host, held, len(counted), (time - longest, time))
        self._end(held, allocation, time)
        if counted:
            self._journal.node(self._node)
            # Killed, an agent may have shown a second more than it wrote: that is made up for once
            # every GPU was read. Until then the counter would fall, which is taken for a reset.
            self._caught_up |= all(gpu.reason != NOT_ANSWERED_YET for gpu in snapshot.gpus)
        self._journal.commit(time)

    def state(self) -> LedgerState:
        """Return what to show now; its readings are of one tick."""
        here = [self._accounts[uuid] for uuid in self._present if uuid in self._accounts]
        return LedgerState(
            jobs=tuple(self._job_reading(job) for job in self._jobs.values()),
            shares=tuple(
                JobGpuReading(
                    job_id=job_id,
                    gpu=account.gpu,
                    uuid=account.uuid,
                    share=self._shares.get((job_id, account.uuid)),
                    idle=self._idleness.of((job_id, account.uuid), self._moment(account)),
                    energy_joules=job.millijoules / 1000,
                )
                for account in here
                for job_id, job in account.jobs.items()
            ),
            node_energy_joules=self._node / 1000 if self._caught_up else None,
            gpus=tuple(
                LedgerReading(
                    gpu=account.gpu,
                    uuid=account.uuid,
                    unallocated_energy_joules=account.unallocated / 1000,
                    ended_jobs_energy_joules=account.ended / 1000,
                    ledger_energy_joules=account.total / 1000,
                )
                for account in here
            ),
        )

    @property
    def corrections(self) -> dict[str, int]:
        """How often a device's counter had to be corrected, or a gap was nobody's."""
        return dict(self._corrections)

    def corrected(self) -> list[tuple[str, int, str]]:
        """Return (uuid, index, correction) of what had to be corrected in the last tick."""
        return self._corrected

    def holders(self) -> dict[str, tuple[str, ...]]:
        """Return the ids of the jobs that hold each GPU, by its uuid."""
        return {uuid: account.holders for uuid, account in self._accounts.items()}

    def _keep_active_line(self, counted: Sequence[GpuReading]) -> None:
        """Have the journal keep the line from the first reading on that is entered by it."""
        if counted and self._active_ratio != self._journaled_ratio:
            self._journaled_ratio = self._active_ratio
            self._journal.active_line(min(gpu.time for gpu in counted), self._active_ratio)

    def _enter(
        self, gpu: GpuReading, holdings: Sequence[Holding], pids: Mapping[int, str]
    ) -> float:
        """Enter one GPU's tick and return how long it was."""
        uuid, now = gpu.identity.uuid, Mark.of(gpu, self._epoch)
        account = self._accounts.get(uuid)
        if account is None:
            account = self._accounts[uuid] = Account(uuid, gpu.identity.index, now)
            begin, seconds = now.time, 0.0
        else:
            begin, seconds = account.mark.time, self._seconds(account, gpu)
        tick = Tick(
            begin=begin, end=now.time, seconds=seconds, gpu=gpu, holdings=holdings, pids=pids
        )
        holders = tuple(dict.fromkeys(holding.job_id for holding in tick.holders()))
        if now != account.mark:
            self._book(account, now, tick, holders)
        account.mark, account.holders, account.gpu = now, holders, gpu.identity.index
        watched = uuid in self._read_at
        self._read_at[uuid] = gpu.read_at
        if holders:
            act = activity(gpu)
            for owner, weight in weights_of(tick.holders(), tick).items():
                if owner == NOBODY:
                    continue
                self._shares[owner, uuid] = weight
                account.jobs.setdefault(owner, JobAccount())
                if act is not None:
                    busy = act >= self._active_ratio
                    moment = self._moment(account)
                    self._idleness.enter((owner, uuid), moment, active=busy, watched=watched)
        self._journal.account(account)
        return seconds

    def _moment(self, account: Account) -> float:
        """Return when a GPU was last read: seconds of the clock that ticks are measured by."""
        return self._read_at.get(account.uuid, 0.0) if self._steady else account.mark.time

    def _book(self, account: Account, now: Mark, tick: Tick, holders: tuple[str, ...]) -> None:
        """Enter what a GPU drew in a tick, or in a gap."""
        gpu = tick.gpu
        limit = max(gpu.power_limit_watts or 0.0, gpu.power_limit_default_watts or 0.0)
        amount = drawn(account.mark, now, tick.seconds, limit)
        if amount.correction:
            self._correct(account, amount.correction)
        reason = "idle"
        if tick.end > tick.begin and 0 < tick.seconds <= self._gap_seconds:
            if tick.begin != tick.end - tick.seconds:
                # Where the clock was set meanwhile, the tick was no longer for it.
                tick = dataclasses.replace(tick, begin=tick.end - tick.seconds)
            parts = parts_of_tick(amount.millijoules, tick)
        elif holders and set(holders) == set(account.holders):
            parts = parts_of_gap(amount.millijoules, tick)
        else:
            if account.holders or holders:
                reason = "gap"
                self._correct(account, "gap")
            parts = [Part(NOBODY, amount.millijoules, tick.seconds)]
        active = (activity(gpu) or 0.0) >= self._active_ratio
        for part in parts:
            self._post(account, part, (tick.begin, tick.end), reason, active=active)

    def _correct(self, account: Account, correction: str) -> None:
        self._corrections[correction] += 1
        self._corrected.append((account.uuid, account.gpu, correction))

    def _post(
        self, account: Account, part: Part, span: tuple[float, float], reason: str, *, active: bool
    ) -> None:
        """Enter a part in the account, and by the hour in the journal."""
        milliseconds = round(part.seconds * 1000) if part.owner != NOBODY else 0
        account.enter(part.owner, part.millijoules, milliseconds, active=active)
        self._node += part.millijoules  # a sum of the accounts would fall with a GPU that is lost
        self._demand(part.millijoules, span, host=False)
        hours = list(pieces_of(*span, HOUR))
        lengths = [length for _, length in hours]
        amounts = divide(part.millijoules, lengths)
        times = divide(milliseconds, lengths)
        why = reason if part.owner == NOBODY else ""
        for (hour, _), amount, time in zip(hours, amounts, times, strict=True):
            idle = 0 if active or part.owner == NOBODY else amount
            times_of = (time, 0) if active else (0, time)
            key = (hour, account.uuid, self._run(part.owner), why)
            self._journal.hourly(key, (amount, idle, *times_of))
        if part.owner != NOBODY:
            job = self._jobs[part.owner]
            self._journal.job_account(job, account.uuid, account.jobs[part.owner])

    def _demand(self, millijoules: int, span: tuple[float, float], *, host: bool) -> None:
        """Enter joules by the quarter of an hour, whosever they are: what a contract meters."""
        quarters = list(pieces_of(*span, QUARTER))
        amounts = divide(millijoules, [length for _, length in quarters])
        for (quarter, _), amount in zip(quarters, amounts, strict=True):
            self._journal.quarterly(quarter, amount, host=host)

    def _seconds(self, account: Account, gpu: GpuReading) -> float:
        """Return how long ago the last mark was; 0 or less if the clock was set back."""
        before = self._read_at.get(account.uuid)
        if self._steady and before is not None:
            return gpu.read_at - before
        return gpu.time - account.mark.time

    def _enter_host(
        self, host: tuple[str, float], held: set[str], gpus: int, span: tuple[float, float]
    ) -> None:
        """Give each job the part of the host's joules that its share of the GPUs is.

        The part of GPUs that nobody holds is nobody's, and stands by the hour only.
        """
        method, watts = host
        joules = round(watts * (span[1] - span[0]) * 1000)
        shares = {job_id: 0.0 for job_id in held if job_id in self._jobs}
        for (job_id, _), share in self._shares.items():
            if job_id in shares:
                shares[job_id] += share / gpus
        weights = [*shares.values(), max(0.0, 1.0 - sum(shares.values()))]
        for owner, part in zip((*shares, NOBODY), divide(joules, weights), strict=True):
            self._post_host(owner, method, part, span)

    def _post_host(
        self, owner: str, method: str, millijoules: int, span: tuple[float, float]
    ) -> None:
        """Enter an owner's part of the host's joules, and by the hour in the journal."""
        self._demand(millijoules, span, host=True)
        hours = list(pieces_of(*span, HOUR))
        amounts = divide(millijoules, [length for _, length in hours])
        for (hour, _), amount in zip(hours, amounts, strict=True):
            self._journal.hourly((hour, HOST, self._run(owner), method), (amount, 0, 0, 0))
        job = self._jobs.get(owner)
        if job is not None:
            job.host_millijoules[method] = job.host_millijoules.get(method, 0) + millijoules
            self._journal.job(job, shown=True)

    def _run(self, owner: str) -> str:
        job = self._jobs.get(owner)
        return job.run if job else owner

    def _meet(self, job: Job | None, job_id: str, starts: frozenset[float], time: float) -> None:
        """Take note of a job, or of what is newly known of it; another run has its own account."""
        known = self._jobs.get(job_id)
        job = job or (known.job if known else Job(job_id=job_id, manager=UNKNOWN))
        if known is not None and not known.is_run(job, starts):
            if known.ended is None:
                known.ended = min((time, *starts))
            self._fold(job_id)
            known = None
        if known is None:
            known = self._jobs[job_id] = OpenJob(job, time)
        elif known.job == job and starts in (frozenset(), known.starts):
            return
        known.job = job
        known.starts = starts or known.starts
        self._journal.job(known, shown=True)

    def _end(self, held: set[str], allocation: Allocation, time: float) -> None:
        """Note which jobs no longer hold anything, and fold those that were shown long enough."""
        ends = {h.job_id: h.until for h in allocation.holdings if h.until is not None}
        for job_id, job in list(self._jobs.items()):
            if job_id in held:
                if job.ended is not None:
                    job.ended = None
                    self._journal.job(job, shown=True)
            elif job.ended is None:
                job.ended = min(time, ends.get(job_id) or time)
                self._journal.job(job, shown=True)
            elif not 0 <= time - job.ended < SHOWN_SECONDS:
                self._fold(job_id)

    def _fold(self, job_id: str) -> None:
        job = self._jobs.pop(job_id)
        for account in self._accounts.values():
            if job_id in account.jobs or job_id in account.holders:
                account.fold(job_id)
                self._journal.account(account)
        self._journal.job(job, shown=False)

    def _remembered(self) -> Allocation:
        holdings = tuple(
            Holding(job_id=job_id, uuid=account.uuid)
            for account in self._accounts.values()
            for job_id in account.holders
        )
        return Allocation(jobs={k: job.job for k, job in self._jobs.items()}, holdings=holdings)

    def _job_reading(self, job: OpenJob) -> JobReading:
        job_id = job.job.job_id
        accounts = [a.jobs[job_id] for a in self._accounts.values() if job_id in a.jobs]
        return JobReading(
            job=job.job,
            gpu_seconds={
                "active": sum(a.active_milliseconds for a in accounts) / 1000,
                "idle": sum(a.idle_milliseconds for a in accounts) / 1000,
            },
            idle_energy_joules=sum(a.idle_millijoules for a in accounts) / 1000,
            host_energy_joules={
                method: millijoules / 1000 for method, millijoules in job.host_millijoules.items()
            }
            or None,
        )


def _long_over(holding: Holding, time: float) -> bool:
    """Return whether a holding ended before any tick that is still to be entered."""
    return holding.until is not None and time - holding.until > OVER_SECONDS


def _each_once(gpus: Iterable[GpuReading]) -> list[GpuReading]:
    """Return the GPUs that report energy, a module's joules once (GB200: two GPUs a module)."""
    found: dict[str, GpuReading] = {}
    for gpu in gpus:
        if not gpu.up or not gpu.identity.uuid:
            continue
        if gpu.energy_joules is None and gpu.power_watts is None:
            continue
        scope = gpu.energy_info.scope if gpu.energy_info else gpu.power_scope
        module = gpu.identity.serial if scope == "module" else ""
        found.setdefault(module or gpu.identity.uuid, gpu)
    return list(found.values())
