"""A node at a glance, as people see it."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from gpumon.clock import SYSTEM
from gpumon.errors import UsageError
from gpumon.model import GpuReading, GpuState, Job, JobReading, LedgerState, Snapshot
from gpumon.sources import open_source
from gpumon.thresholds import shipped
from gpumon.views import status
from gpumon.views.orders import GPU_ORDERS
from gpumon.views.select import only
from tests.support.clock import FakeClock


@pytest.fixture
def snapshot() -> Snapshot:
    """Four simulated H100s at work, of which the third is lost."""
    whole = open_source("sim:4xH100,workload=training", FakeClock()).read()
    now = SYSTEM.monotonic()
    first, second, third, fourth = (gpu.changed(read_at=now) for gpu in whole.gpus)
    lost = GpuReading(
        identity=third.identity,
        state=GpuState.LOST,
        reason="it fell off",
        since={"lost": whole.time - 180},
    )
    return dataclasses.replace(
        whole,
        node="n1",
        gpus=(first, second, lost, fourth),
        gpus_expected=4,
        errors=("gpu 2 is lost: it fell off",),
    )


def changed(snapshot: Snapshot, index: int, **changes: object) -> Snapshot:
    """Return a snapshot with other readings of one GPU."""
    gpus = [gpu.changed(**changes) if gpu.identity.index == index else gpu for gpu in snapshot.gpus]
    return dataclasses.replace(snapshot, gpus=tuple(gpus))


def shown(snapshot: Snapshot, width: int = 200, sort: str = "worst") -> list[str]:
    """Return the lines of a terminal of a width."""
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    status.show(console, snapshot, shipped(), sort=sort)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def order(lines: list[str]) -> list[int]:
    """Return the indexes of the table's rows."""
    start = next(n for n, line in enumerate(lines) if line.startswith("GPU ") and "power" in line)
    return [int(line.split()[0]) for line in lines[start + 1 :] if line.split()[0].isdecimal()]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_nothing_is_cut_off_on_a_narrow_terminal(snapshot: Snapshot, width: int) -> None:
    """Columns that can be done without go; the others stay whole."""
    lines = shown(snapshot, width)
    assert not any("…" in line for line in lines)
    assert all(len(line) <= width for line in lines)
    header = next(line for line in lines if "state" in line)
    assert {"GPU", "state", "power", "margin", "util", "memory"} <= set(header.split())
    assert ("energy" in header) == (width == 200)


def test_the_first_lines_say_whether_anything_is_wrong(snapshot: Snapshot) -> None:
    """Where it is simulated, how many are fine, and what is wrong in words with how long."""
    lines = shown(snapshot, 120)
    assert lines[0].startswith("SIMULATED")
    assert lines[1].startswith("n1: 3 of 4 GPUs fine, 1 failed")
    assert lines[2] == "FAIL  GPU 2   lost for 3 min: it fell off"
    assert lines[-1].startswith("What to do: gpumon check.")
    assert sum("it fell off" in line for line in lines) == 1  # and not again as an error


def test_where_all_is_well_it_says_so_and_nothing_else(snapshot: Snapshot) -> None:
    """One line, and the table."""
    well = dataclasses.replace(snapshot, gpus=snapshot.gpus[:2], gpus_expected=2, errors=())
    lines = shown(well)
    assert lines[1].startswith("n1: 2 GPUs, all fine")
    assert len(lines) == 2 + 1 + 2


def test_a_missing_gpu_is_counted(snapshot: Snapshot) -> None:
    """As many as there should be, against those that are there."""
    lines = shown(dataclasses.replace(snapshot, gpus_expected=8))
    assert "3 of 8 GPUs fine, 1 failed, 4 missing" in lines[1]
    assert any("4 of 8 GPUs are there" in line for line in lines)


def test_a_limit_in_force_is_said_with_its_watts_and_its_time(snapshot: Snapshot) -> None:
    """As an operator would say it."""
    hot = changed(
        snapshot,
        3,
        throttle_reasons=frozenset({"sw_thermal"}),
        power_watts=350.0,
        power_limit_watts=700.0,
        since={"sw_thermal": snapshot.time - 720},
    )
    lines = shown(hot)
    assert "WARN  GPU 3   throttled at 350 of 700 W by heat for 12 min" in lines
    assert order(lines)[:2] == [2, 3]  # what failed, what is a warning, and then the others


def test_an_error_of_the_source_that_no_verdict_tells_is_shown(snapshot: Snapshot) -> None:
    """Nothing that went wrong is left out."""
    lines = shown(dataclasses.replace(snapshot, errors=(*snapshot.errors, "the BMC is silent")))
    assert "! the BMC is silent" in lines


def test_jobs_users_and_the_last_xid_have_their_columns(snapshot: Snapshot) -> None:
    """Whose a GPU is, and what happened to it last; without any, there is no such column."""
    jobs = (JobReading(job=Job(job_id="4711", user="ada", manager="slurm")),)
    held = changed(
        dataclasses.replace(snapshot, ledger=LedgerState(jobs=jobs)),
        1,
        jobs=("4711",),
        xid_last_timestamp_seconds={"13": snapshot.time - 7300, "94": snapshot.time - 7200},
    )
    lines = shown(held)
    row = next(line for line in lines if line.split()[0] == "1")
    assert all(words in row for words in ("4711", "ada", "94, 2 h ago"))
    waits = {"xid_unresolved": {"79": 1}, "xid_last_timestamp_seconds": {"79": 0.0, "13": 9e9}}
    assert "d ago, no reset since" in "\n".join(shown(changed(held, 1, **waits)))
    bare = "\n".join(shown(changed(snapshot, 1, held_by=())))
    assert "last Xid" not in bare
    assert "job" not in bare


@pytest.mark.parametrize("sort", GPU_ORDERS)
def test_rows_are_in_the_order_asked_for(snapshot: Snapshot, sort: str) -> None:
    """The worst, the index, or a reading; what is not known comes last, but for its trouble."""
    seen = changed(snapshot, 0, power_watts=100.0, temperature_margin_celsius=1.0)
    seen = changed(seen, 1, utilization_ratio=0.1, sm_active_ratio=0.1, memory_used_bytes=1)
    seen = changed(seen, 1, energy_joules=0.0, power_watts=650.0)
    seen = changed(seen, 3, energy_joules=9e9, power_watts=690.0, temperature_margin_celsius=20.0)
    seen = changed(seen, 0, energy_joules=5.0)
    found = order(shown(seen, sort=sort))
    expected = {
        "worst": [2, 0, 1, 3],
        "gpu": [0, 1, 2, 3],
        "power": [3, 1, 0, 2],
        "margin": [
            0,
            *sorted((1, 3), key=lambda n: seen.gpus[n].temperature_margin_celsius or 0),
            2,
        ],
    }
    if sort in expected:
        assert found == expected[sort]
    elif sort == "energy":
        assert found == [3, 0, 1, 2]
    else:
        assert found[-2:] == [1, 2]


def test_gpus_can_be_named(snapshot: Snapshot) -> None:
    """By index or UUID; the others are then not missing. One that is not there is an error."""
    uuid = snapshot.gpus[3].identity.uuid
    chosen = only(snapshot, ["0", uuid])
    assert [gpu.identity.index for gpu in chosen.gpus] == [0, 3]
    assert shown(chosen)[1].startswith("n1: 2 GPUs, all fine")
    with pytest.raises(UsageError, match="no GPU 9 here"):
        only(snapshot, ["9"])


def test_much_that_is_wrong_leaves_room_for_the_gpus(snapshot: Snapshot) -> None:
    """On a terminal a dozen lines of it; off one all."""
    many = dataclasses.replace(
        snapshot,
        gpus=tuple(
            gpu.changed(
                identity=dataclasses.replace(gpu.identity, index=n, uuid=f"GPU-{n}"),
                recovery_action="gpu_reset",
            )
            for n, gpu in enumerate([snapshot.gpus[0]] * 20)
        ),
    )
    lines = shown(many)
    assert sum(line.startswith("FAIL") for line in lines) == status.MOST_LINES
    assert "and 8 more: gpumon check" in lines
    console = Console(width=1000, file=io.StringIO())
    status.show(console, many, shipped())
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count("FAIL") == 20
