"""The ledger's books in the state file.

What one tick changes is written as one transaction, so that kill -9 loses a tick whole or not at
all: a GPU's account stands there with the counter up to which it is entered, and the next agent
enters what the device counted since. While the file cannot be written, ticks add up to one.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence

from gpumon.documents.write import json_of
from gpumon.ledger.account import HOUR, Account, JobAccount
from gpumon.ledger.ledger import Books, OpenJob
from gpumon.ledger.measure import Epoch, Mark
from gpumon.model import Job
from gpumon.statedb.file import StateFile

KEPT_DAYS = 400
"""How long hours and jobs are kept: a year, and a month to look back on it."""

_PRUNE_SECONDS = 86_400.0

_ACCOUNT = "INSERT OR REPLACE INTO ledger_gpus VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_JOB_ACCOUNT = "INSERT OR REPLACE INTO ledger_jobs VALUES (?, ?, ?, ?, ?, ?, ?)"
_JOB = "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_HOURLY = """
    INSERT INTO hourly VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET millijoules = millijoules + excluded.millijoules,
        idle_millijoules = idle_millijoules + excluded.idle_millijoules,
        active_ms = active_ms + excluded.active_ms, idle_ms = idle_ms + excluded.idle_ms
"""
_ACTIVE_LINE = "INSERT INTO active_lines (time, ratio) VALUES (?, ?)"
_NODE = "INSERT OR REPLACE INTO node_energy VALUES (1, ?)"
_QUARTERLY = """
    INSERT INTO quarters VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET millijoules = millijoules + excluded.millijoules,
        host_millijoules = host_millijoules + excluded.host_millijoules
"""


Rows = dict[tuple[str, object], tuple[object, ...]]
"""Rows by the statement that writes them and their key; a later one replaces an earlier."""

Sums = dict[tuple[int, str, str, str], list[int]]
"""What is to be added by (hour, GPU, a job's run or nobody, why nobody's)."""


Quarters = dict[int, list[int]]
"""What to add by quarter of an hour since 1970: of the GPUs, and beyond them."""


class LedgerFile:
    """The ledger's journal; see ``gpumon.ledger.ledger.Journal``."""

    def __init__(self, state: StateFile) -> None:
        """Keep nothing yet."""
        self._state = state
        self._lock = threading.Lock()
        self._rows: Rows = {}
        self._hours: Sums = {}
        self._quarters: Quarters = {}
        self._queued = False
        self._pruned = 0.0

    def hourly(self, key: tuple[int, str, str, str], sums: tuple[int, int, int, int]) -> None:
        """Add to (hour, GPU, a job's run or nobody, why nobody's)."""
        with self._lock:
            _add(self._hours, key, sums)

    def quarterly(self, quarter: int, millijoules: int, *, host: bool) -> None:
        """Add to a quarter of an hour what GPUs, or the host beyond them, drew."""
        with self._lock:
            self._quarters.setdefault(quarter, [0, 0])[host] += millijoules

    def account(self, account: Account) -> None:
        """Keep a GPU's account as it is."""
        mark = account.mark
        self._keep(
            _ACCOUNT,
            account.uuid,
            (
                account.uuid,
                account.gpu,
                mark.time,
                mark.counter,
                mark.watts,
                json_of(account.holders),
                account.total,
                account.ended,
                account.unallocated,
                *mark.epoch,
            ),
        )

    def job_account(self, job: OpenJob, uuid: str, account: JobAccount) -> None:
        """Keep what a job pays for a GPU."""
        self._keep(
            _JOB_ACCOUNT,
            (job.job.job_id, job.began, uuid),
            (
                job.job.job_id,
                job.began,
                uuid,
                account.active_millijoules,
                account.idle_millijoules,
                account.active_milliseconds,
                account.idle_milliseconds,
            ),
        )

    def job(self, job: OpenJob, *, shown: bool) -> None:
        """Keep a job's facts and times, and whether its series are still shown."""
        facts = job.job
        self._keep(
            _JOB,
            (facts.job_id, job.began),
            (
                facts.job_id,
                job.began,
                job.ended,
                shown,
                facts.user,
                facts.account,
                facts.partition,
                facts.name,
                facts.manager,
                json_of(job.host_millijoules),
                facts.cluster,
                min(job.starts, default=None),
            ),
        )

    def active_line(self, time: float, ratio: float) -> None:
        """Keep from which activity on a held GPU is active, from a time on."""
        self._keep(_ACTIVE_LINE, "active line", (time, ratio))

    def node(self, millijoules: int) -> None:
        """Keep what was ever entered of all GPUs, those that are gone among them."""
        self._keep(_NODE, "node", (millijoules,))

    def commit(self, time: float) -> None:
        """Have all that was kept written as one."""
        with self._lock:
            if not self._state.keeps:
                self._rows, self._hours, self._quarters = {}, {}, {}
                return
            if self._queued or not (self._rows or self._hours):
                return
            self._queued = True
        prune = self._state.forgets and not 0 <= time - self._pruned < _PRUNE_SECONDS
        if prune:
            self._pruned = time
        oldest = int(time // HOUR) - KEPT_DAYS * 24 if prune else None
        # There is one of these at a time, in which all later ticks come together.
        self._state.save(_Writer(self, oldest), keep=True)

    def _keep(self, statement: str, key: object, row: tuple[object, ...]) -> None:
        with self._lock:
            self._rows[statement, key] = row

    def take(self) -> tuple[Rows, Sums, Quarters]:
        """Return what to write, and drop it; called by the writing thread."""
        with self._lock:
            taken = self._rows, self._hours, self._quarters
            self._rows, self._hours, self._quarters, self._queued = {}, {}, {}, False
            return taken


class _Writer:
    """One transaction; tried again, it has what it took before and what is new."""

    def __init__(self, file: LedgerFile, oldest: int | None) -> None:
        self._file = file
        self._oldest = oldest
        self._rows: Rows = {}
        self._hours: Sums = {}
        self._quarters: Quarters = {}

    def __call__(self, db: sqlite3.Connection) -> None:
        rows, hours, quarters = self._file.take()
        self._rows.update(rows)
        for key, sums in hours.items():
            _add(self._hours, key, sums)
        for quarter, (gpus, host) in quarters.items():
            held = self._quarters.setdefault(quarter, [0, 0])
            held[0] += gpus
            held[1] += host
        for (statement, _), row in self._rows.items():
            db.execute(statement, row)
        db.executemany(_QUARTERLY, [(key, *sums) for key, sums in self._quarters.items()])
        db.executemany(_HOURLY, [(*key, *sums) for key, sums in self._hours.items()])
        if self._oldest is not None:
            _prune(db, self._oldest)


def _add(
    hours: Sums,
    key: tuple[int, str, str, str],
    sums: Sequence[int],
) -> None:
    held = hours.setdefault(key, [0, 0, 0, 0])
    for at, more in enumerate(sums):
        held[at] += more


def _prune(db: sqlite3.Connection, oldest: int) -> None:
    """Forget hours, and jobs that ended, before an hour."""
    db.execute("DELETE FROM hourly WHERE hour < ?", (oldest,))
    db.execute("DELETE FROM quarters WHERE quarter < ?", (oldest * 4,))
    db.execute("DELETE FROM jobs WHERE NOT shown AND ended < ?", (oldest * HOUR,))
    db.execute(
        "DELETE FROM ledger_jobs WHERE (job_id, began) NOT IN (SELECT job_id, began FROM jobs)"
    )


def load_books(db: sqlite3.Connection) -> Books:
    """Return what the last agent left: accounts, and the jobs that are still shown."""
    last = db.execute("SELECT ratio FROM active_lines ORDER BY id DESC LIMIT 1").fetchone()
    node = db.execute("SELECT millijoules FROM node_energy").fetchone()
    books = Books(active_ratio=last[0] if last else None, node_millijoules=node[0] if node else 0)
    for uuid, gpu, time, counter, watts, holders, total, ended, unallocated, *epoch in db.execute(
        "SELECT uuid, gpu, time, counter, watts, holders, total, ended, unallocated, boot, "
        "driver_load FROM ledger_gpus"
    ):
        books.accounts[uuid] = Account(
            uuid=uuid,
            gpu=gpu,
            mark=Mark(time, counter, watts, Epoch(*epoch)),
            holders=tuple(json.loads(holders)),
            total=total,
            ended=ended,
            unallocated=unallocated,
        )
    names = ("user", "account", "partition", "name", "manager", "cluster")
    for job_id, began, over, host, started, *facts in db.execute(
        "SELECT job_id, began, ended, host, started, user, account, partition, name, manager, "
        "cluster FROM jobs WHERE shown ORDER BY began"
    ):
        job = Job(job_id=job_id, **dict(zip(names, (fact or "" for fact in facts), strict=True)))
        starts = frozenset() if started is None else frozenset({started})
        books.jobs[job_id] = OpenJob(job, began, over, json.loads(host), starts)
    for job_id, uuid, *sums in db.execute(
        "SELECT job_id, uuid, active, idle, active_ms, idle_ms FROM ledger_jobs "
        "WHERE (job_id, began) IN (SELECT job_id, began FROM jobs WHERE shown)"
    ):
        if uuid in books.accounts:
            books.accounts[uuid].jobs[job_id] = JobAccount(*sums)
    for kept in books.accounts.values():
        # A row that could not be kept is a job that is no longer shown: the books still close.
        shown = sum(job.millijoules for job in kept.jobs.values())
        kept.ended = kept.total - kept.unallocated - shown
    return books
