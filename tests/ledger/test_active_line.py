"""From which activity on a held GPU is active: a site's own line, and which one held when."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from gpumon.ledger import Ledger
from gpumon.ledger.hours import ActiveLine
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
from gpumon.statedb.file import MIGRATIONS, StateFile
from gpumon.statedb.hours import load_hours
from gpumon.statedb.ledger import LedgerFile, load_books

START = 3600.0 * 500_000

ALLOCATION = Allocation(
    jobs={"1": Job(job_id="1", manager="slurm")}, holdings=(Holding(job_id="1", uuid="GPU-0"),)
)


def keep_books(path: Path | None, active_ratio: float, activity: float, seconds: range) -> Books:
    """Be an agent for some seconds after START, with a GPU of some activity that a job holds."""
    state = StateFile(path)
    books = state.load(load_books, Books())
    ledger = Ledger(books, LedgerFile(state), active_ratio=active_ratio)
    for second in seconds:
        gpu = GpuReading(
            identity=GpuIdentity(0, "GPU-0"),
            state=GpuState.OK,
            time=START + second,
            energy_joules=100.0 * second,
            power_watts=100.0,
            sm_active_ratio=activity,
        )
        snapshot = Snapshot(time=gpu.time, source=SourceInfo("nvml"), gpus=(gpu,))
        ledger.update(snapshot, ALLOCATION, gpu.time)
    state.close(patience=10)
    return books


def seconds_of(books: Books) -> tuple[int, int]:
    """Return the job's seconds, active and idle."""
    job = books.accounts["GPU-0"].jobs["1"]
    return job.active_milliseconds // 1000, job.idle_milliseconds // 1000


def lines(path: Path) -> list[tuple[float, float]]:
    """Return the lines that a file keeps: since when, and the ratio."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT time, ratio FROM active_lines ORDER BY id").fetchall()


@pytest.mark.parametrize(("line", "told"), [(0.05, (9, 0)), (0.3, (9, 0)), (0.31, (0, 9))])
def test_a_gpu_is_active_from_the_line_on(line: float, told: tuple[int, int]) -> None:
    """At the line itself, too."""
    assert seconds_of(keep_books(None, line, 0.3, range(10))) == told


def test_a_changed_line_counts_from_then_on(tmp_path: Path) -> None:
    """What was entered before stays as it was, and the file keeps which line held when."""
    path = tmp_path / "state.db"
    assert seconds_of(keep_books(path, 0.05, 0.3, range(10))) == (9, 0)
    assert seconds_of(keep_books(path, 0.5, 0.3, range(10, 20))) == (9, 10)
    assert seconds_of(keep_books(path, 0.05, 0.3, range(20, 30))) == (19, 10)
    assert lines(path) == [(START, 0.05), (START + 10, 0.5), (START + 20, 0.05)]


def test_a_line_that_stays_is_kept_once(tmp_path: Path) -> None:
    """However often the agent starts anew, and before the first reading not at all."""
    path = tmp_path / "state.db"
    for begin in (0, 10, 20):
        keep_books(path, 0.1, 0.3, range(begin, begin + 5))
    keep_books(path, 0.2, 0.3, range(0))
    assert lines(path) == [(START, 0.1)]


def test_an_older_file_says_what_held_before_there_was_a_choice(tmp_path: Path) -> None:
    """Its hours were told apart at 5 %, and from the first reading on it is another line."""
    path = tmp_path / "state.db"
    steps = MIGRATIONS[:5]
    with contextlib.closing(sqlite3.connect(path)) as db:
        for number, script in enumerate(steps, 1):
            db.executescript(f"{script}; PRAGMA user_version = {number};")
        db.execute("INSERT INTO hourly VALUES (499990, 'GPU-0', '1', '', 1, 0, 1000, 0)")
        db.commit()
    keep_books(path, 0.2, 0.3, range(5))
    assert lines(path) == [(499_990 * 3600.0, 0.05), (START, 0.2)]


def test_an_older_file_without_hours_says_nothing(tmp_path: Path) -> None:
    """No line has been counted by."""
    path = tmp_path / "state.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        for number, script in enumerate(MIGRATIONS[:5], 1):
            db.executescript(f"{script}; PRAGMA user_version = {number};")
    keep_books(path, 0.2, 0.3, range(5))
    assert lines(path) == [(START, 0.2)]


def test_a_report_has_the_lines_of_its_span(tmp_path: Path) -> None:
    """The one in force at its beginning, and those that came within it."""
    path = tmp_path / "state.db"
    hour = 3600
    for at, ratio in ((0, 0.05), (2 * hour, 0.1), (4 * hour, 0.2)):
        keep_books(path, ratio, 0.3, range(at, at + 2))
    first = int(START // hour)

    def told(since: int, until: int) -> list[tuple[float, float]]:
        found = load_hours(path, first + since, first + until, "n1").active_lines
        return [(line.since - START, line.ratio) for line in found]

    assert told(0, 5) == [(0, 0.05), (2 * hour, 0.1), (4 * hour, 0.2)]
    assert told(1, 2) == [(0, 0.05)]
    assert told(2, 4) == [(2 * hour, 0.1)]
    assert told(3, 5) == [(2 * hour, 0.1), (4 * hour, 0.2)]
    assert load_hours(path, first, first + 1, "n1").active_lines == (ActiveLine(START, 0.05),)
