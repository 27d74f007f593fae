"""The processes on a node's GPUs, as people and programs see them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest
from click.testing import CliRunner

from gpumon.cli import cli
from gpumon.model import GpuProcess, GpuState, Snapshot
from gpumon.sources import open_source
from gpumon.views import ps
from tests.support.clock import FakeClock

GIB = 2**30


@pytest.fixture
def snapshot() -> Snapshot:
    """Three GPUs: two of job 7, on one of which nothing runs, and one with two users on it."""
    whole = open_source("sim:3xH100", FakeClock()).read()
    first = GpuProcess(10, "compute", 4 * GIB, 0.2, "alice", "python3")
    shared = (
        GpuProcess(30, "compute", 9 * GIB, 0.7, "bob", "train"),
        GpuProcess(31, "graphics", None, None, gpu_instance=1),
    )
    held = [((first,), ("7",)), ((), ("7",)), (shared, ())]
    gpus = tuple(
        gpu.changed(held_by=processes, jobs=jobs)
        for gpu, (processes, jobs) in zip(whole.gpus, held, strict=True)
    )
    return dataclasses.replace(whole, gpus=gpus)


def pids(snapshot: Snapshot, user: str = "", sort: str = "gpu") -> list[int | None]:
    """Return the processes in an order."""
    return [row.process.pid if row.process else None for row in ps.held(snapshot, user, sort)]


def test_a_gpu_that_is_held_and_runs_nothing_is_a_row(snapshot: Snapshot) -> None:
    """It is what somebody looks for who waits for a GPU."""
    assert pids(snapshot) == [10, None, 30, 31]
    row = ps.held(snapshot)[1]
    assert ps.cells(row, 1) == ("1", "-", "-", "-", "7", "-", "-", "(holds it, runs nothing)")
    assert ps.cells(ps.held(snapshot)[3], 1)[:4] == ("2/1", "31", "G", "-")


def test_the_most_comes_first_and_the_unknown_last(snapshot: Snapshot) -> None:
    """By memory, share of the SMs, user or process."""
    assert pids(snapshot, sort="memory") == [30, 10, 31, None]
    assert pids(snapshot, sort="sm") == [30, 10, 31, None]
    assert pids(snapshot, sort="user") == [31, 10, 30, None]
    assert pids(snapshot, sort="pid") == [10, 30, 31, None]


def test_one_users_processes_are_his_only(snapshot: Snapshot) -> None:
    """A row without a process is nobody's."""
    assert pids(snapshot, user="bob") == [30]
    assert pids(snapshot, user="carol") == []
    assert ps.summary(ps.held(snapshot, "carol")) == "no process on these GPUs"
    assert ps.summary(ps.held(snapshot)) == "3 processes on 2 GPUs, 13.0 GiB"


def test_what_a_silent_gpu_runs_is_not_known(
    snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that holds it may run there: it is said, and no process is not claimed."""
    gpus = [
        gpu
        if gpu.identity.index != 1
        else gpu.changed(state=GpuState.HUNG, reason="it waits", held_by=())
        for gpu in snapshot.gpus
    ]
    hung = dataclasses.replace(snapshot, gpus=tuple(gpus))
    rows = ps.held(hung)
    assert ps.cells(rows[1], 1)[-1] == "(not known)"
    said = "GPU 1: its processes are not known (hung: it waits)"
    ps.write(hung, ps.held(hung, "carol"), "table", header=True)
    assert capsys.readouterr().out.splitlines()[1:] == [f"! {said}", "no process on the others"]
    ps.write(hung, rows, "json", header=True)
    assert json.loads(capsys.readouterr().out)["errors"] == [said]


def test_programs_get_each_process_with_its_gpu_and_jobs(
    snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one document, as lines and as rows, with the same values."""
    rows = ps.held(snapshot)
    written = {}
    for form in ("json", "ndjson", "csv"):
        ps.write(snapshot, rows, form, header=True)
        written[form] = capsys.readouterr().out
    document = json.loads(written["json"])
    assert document["simulated"] is True
    first = document["processes"][0]
    assert (first["gpu"], first["pid"], first["jobs"]) == (0, 10, ["7"])
    assert first["memory_bytes"] == 4 * GIB
    lines = [json.loads(line) for line in written["ndjson"].splitlines()]
    assert [line["pid"] for line in lines] == [10, None, 30, 31]
    table = list(csv.DictReader(io.StringIO(written["csv"])))
    assert [row["pid"] for row in table] == ["10", "", "30", "31"]
    assert table[0]["jobs"] == "7"


def test_the_table_says_what_is_held(
    snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    """Simulated ones first of all as such; a driver that is not there is why there is nothing."""
    ps.write(snapshot, ps.held(snapshot), "table", header=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("SIMULATED")
    assert lines[1] == "3 processes on 2 GPUs, 13.0 GiB"
    assert lines[2].split() == list(ps.TITLES)
    assert lines[5].split() == ["2", "30", "C", "bob", "-", "9.0", "GiB", "70", "%", "train"]
    down = dataclasses.replace(snapshot, up=False, gpus=(), errors=("no driver",))
    ps.write(down, ps.held(down), "table", header=True)
    assert capsys.readouterr().out.splitlines()[1:] == ["! no driver"]


def test_the_command_lists_the_gpus_that_are_named() -> None:
    """And refuses, in a line, one that is not there."""
    done = CliRunner().invoke(cli, ["ps", "sim:3xH100", "--gpu", "1", "-o", "csv"])
    assert done.exit_code == 0, done.output
    assert [line.split(",")[4] for line in done.output.splitlines()] == ["gpu", "1"]
