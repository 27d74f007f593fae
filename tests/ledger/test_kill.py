"""Killed -9 at any moment: what the device counted is entered, and nothing twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3  # the tests look at the tables
import time
from pathlib import Path

from gpumon.ledger import Ledger
from gpumon.ledger.ledger import Books
from gpumon.model import (
    Allocation,
    GpuIdentity,
    GpuReading,
    GpuState,
    Holding,
    Job,
    Snapshot,
    SourceInfo,
)
from gpumon.statedb.file import StateFile
from gpumon.statedb.ledger import LedgerFile, load_books
from gpumon.thresholds import shipped

KILLS = 100
WATTS = 500
TICK_SECONDS = 0.003

ALLOCATION = Allocation(
    jobs={"1": Job(job_id="1", manager="slurm")}, holdings=(Holding(job_id="1", uuid="GPU-0"),)
)

ACTIVE_RATIO = shipped().number("activity.idle_ratio")


def reading(began: float) -> GpuReading:
    """Return what a device says that draws 500 W, in whole millijoules."""
    now = time.time()
    return GpuReading(
        identity=GpuIdentity(0, "GPU-0"),
        state=GpuState.OK,
        time=now,
        read_at=time.monotonic(),
        energy_joules=round((now - began) * WATTS * 1000) / 1000,
        power_watts=WATTS,
        power_limit_watts=700.0,
        utilization_ratio=1.0,
    )


def tick(ledger: Ledger, began: float) -> GpuReading:
    """Enter what the device says now, and return it."""
    gpu = reading(began)
    ledger.update(
        Snapshot(time=gpu.time, source=SourceInfo("nvml"), gpus=(gpu,)), ALLOCATION, gpu.time
    )
    return gpu


def keep_books(path: Path, began: float) -> None:
    """Be an agent until killed."""
    state = StateFile(path)
    ledger = Ledger(
        state.load(load_books, Books()), LedgerFile(state), steady=True, active_ratio=ACTIVE_RATIO
    )
    while True:
        tick(ledger, began)
        time.sleep(TICK_SECONDS)


def test_killed_a_hundred_times_nothing_is_lost_and_nothing_counted_twice(tmp_path: Path) -> None:
    """The job's joules are what the device counted since the first tick, to the millijoule."""
    path, began, dice = tmp_path / "state.db", time.time(), random.Random(1)
    first_agent = StateFile(path)
    first = tick(
        Ledger(Books(), LedgerFile(first_agent), steady=True, active_ratio=ACTIVE_RATIO), began
    )
    first_agent.close()
    assert first.energy_joules is not None
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:
            try:
                keep_books(path, began)
            finally:
                os._exit(1)
        time.sleep(dice.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
    state = StateFile(path)
    books: Books = state.load(load_books, Books())
    state.close()
    account = books.accounts["GPU-0"]
    with sqlite3.connect(path) as db:
        (hours,) = db.execute("SELECT sum(millijoules) FROM hourly").fetchone()
        ((active, idle),) = db.execute("SELECT sum(active_ms), sum(idle_ms) FROM hourly").fetchall()
    assert account.mark.counter is not None
    assert account.total == account.mark.counter - round(first.energy_joules * 1000)
    assert account.jobs["1"].millijoules == account.total == hours
    assert books.node_millijoules == account.total
    assert (account.ended, account.unallocated) == (0, 0)
    assert account.total > KILLS * 0.01 * WATTS * 1000
    # Each entry of time is rounded to a millisecond.
    seconds = account.total / 1000 / WATTS
    assert abs((active + idle) / 1000 - seconds) < KILLS * 0.01
    assert idle == 0
