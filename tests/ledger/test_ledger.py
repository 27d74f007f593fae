"""The ledger: every joule has an owner, on every tick, whatever happens."""

from __future__ import annotations

import dataclasses
import json
import sqlite3  # the tests look at the tables
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpumon.ledger import Ledger
from gpumon.ledger.ledger import SHOWN_SECONDS, Books
from gpumon.model import (
    Allocation,
    EnergyInfo,
    GpuIdentity,
    GpuProcess,
    GpuReading,
    GpuState,
    Holding,
    Job,
    LedgerState,
    MigIdentity,
    MigReading,
    Snapshot,
    SourceInfo,
)
from gpumon.statedb import file as statefile
from gpumon.statedb.file import StateFile
from gpumon.statedb.hours import load_hours
from gpumon.statedb.ledger import LedgerFile, load_books
from gpumon.thresholds import shipped
from tests.support.servers import wait_for

ACTIVE_RATIO = shipped().number("activity.idle_ratio")

START = 1_790_000_000.0
LIMIT = 700.0


def reading(
    index: int = 0,
    *,
    time: float,
    joules: float | None,
    watts: float = 100.0,
    activity: float = 1.0,
    **more: Any,
) -> GpuReading:
    """Return a GPU's reading at a time."""
    return GpuReading(
        identity=GpuIdentity(index, f"GPU-{index}"),
        state=GpuState.OK,
        time=time,
        read_at=time,
        energy_joules=joules,
        power_watts=watts,
        power_limit_watts=LIMIT,
        utilization_ratio=activity,
        **more,
    )


def snapshot(*gpus: GpuReading) -> Snapshot:
    """Return the snapshot of these."""
    return Snapshot(time=gpus[0].time, source=SourceInfo("nvml"), gpus=gpus)


def held(*holdings: Holding) -> Allocation:
    """Return the allocation of these holdings, with a job for each."""
    jobs = {h.job_id: Job(job_id=h.job_id, user="alice", manager="slurm") for h in holdings}
    return Allocation(jobs=jobs, holdings=holdings)


def by(job_id: str, index: int = 0, **more: Any) -> Holding:
    """Return a job's hold on a GPU."""
    return Holding(job_id=job_id, uuid=f"GPU-{index}", **more)


@dataclasses.dataclass
class Bench:
    """A ledger of one GPU that is told a tick at a time."""

    ledger: Ledger = dataclasses.field(
        default_factory=lambda: Ledger(
            Books(), LedgerFile(StateFile(None)), active_ratio=ACTIVE_RATIO
        )
    )
    time: float = START
    joules: float = 1000.0

    def tick(
        self,
        allocation: Allocation | None,
        *,
        seconds: float = 1.0,
        joules: float = 100.0,
        **more: Any,
    ) -> LedgerState:
        """Let time pass and the counter go on."""
        self.time += seconds
        self.joules += joules
        gpu = reading(time=self.time, joules=self.joules, **more)
        self.ledger.update(snapshot(gpu), allocation, self.time)
        return self.ledger.state()


def millijoules(joules: float | None) -> int:
    """Return what a series says as the whole number that it is."""
    assert joules is not None
    assert round(joules * 1000) / 1000 == joules
    return round(joules * 1000)


def check_closes(state: LedgerState) -> None:
    """Assert design section 5's equation on what a scrape would say."""
    for account in state.gpus:
        jobs = [s.energy_joules for s in state.shares if s.uuid == account.uuid]
        owned = sum(millijoules(joules) for joules in jobs)
        rest = millijoules(account.ended_jobs_energy_joules)
        rest += millijoules(account.unallocated_energy_joules)
        assert owned + rest == millijoules(account.ledger_energy_joules)


def energy(state: LedgerState, job_id: str) -> float | None:
    """Return a job's joules."""
    return next((s.energy_joules for s in state.shares if s.job_id == job_id), None)


def test_a_job_pays_for_a_gpu_it_holds_and_leaves_idle() -> None:
    """Allocation counts, not activity; its time is idle."""
    bench = Bench()
    bench.tick(held(by("1")))
    state = bench.tick(held(by("1")), activity=0.01)
    assert energy(state, "1") == 100.0
    assert state.jobs[0].gpu_seconds == {"active": 0.0, "idle": 1.0}
    assert state.gpus[0].unallocated_energy_joules == 0.0


def test_what_nobody_holds_is_unallocated() -> None:
    """It is the site's, and said."""
    bench = Bench()
    bench.tick(held())
    state = bench.tick(held())
    assert state.gpus[0].unallocated_energy_joules == 100.0
    assert state.gpus[0].ledger_energy_joules == 100.0


def test_a_job_that_begins_or_ends_within_a_tick_pays_for_its_piece() -> None:
    """To the moment that the prolog and the epilog wrote."""
    bench = Bench()
    bench.tick(held())
    state = bench.tick(held(by("1", since=bench.time + 0.75)))
    assert energy(state, "1") == 25.0
    until = bench.time + 0.25
    state = bench.tick(held(by("1", since=START, until=until)))
    assert energy(state, "1") == 50.0
    assert state.shares[0].share is None
    assert state.gpus[0].unallocated_energy_joules == 150.0


def test_jobs_that_share_a_gpu_pay_by_their_sm_time() -> None:
    """Equally where none has computed."""
    bench = Bench()
    both = held(by("1"), by("2"))
    bench.tick(both)
    state = bench.tick(both)
    assert (energy(state, "1"), energy(state, "2")) == (50.0, 50.0)
    both = dataclasses.replace(both, pids={11: "1", 22: "2"})
    processes = (
        GpuProcess(pid=11, kind="compute", sm_ratio=0.6),
        GpuProcess(pid=22, kind="compute", sm_ratio=0.2),
    )
    state = bench.tick(both, held_by=processes)
    assert (energy(state, "1"), energy(state, "2")) == (125.0, 75.0)
    assert [s.share for s in state.shares] == [pytest.approx(0.75), pytest.approx(0.25)]


def test_mig_instances_are_paid_by_who_holds_them() -> None:
    """By SMs times activity; an instance that nobody holds is nobody's."""

    def instance(number: int, active: float) -> MigReading:
        identity = MigIdentity(
            mig_uuid=f"MIG-{number}", profile="1g.10gb", gpu_instance=number, compute_instance=0
        )
        return MigReading(
            gpu=0, uuid="GPU-0", identity=identity, multiprocessors=16, sm_active_ratio=active
        )

    mig = (instance(1, 0.5), instance(2, 0.3), instance(3, 0.2))
    holders = held(by("1", mig_uuids=("MIG-1",)), by("2", mig_uuids=("MIG-2",)))
    bench = Bench()
    bench.tick(holders, mig=mig)
    state = bench.tick(holders, mig=mig)
    assert (energy(state, "1"), energy(state, "2")) == (50.0, 30.0)
    assert state.gpus[0].unallocated_energy_joules == 20.0


def test_a_gap_goes_to_who_held_the_gpu_before_and_after() -> None:
    """An hour without an agent: the device counted on."""
    bench = Bench()
    bench.tick(held(by("1")))
    state = bench.tick(held(by("1")), seconds=3600, joules=360_000)
    assert energy(state, "1") == 360_000.0
    assert state.jobs[0].gpu_seconds == {"active": 3600.0, "idle": 0.0}


def test_a_gap_with_another_holder_after_it_is_nobodys() -> None:
    """Who had it in between is not known; it is counted as a gap."""
    bench = Bench()
    bench.tick(held(by("1")))
    state = bench.tick(held(by("2")), seconds=3600, joules=360_000)
    assert energy(state, "1") == 0.0
    assert energy(state, "2") == 0.0
    assert state.gpus[0].unallocated_energy_joules == 360_000.0
    assert bench.ledger.corrections["gap"] == 1


def test_a_counter_that_was_reset_is_filled_from_power() -> None:
    """And no counter of ours falls."""
    bench = Bench()
    bench.tick(held(by("1")))
    state = bench.tick(held(by("1")), joules=-990.0, watts=120.0)
    assert energy(state, "1") == 110.0
    assert bench.ledger.corrections["reset"] == 1


def test_a_counter_that_leaps_beyond_the_limit_is_rejected() -> None:
    """More than 1.3 times the limit is no energy; power tells the second instead."""
    bench = Bench()
    bench.tick(held(by("1")))
    assert energy(bench.tick(held(by("1")), joules=LIMIT * 1.3), "1") == LIMIT * 1.3
    state = bench.tick(held(by("1")), joules=LIMIT * 1.3 + 1)
    assert energy(state, "1") == LIMIT * 1.3 + 100.0
    assert bench.ledger.corrections["rejected"] == 1


def test_a_gpu_without_a_counter_has_the_integral_of_its_power() -> None:
    """Trapezoids of its readings."""
    ledger = Ledger(Books(), LedgerFile(StateFile(None)), active_ratio=ACTIVE_RATIO)
    for second, watts in enumerate((100.0, 200.0, 300.0)):
        gpu = reading(time=START + second, joules=None, watts=watts)
        ledger.update(snapshot(gpu), held(by("1")), START + second)
    assert energy(ledger.state(), "1") == 400.0


def test_a_module_is_counted_once() -> None:
    """Two GPUs of one GB200 module tell the same joules."""
    ledger = Ledger(Books(), LedgerFile(StateFile(None)), active_ratio=ACTIVE_RATIO)
    for second in range(2):
        gpus = [
            dataclasses.replace(
                reading(index, time=START + second, joules=100.0 * second),
                identity=GpuIdentity(index, f"GPU-{index}", serial="1"),
                energy_info=EnergyInfo("counter", "module"),
            )
            for index in range(2)
        ]
        ledger.update(snapshot(*gpus), held(), START + second)
    assert sum(g.ledger_energy_joules or 0 for g in ledger.state().gpus) == 100.0


def test_a_jobs_series_end_a_quarter_of_an_hour_after_it() -> None:
    """Its joules are then those of ended jobs, and the books still close."""
    bench = Bench()
    bench.tick(held(by("1")))
    bench.tick(held(by("1")))
    state = bench.tick(held())
    assert state.shares[0].share is None
    state = bench.tick(held(), seconds=SHOWN_SECONDS - 2, joules=0)
    assert energy(state, "1") == 100.0
    state = bench.tick(held(), seconds=3, joules=0)
    assert energy(state, "1") is None
    assert not state.jobs
    assert state.gpus[0].ended_jobs_energy_joules == 100.0
    check_closes(state)


def run_of(job_id: str, began: float, user: str = "alice", cluster: str = "") -> Allocation:
    """Return a job's hold on the GPU, of a run that began at a time."""
    job = Job(job_id=job_id, user=user, manager="slurm", cluster=cluster)
    return Allocation(
        jobs={job_id: job},
        holdings=(by(job_id, since=began),),
        starts={job_id: frozenset({began})},
    )


@pytest.mark.parametrize(
    "second",
    [
        run_of("1", START + 50, "alice"),
        run_of("1", START + 50, "bob"),
        run_of("1", START - 10, "bob", cluster="beta"),
    ],
    ids=["requeued", "number used again", "other cluster"],
)
def test_another_run_of_a_number_has_an_account_of_its_own(
    tmp_path: Path, second: Allocation
) -> None:
    """Within one hour too: neither pays for the other, and the books close."""
    path = tmp_path / "state.db"
    state, ledger = _opened(path)
    bench = Bench(ledger)
    first = run_of("1", START - 10, "alice", cluster="alpha")
    for _ in range(3):
        bench.tick(first)
    bench.tick(second, seconds=60.0)
    shown = bench.tick(second)
    assert energy(shown, "1") == 100.0
    assert shown.gpus[0].ended_jobs_energy_joules == 200.0
    check_closes(shown)
    user = second.jobs["1"].user
    assert [job.job.user for job in shown.jobs] == [user]
    state.close()
    hour = int(START // 3600)
    rows = load_hours(path, hour, hour + 1, "n").rows
    assert sorted((row.job.user if row.job else "", row.joules) for row in rows) == sorted(
        [("", 100.0), ("alice", 200.0), (user, 100.0)]
    )


def test_a_run_goes_on_through_a_restart_and_another_begins_after_one(tmp_path: Path) -> None:
    """Which run it was is in the state file; what the device counted meanwhile is nobody's."""
    path = tmp_path / "state.db"
    state, ledger = _opened(path)
    bench = Bench(ledger)
    for _ in range(3):
        bench.tick(run_of("1", START - 10))
    state.close()
    state, bench.ledger = _opened(path)
    assert energy(bench.tick(run_of("1", START - 10)), "1") == 300.0
    state.close()
    state, bench.ledger = _opened(path)
    after = bench.tick(run_of("1", START + 70, "bob"), seconds=100.0)
    assert energy(after, "1") == 0.0
    assert after.gpus[0].unallocated_energy_joules == 100.0
    assert after.gpus[0].ended_jobs_energy_joules == 300.0
    state.close()


def test_a_job_that_takes_one_gpu_after_another_is_one_run() -> None:
    """Each of its tasks has a beginning of its own, and the first one ends first."""
    bench = Bench()
    held_since = [(START - 10,), (START - 10, START + 1), (START + 1,), ()]
    for since in held_since:
        allocation = held(*(by("1", since=moment) for moment in since))
        starts = {"1": frozenset(since)} if since else {}
        state = bench.tick(dataclasses.replace(allocation, starts=starts))
    assert energy(state, "1") == 200.0


def test_nothing_heard_yet_leaves_the_last_holders_in_force() -> None:
    """A workload manager that is slow to answer takes nobody's GPU away."""
    bench = Bench()
    bench.tick(held(by("1")))
    assert energy(bench.tick(None), "1") == 100.0


def test_a_job_has_its_part_of_what_the_node_draws_beyond_its_gpus() -> None:
    """By the share of the GPUs that it holds, and by how it is known."""
    ledger = Ledger(Books(), LedgerFile(StateFile(None)), active_ratio=ACTIVE_RATIO)
    for second in range(3):
        gpus = [reading(index, time=START + second, joules=100.0 * second) for index in range(4)]
        ledger.update(
            snapshot(*gpus), held(by("1", 0), by("1", 1)), START + second, ("measured", 400.0)
        )
    assert ledger.state().jobs[0].host_energy_joules == {"measured": 400.0}


EVENTS = st.fixed_dictionaries(
    {
        "seconds": st.one_of(
            st.floats(0.1, 5.0), st.sampled_from([30.0, 3600.0, 7200.5, -50.0, 86_400.0])
        ),
        "watts": st.floats(0.0, 1.5 * LIMIT),
        "reset": st.booleans(),
        "restart": st.booleans(),
        "silent": st.booleans(),
        "holders": st.lists(
            st.tuples(st.sampled_from(["1", "2", "3"]), st.integers(0, 1), st.floats(-10, 10)),
            max_size=4,
        ),
        "mig": st.booleans(),
        "unheard": st.booleans(),
        "shares": st.lists(st.floats(0, 1), min_size=3, max_size=3),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, min_size=2, max_size=25))
def test_the_books_close_whatever_happens(tmp_path_factory: Any, events: list[Any]) -> None:
    """Sharing, MIG, resets, restarts, clock jumps: the equation holds, and no counter falls."""
    path = tmp_path_factory.mktemp("ledger") / "state.db"
    state_file, ledger = _opened(path)
    time, joules, told = START, [5000.0, 9000.0], 0.0
    before: dict[str, int] = {}
    for event in events:
        if event["restart"]:
            state_file.close()
            state_file, ledger = _opened(path)
        time += event["seconds"]
        told += abs(event["seconds"])
        gpus = []
        for index in range(2):
            joules[index] += event["watts"] * abs(event["seconds"])
            if event["reset"]:
                joules[index] = 0.5
            gpu = reading(
                index,
                time=time,
                joules=joules[index],
                watts=event["watts"],
                activity=event["shares"][0],
                held_by=tuple(
                    GpuProcess(pid=pid, kind="compute", sm_ratio=share)
                    for pid, share in enumerate(event["shares"])
                ),
                mig=_instances(index, event["shares"]) if event["mig"] else (),
            )
            gpus.append(dataclasses.replace(gpu, read_at=told))
        if event["silent"]:
            gpus[0] = GpuReading(identity=gpus[0].identity, state=GpuState.LOST, reason="lost")
        holdings = [
            by(
                job_id,
                index,
                since=time + offset,
                mig_uuids=(f"MIG-{index}-{job_id}",) if event["mig"] else (),
            )
            for job_id, index, offset in event["holders"]
        ]
        allocation = dataclasses.replace(held(*holdings), pids={0: "1", 1: "2", 2: "3"})
        ledger.update(snapshot(*gpus), None if event["unheard"] else allocation, time)
        state = ledger.state()
        check_closes(state)
        before = _check_grows(state, before)
    state_file.close()
    by_hour = StateFile(path).load(_sum_of_hours, 0)
    assert by_hour == sum(
        a.total for a in StateFile(path).load(load_books, Books()).accounts.values()
    )


def _opened(path: Path) -> tuple[StateFile, Ledger]:
    state = StateFile(path)
    return state, Ledger(
        state.load(load_books, Books()), LedgerFile(state), steady=True, active_ratio=ACTIVE_RATIO
    )


def _instances(index: int, shares: list[float]) -> tuple[MigReading, ...]:
    return tuple(
        MigReading(
            gpu=index,
            uuid=f"GPU-{index}",
            identity=MigIdentity(
                mig_uuid=f"MIG-{index}-{number}",
                profile="1g.10gb",
                gpu_instance=number,
                compute_instance=0,
            ),
            multiprocessors=16,
            sm_active_ratio=share,
        )
        for number, share in enumerate(shares, 1)
    )


def _check_grows(state: LedgerState, before: dict[str, int]) -> dict[str, int]:
    """Assert that no series is lower than before, but where it went and came back."""
    now = {f"job {s.job_id} {s.uuid}": millijoules(s.energy_joules) for s in state.shares}
    for account in state.gpus:
        now[f"ledger {account.uuid}"] = millijoules(account.ledger_energy_joules)
        now[f"ended {account.uuid}"] = millijoules(account.ended_jobs_energy_joules)
        now[f"free {account.uuid}"] = millijoules(account.unallocated_energy_joules)
    for name in now.keys() & before.keys():
        assert now[name] >= before[name], name
    return now


def _sum_of_hours(db: Any) -> int:
    (total,) = db.execute("SELECT coalesce(sum(millijoules), 0) FROM hourly").fetchone()
    quarters = "SELECT coalesce(sum(millijoules), 0) FROM quarters"
    assert db.execute(quarters).fetchone() == (total,)
    return int(total)


def test_hours_are_kept_by_gpu_and_job(tmp_path: Path) -> None:
    """A gap over two full hours is in both; what nobody held says why."""
    state = StateFile(tmp_path / "state.db")
    bench = Bench(
        Ledger(Books(), LedgerFile(state), active_ratio=ACTIVE_RATIO), time=3600.0 * 500_000
    )
    bench.tick(held(by("1")), seconds=0)
    bench.tick(held(by("1")), seconds=7200, joules=7200.0, activity=0.0)
    bench.tick(held(by("2")), seconds=3600, joules=10.0)
    state.close()
    rows = StateFile(tmp_path / "state.db").load(
        lambda db: db.execute("SELECT * FROM hourly ORDER BY hour").fetchall(), []
    )
    assert rows == [
        (500_000, "GPU-0", "1", "", 3_600_000, 3_600_000, 0, 3_600_000),
        (500_001, "GPU-0", "1", "", 3_600_000, 3_600_000, 0, 3_600_000),
        (500_002, "GPU-0", "", "gap", 10_000, 0, 0, 0),
    ]


def test_the_next_agent_goes_on(tmp_path: Path) -> None:
    """Accounts, jobs and holders are there; the device's counter tells of the time between."""
    path = tmp_path / "state.db"
    state, ledger = _opened(path)
    bench = Bench(ledger)
    bench.tick(held(by("1")))
    bench.tick(held(by("1")))
    state.close()
    _, bench.ledger = _opened(path)
    after = bench.tick(held(by("1")), seconds=3600, joules=1000.0)
    assert energy(after, "1") == 1100.0
    assert after.jobs[0].job.user == "alice"


@pytest.mark.parametrize("broken", ["", "not a database", json.dumps({})])
def test_a_corrupt_file_begins_a_new_ledger(tmp_path: Path, broken: str) -> None:
    """It is set aside; the agent goes on."""
    path = tmp_path / "state.db"
    path.write_text(broken * 1000)
    _, ledger = _opened(path)
    bench = Bench(ledger)
    bench.tick(held())
    assert bench.tick(held()).gpus[0].ledger_energy_joules == 100.0


def test_a_full_disk_costs_the_ledger_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says that it is full; what was entered meanwhile is written when there is room."""
    monkeypatch.setattr(statefile, "RETRY_SECONDS", 0.02)
    opened, full = statefile.connect, threading.Event()

    def connect(path: Path, *more: Any) -> sqlite3.Connection:
        db = opened(path, *more)
        if full.is_set():
            db.execute("PRAGMA max_page_count = 1")  # it then takes as many as there are
        return db

    monkeypatch.setattr(statefile, "connect", connect)
    path = tmp_path / "state.db"
    state, ledger = _opened(path)
    full.set()
    bench = Bench(ledger)
    for hour in range(120):  # rows enough to need more pages than there are
        bench.tick(held(by(str(hour))), seconds=3600 if hour else 0, joules=1000.0)
    wait_for(lambda: state._failing, 5, "the disk to be full")
    for _ in range(statefile.MOST_PENDING + 10):  # others have as much to write
        state.save(lambda db: None)
    full.clear()
    state.close(patience=20)
    total = bench.ledger.state().gpus[0].ledger_energy_joules
    assert total == 119_000.0
    _, again = _opened(path)
    later = Bench(again, time=bench.time, joules=bench.joules)
    (account,) = later.tick(held(), joules=0.0).gpus
    assert account.ledger_energy_joules == total
