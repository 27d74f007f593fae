"""The ledger while clocks go wrong: steps, jumps, sleep, and boots between two readings."""

from __future__ import annotations

import dataclasses
import sqlite3  # the tests look at the tables
from pathlib import Path
from typing import Any

import pytest

from gpumon.ledger import Ledger
from gpumon.ledger.ledger import Books
from gpumon.ledger.measure import Epoch, Mark, drawn
from gpumon.model import Allocation, LedgerState
from gpumon.statedb.file import MIGRATIONS, StateFile
from gpumon.statedb.ledger import LedgerFile, load_books
from tests.ledger.test_ledger import (
    ACTIVE_RATIO,
    LIMIT,
    START,
    by,
    check_closes,
    energy,
    held,
    reading,
    snapshot,
)

HOUR = 3600.0


class Agent:
    """An agent's ledger on a machine whose clocks, boots and drivers a test decides."""

    def __init__(self, path: Path | None = None) -> None:
        """Start it, with a GPU that has counted 1000 J."""
        self.path = path
        self.wall = START
        self.steady = 500.0
        self.joules = 1000.0
        self.epoch = Epoch("boot-a", "7")
        self.start()

    def start(self) -> None:
        """Start an agent, with what the last one left."""
        self.file = StateFile(self.path)
        self.ledger = Ledger(
            self.file.load(load_books, Books()),
            LedgerFile(self.file),
            active_ratio=ACTIVE_RATIO,
            steady=True,
            epoch=lambda: self.epoch,
        )

    def away(self, seconds: float, epoch: Epoch | None = None, joules: float | None = None) -> None:
        """End the agent; start another later, perhaps in another epoch with another counter."""
        self.file.close()
        self.wall += seconds
        self.steady = 10.0 if epoch else self.steady + seconds
        self.epoch = epoch or self.epoch
        self.joules = self.joules if joules is None else joules
        self.start()

    def tick(
        self,
        allocation: Allocation,
        *,
        wall: float = 1.0,
        steady: float = 1.0,
        joules: float = 100.0,
    ) -> LedgerState:
        """Let a second pass by the steady clock, and another time by the wall's."""
        self.wall += wall
        self.steady += steady
        self.joules += joules
        return self.read(allocation)

    def read(self, allocation: Allocation) -> LedgerState:
        """Read the GPU as it is."""
        gpu = dataclasses.replace(reading(time=self.wall, joules=self.joules), read_at=self.steady)
        self.ledger.update(snapshot(gpu), allocation, self.wall)
        check_closes(self.ledger.state())
        return self.ledger.state()

    def hours(self) -> dict[tuple[int, str], tuple[float, float]]:
        """Return (joules, active seconds) by (hour, job)."""
        self.file.close()
        assert self.path is not None
        with sqlite3.connect(self.path) as db:
            rows = db.execute("SELECT hour, job_id, millijoules, active_ms FROM hourly").fetchall()
        return {(hour, job): (mj / 1000, ms / 1000) for hour, job, mj, ms in rows}


def total(state: LedgerState) -> float:
    """Return the joules that were entered of the GPU."""
    joules = state.gpus[0].ledger_energy_joules
    assert joules is not None
    return joules


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 30 * 86_400.0, -86_400.0])
def test_a_clock_that_is_set_moves_no_joule_and_no_second(tmp_path: Path, jump: float) -> None:
    """An hour's jump, forward or back: a tick is a second long, and the job's."""
    agent = Agent(tmp_path / "state.db")
    job = held(by("1", since=START - 10))
    agent.tick(job)
    for step in (0.0, 0.0, jump, 0.0, 0.0):
        state = agent.tick(job, wall=1.0 + step)
    assert energy(state, "1") == 500.0
    assert state.jobs[0].gpu_seconds == {"active": 5.0, "idle": 0.0}
    assert agent.ledger.corrections == {"reset": 0, "rejected": 0, "gap": 0}
    hours = agent.hours()
    assert sum(joules for joules, _ in hours.values()) == 500.0
    assert sum(seconds for _, seconds in hours.values()) == 5.0


def test_a_machine_that_slept_drew_what_its_counter_says() -> None:
    """The steady clock stands still meanwhile, the wall clock does not, and the counter hardly."""
    agent = Agent()
    job = held(by("1", since=START - 10))
    agent.tick(job)
    agent.tick(job)
    state = agent.tick(job, wall=8 * HOUR, joules=150.0)
    assert (energy(state, "1"), state.jobs[0].gpu_seconds) == (250.0, {"active": 2.0, "idle": 0.0})


def test_a_job_goes_on_though_its_beginning_is_in_the_future() -> None:
    """It was written down by a clock that has been set back since."""
    agent = Agent()
    job = held(by("1", since=START))
    agent.tick(job)
    agent.tick(job)
    state = agent.tick(job, wall=-HOUR)
    state = agent.tick(job)
    assert energy(state, "1") == 300.0


def test_a_job_that_ended_pays_nothing_though_its_end_is_in_the_future() -> None:
    """From the moment at which that is first heard; a second step back changes nothing."""
    agent = Agent()
    running = held(by("1", since=START))
    agent.tick(running)
    agent.tick(running)
    over = held(by("1", since=START, until=agent.wall + 0.5))
    agent.tick(running, wall=-HOUR)
    state = agent.tick(over)
    assert (energy(state, "1"), total(state)) == (300.0, 300.0)
    for wall in (1.0, 1.0, -HOUR, 1.0):
        state = agent.tick(over, wall=wall)
    assert total(state) == 700.0
    assert state.gpus[0].ended_jobs_energy_joules == 300.0
    assert state.gpus[0].unallocated_energy_joules == 400.0


def test_two_boots_between_readings_with_a_counter_that_ends_higher(tmp_path: Path) -> None:
    """The counter began again, twice: its difference is nothing, and what it counted is drawn."""
    agent = Agent(tmp_path / "state.db")
    agent.tick(held())
    agent.tick(held())
    agent.away(2 * HOUR, Epoch("boot-c", "7"), joules=5000.0)
    state = agent.read(held())
    assert total(state) == 100.0 + 5000.0
    assert agent.ledger.corrections["reset"] == 1


def test_a_counter_of_another_boot_that_cannot_be_is_not_drawn(tmp_path: Path) -> None:
    """More than the board can draw in that time: a device that counts through boots, perhaps."""
    agent = Agent(tmp_path / "state.db")
    agent.tick(held())
    agent.tick(held())
    agent.away(300.0, Epoch("boot-b", "7"), joules=2 * LIMIT * 300.0)
    assert total(agent.read(held())) == 100.0


def test_a_driver_that_was_loaded_again_begins_again_too(tmp_path: Path) -> None:
    """In the same boot, and while the agent had let go of the GPUs."""
    agent = Agent(tmp_path / "state.db")
    agent.tick(held())
    agent.tick(held())
    agent.away(HOUR, Epoch("boot-a", "9"), joules=3000.0)
    assert total(agent.read(held())) == 100.0 + 3000.0
    agent.wall, agent.steady, agent.joules = agent.wall + HOUR, agent.steady + HOUR, 4000.0
    agent.epoch = Epoch("boot-a", "11")
    assert total(agent.read(held())) == 100.0 + 3000.0 + 4000.0


@pytest.mark.parametrize(
    "epoch", [Epoch("boot-a", "7"), Epoch("boot-a", ""), Epoch("", "7"), Epoch("", "")]
)
def test_the_same_epoch_or_an_unknown_one_counts_on(tmp_path: Path, epoch: Epoch) -> None:
    """Over any gap: the device counted while nobody looked."""
    agent = Agent(tmp_path / "state.db")
    agent.tick(held())
    agent.tick(held())
    agent.away(2 * HOUR, epoch, joules=agent.joules + 5000.0)
    assert total(agent.read(held())) == 100.0 + 5000.0


def test_each_gpu_remembers_its_own_epoch(tmp_path: Path) -> None:
    """One that was lost during a whole boot counts from its own last reading, two boots ago."""
    agent = Agent(tmp_path / "state.db")
    both = [reading(n, time=agent.wall, joules=1000.0) for n in (0, 1)]
    agent.ledger.update(snapshot(*both), held(), agent.wall)
    agent.away(HOUR, Epoch("boot-b", "7"), joules=200.0)
    agent.read(held())  # GPU 0 alone
    agent.away(60.0)
    agent.wall += HOUR
    both = [reading(0, time=agent.wall, joules=260.0), reading(1, time=agent.wall, joules=2000.0)]
    agent.ledger.update(snapshot(*both), held(), agent.wall)
    found = {a.gpu: a.ledger_energy_joules for a in agent.ledger.state().gpus}
    assert found == {0: 200.0 + 60.0, 1: 2000.0}


def test_a_state_file_of_before_knows_no_epoch(tmp_path: Path) -> None:
    """It is brought up to date, and its counters count on."""
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as db:
        epochs = next(n for n, step in enumerate(MIGRATIONS) if "driver_load" in step)
        for number, script in enumerate(MIGRATIONS[:epochs], 1):
            db.executescript(f"{script}; PRAGMA user_version = {number};")
        db.execute(
            "INSERT INTO ledger_gpus VALUES ('GPU-0', 0, ?, 1000000, 100.0, '[]', 7000, 0, 7000)",
            (START,),
        )
    agent = Agent(path)
    agent.wall += HOUR
    agent.joules = 6000.0
    assert total(agent.read(held())) == 7.0 + 5000.0


def test_an_end_that_is_planned_is_not_one_that_has_been(tmp_path: Path) -> None:
    """Only what the clock has passed is over; the next agent knows how far that was."""
    agent = Agent(tmp_path / "state.db")
    planned = held(by("1", since=START, until=START + 100))
    agent.tick(planned)
    assert energy(agent.tick(planned), "1") == 100.0
    agent.tick(held(), wall=HOUR)
    agent.away(1.0)
    agent.tick(held(), wall=-HOUR)
    state = agent.tick(held(by("2", since=START + 1800)))
    assert energy(state, "2") == 100.0


@pytest.mark.parametrize("seconds", [30.0, 5.0])
def test_a_short_hole_over_a_boot_is_filled_from_power(seconds: float) -> None:
    """As one over any other reset."""
    before = Mark(START, 9_000_000, 100.0, Epoch("a", "1"))
    now = Mark(START + seconds, 9_900_000, 200.0, Epoch("b", "1"))
    found = drawn(before, now, seconds, LIMIT)
    assert (found.millijoules, found.correction) == (round(150 * seconds * 1000), "reset")


def test_clocks_that_differ_a_little_change_nothing() -> None:
    """The workload manager's and this node's are a moment apart."""
    agent = Agent()
    agent.tick(held())
    allocation: Any = held(by("1", since=agent.wall + 1.5))
    state = agent.tick(allocation)
    assert energy(state, "1") in (None, 0.0)
    state = agent.tick(allocation)
    assert energy(state, "1") == 50.0
