"""One row that cannot be kept costs the others nothing, whatever it is made of."""

from __future__ import annotations

import dataclasses
import sqlite3  # the tests look at the tables
from pathlib import Path
from typing import Any

import pytest

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
    SxidEvent,
    XidEvent,
)
from gpumon.refusals import Refusals
from gpumon.server.chronicle import Chronicle
from gpumon.server.xidmemory import XidMemory
from gpumon.statedb.file import StateFile
from gpumon.statedb.ledger import LedgerFile, load_books
from tests.support.clock import FakeClock

START = 1_790_000_000.0
HUGE = 2**64 - 1
NO_UNICODE = "\ud800"


def reading(index: int, second: int, **more: Any) -> GpuReading:
    """Return a GPU that draws 100 W, by its counter."""
    return dataclasses.replace(
        GpuReading(
            identity=GpuIdentity(index, f"GPU-{index}"),
            state=GpuState.OK,
            time=START + second,
            read_at=START + second,
            energy_joules=1000.0 + 100 * second,
            power_watts=100.0,
            power_limit_watts=700.0,
            utilization_ratio=1.0,
        ),
        **more,
    )


def run(path: Path, sick: dict[str, Any], job_id: str = "1") -> tuple[dict[str, int], Refusals]:
    """Let an agent's books run for ten seconds beside a sick GPU; return joules after a restart."""
    refusals = Refusals()
    state = StateFile(path, refusals)
    ledger = Ledger(state.load(load_books, Books()), LedgerFile(state), active_ratio=0.05)
    jobs = {job_id: Job(job_id=job_id, manager="slurm")}
    allocation = Allocation(jobs=jobs, holdings=(Holding(job_id=job_id, uuid="GPU-1"),))
    for second in range(11):
        odd = reading(1, second, **sick)
        snapshot = Snapshot(
            time=START + second, source=SourceInfo("nvml"), gpus=(reading(0, second), odd)
        )
        ledger.update(snapshot, allocation, START + second)
    state.close()
    books = StateFile(path).load(load_books, Books())
    for account in books.accounts.values():
        shown = sum(job.millijoules for job in account.jobs.values())
        assert account.total == account.ended + account.unallocated + shown
    return {uuid: account.total for uuid, account in books.accounts.items()}, refusals


def test_without_anything_odd_all_is_kept(tmp_path: Path) -> None:
    """What the others are compared with."""
    joules, refusals = run(tmp_path / "state.db", {})
    assert joules == {"GPU-0": 1_000_000, "GPU-1": 1_000_000}
    assert refusals.counts == {}


@pytest.mark.parametrize(
    "sick",
    [
        {"energy_joules": HUGE / 1000},
        {"energy_joules": float("inf")},
        {"energy_joules": -5.0},
        {"identity": GpuIdentity(HUGE, "GPU-1")},
        {"identity": GpuIdentity(1, f"GPU-{NO_UNICODE}")},
    ],
    ids=["all ones", "infinite", "negative", "index", "uuid"],
)
def test_a_sick_gpu_costs_a_healthy_one_no_joule(tmp_path: Path, sick: dict[str, Any]) -> None:
    """Even if its readings got past every other guard, the healthy one's are there again."""
    joules, _ = run(tmp_path / "state.db", sick)
    assert joules["GPU-0"] == 1_000_000


def test_a_counter_that_cannot_be_leaves_the_gpus_own_joules(tmp_path: Path) -> None:
    """They are known by its power."""
    joules, _ = run(tmp_path / "state.db", {"energy_joules": HUGE / 1000})
    assert joules["GPU-1"] == 1_000_000


def test_a_job_that_cannot_be_kept_is_counted_and_the_books_close(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its joules are those of a job that is no longer shown; it is logged once for a table."""
    joules, refusals = run(tmp_path / "state.db", {}, job_id=f"1{NO_UNICODE}")
    assert joules == {"GPU-0": 1_000_000, "GPU-1": 1_000_000}
    assert refusals.counts["state_file_row"] >= 2
    logged = [r.getMessage() for r in caplog.records if "impossible" in r.getMessage()]
    assert len(logged) == len(set(logged))
    assert any("a row of jobs in the state file" in line for line in logged)


@pytest.mark.parametrize(
    "odd",
    [
        XidEvent(START, HUGE, "0000:01:00", "nvml"),
        XidEvent(START, 31, "0000:01:00", "log", pid=HUGE),
        XidEvent(START, 31, "0000:01:00", "log", gpu_instance=HUGE),
        XidEvent(START, 31, "0000:01:00", "log", process=NO_UNICODE),
        SxidEvent(START, HUGE, "0000:05:00", 0, fatal=True),
        SxidEvent(START, 1, "0000:05:00", HUGE, fatal=True),
    ],
    ids=["code", "pid", "instance", "process", "sxid", "switch"],
)
def test_an_odd_event_costs_no_other_event(tmp_path: Path, odd: XidEvent | SxidEvent) -> None:
    """They are reported in one batch, and written in one transaction."""
    path = tmp_path / "state.db"
    refusals = Refusals()
    state = StateFile(path, refusals)
    memory = XidMemory(state, FakeClock(START))
    good = XidEvent(START, 79, "0000:02:00", "log")
    memory.observe([odd, good], "position")
    state.close()
    again = XidMemory(StateFile(path), FakeClock(START))
    assert 79 in [event.code for event in again.recent(0.0, 100)]
    assert again.position == "position"
    assert refusals.counts["state_file_row"] >= 1


def test_an_odd_note_costs_no_other_note(tmp_path: Path) -> None:
    """Whatever stands in a text."""
    path = tmp_path / "state.db"
    state = StateFile(path, Refusals())
    chronicle = Chronicle(state, FakeClock(START))
    chronicle.note("agent", NO_UNICODE)
    chronicle.note("agent", "started")
    state.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT text FROM chronicle").fetchall() == [("started",)]
    db.close()
