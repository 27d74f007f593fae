"""``gpumon report``: out of a state file that an agent's ledger wrote."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import socket
import sqlite3  # the tests look at the tables
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from gpumon.cli import run
from gpumon.documents.snapshot import to_document
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
from gpumon.site.factors import parse_factor
from gpumon.sources import open_source
from gpumon.statedb.file import MIGRATIONS, StateFile
from gpumon.statedb.ledger import LedgerFile
from gpumon.thresholds import shipped
from gpumon.times import format_time
from tests.support.clock import FakeClock

ACTIVE_RATIO = shipped().number("activity.idle_ratio")

HOUR = 3600.0
NOW = (time.time() // HOUR) * HOUR
BEGIN = NOW - 6 * HOUR

ALICE = Job(job_id="1", user="alice", account="physics", partition="gpu", name="a", manager="slurm")
BOB = Job(job_id="2", user="bob", account="physics", partition="gpu", name="b", manager="slurm")


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Five hours of two GPUs at 360 W: alice has one, active; bob one for three hours, idle."""
    state = StateFile(tmp_path / "state.db")
    ledger = Ledger(Books(), LedgerFile(state), active_ratio=ACTIVE_RATIO)
    for tick in range(5 * 360 + 1):
        now = BEGIN + tick * 10
        gpus = tuple(
            GpuReading(
                identity=GpuIdentity(index, f"GPU-{index}"),
                state=GpuState.OK,
                time=now,
                energy_joules=3600.0 * tick,
                power_watts=360.0,
                utilization_ratio=1.0 - index,
            )
            for index in range(2)
        )
        holdings = (
            Holding(job_id="1", uuid="GPU-0"),
            Holding(job_id="2", uuid="GPU-1", since=BEGIN, until=BEGIN + 3 * HOUR),
        )
        allocation = Allocation(jobs={"1": ALICE, "2": BOB}, holdings=holdings)
        ledger.update(Snapshot(time=now, source=SourceInfo("nvml"), gpus=gpus), allocation, now)
    state.close(patience=10)
    return tmp_path


def report(state_dir: Path, *args: str, code: int = 0) -> str:
    """Return what gpumon report prints."""
    argv = ["report", "--state-dir", str(state_dir), "--until", format_time(NOW), *args]
    return call(argv, code)


def call(argv: list[str], code: int) -> str:
    """Run a command in this process."""
    out, wrong = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(wrong):
        assert run(argv) == code, wrong.getvalue()
    return out.getvalue() if code == 0 else wrong.getvalue()


def lines(text: str) -> dict[str, dict[str, float]]:
    """Return the JSON report's lines by their key."""
    return {line["key"]: line for line in json.loads(text)["lines"]}


def test_who_used_what_by_user(state_dir: Path) -> None:
    """Joules, held and active time, mean power, waste; what nobody held is said."""
    found = lines(report(state_dir, "--since", "1d", "--by", "user", "-o", "json"))
    assert found["alice"]["energy_joules"] == 5 * HOUR * 360
    assert found["alice"]["active_seconds"] == found["alice"]["held_seconds"] == 5 * HOUR
    assert found["alice"]["mean_power_watts"] == 360.0
    assert found["alice"]["waste_joules"] == 0
    assert found["bob"]["energy_joules"] == found["bob"]["waste_joules"] == 3 * HOUR * 360
    assert found["bob"]["active_seconds"] == 0
    assert found["(unallocated)"]["energy_joules"] == 2 * HOUR * 360


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("job", {"1", "2", "(unallocated)"}),
        ("account", {"physics", "(unallocated)"}),
        ("partition", {"gpu", "(unallocated)"}),
        ("gpu", {"0 GPU-0", "1 GPU-1"}),
    ],
)
def test_by_what_it_can_be(state_dir: Path, by: str, keys: set[str]) -> None:
    """Each adds up to the same."""
    text = report(state_dir, "--since", "1d", "--by", by, "-o", "json")
    assert set(lines(text)) == keys
    assert json.loads(text)["total"]["energy_joules"] == 10 * HOUR * 360


def test_prices_and_carbon_that_change_by_the_hour(state_dir: Path) -> None:
    """The sum by hour, as by hand: 0.36 kWh an hour at 0.10 twice and at 0.50 three times."""
    prices = state_dir / "prices.csv"
    prices.write_text(
        f"time,price\n{format_time(BEGIN)},0.10\n{format_time(BEGIN + 2 * HOUR)},0.50\n"
    )
    carbon = state_dir / "carbon.csv"
    carbon.write_text(f"time,g\n{format_time(BEGIN)},100\n{format_time(BEGIN + 4 * HOUR)},300\n")
    text = report(
        state_dir,
        *("--since", "1d", "--by", "job", "-o", "json", "--currency", "EUR"),
        *("--price", str(prices), "--carbon", str(carbon)),
    )
    alice = lines(text)["1"]
    assert alice["cost"] == pytest.approx(0.36 * (2 * 0.10 + 3 * 0.50), rel=1e-12)
    assert alice["carbon_grams"] == pytest.approx(0.36 * (4 * 100 + 1 * 300), rel=1e-12)
    assert json.loads(text)["price_source"] == str(prices)


def test_hours_before_the_first_price_are_said(state_dir: Path) -> None:
    """They are in the energy and not in the cost."""
    prices = state_dir / "prices.csv"
    prices.write_text(f"time,price\n{format_time(BEGIN + 4 * HOUR)},1\n")
    text = report(state_dir, "--since", "1d", "-o", "json", "--price", str(prices))
    document = json.loads(text)
    assert document["unpriced_joules"] == 8 * HOUR * 360
    assert document["total"]["cost"] == pytest.approx(0.72)


def test_a_job_has_a_card(state_dir: Path) -> None:
    """Its GPUs, and nobody else's."""
    text = report(state_dir, "job", "2", "--since", "1d", "-o", "json")
    assert set(lines(text)) == {"1 GPU-1"}
    assert "--since" in report(state_dir, "job", "99", code=3)


def test_the_table_says_boundary_error_and_what_is_missing(state_dir: Path) -> None:
    """Six of seven hours times two GPUs are known, one is not."""
    text = report(state_dir, "--since", format_time(BEGIN - HOUR), "--by", "user")
    assert "alice" in text
    assert "1.800" in text
    assert "without CPUs" in text
    assert "within 5%" in text
    assert "No data for 28.6% of the hours" in text


def test_csv_has_a_line_for_each(state_dir: Path) -> None:
    """With a header, for a spreadsheet."""
    rows = list(csv.DictReader(io.StringIO(report(state_dir, "--since", "1d", "-o", "csv"))))
    assert {row["key"] for row in rows} == {"1", "2", "(unallocated)"}


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--since", "yesterday"), 2, "24h"),
        (("--since", "2030-01-01T00:00Z"), 2, "--since must be before --until"),
        (("--price", "free"), 2, "neither a number nor a file"),
        (("--price", "nan"), 2, "number"),
        (("task", "1"), 2, "[job ID]"),
        (("--source", "sim:1xH100"), 3, "gpumon agent writes it"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    state_dir: Path, args: tuple[str, ...], code: int, says: str
) -> None:
    """With the next step."""
    said = report(state_dir, *args, code=code)
    assert says in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "line", ["2026-01-01T00:00:00,1", "2026-01-01T00:30:00Z,1", "x,1", "2026-01-01T00:00:00Z,x"]
)
def test_a_file_of_prices_names_its_wrong_line(tmp_path: Path, line: str) -> None:
    """A time without a zone, no full hour, no number."""
    from gpumon.errors import UsageError

    path = tmp_path / "prices.csv"
    path.write_text(f"time,price\n2026-01-01T00:00:00Z,1\n{line}\n")
    with pytest.raises(UsageError, match="line 3"):
        parse_factor(str(path), "--price")


def test_its_help_has_an_example() -> None:
    """Like every command's."""
    from gpumon.cli import cli

    assert "--by user" in CliRunner().invoke(cli, ["report", "--help"]).output


def test_a_site_says_prices_and_racks(state_dir: Path, tmp_path: Path) -> None:
    """What no option says; a price that is given goes first."""
    site = tmp_path / "site.toml"
    site.write_text(
        f'[[nodes]]\nnames = "{socket.gethostname()}"\nrack = "r7"\n'
        '[price]\ncurrency = "EUR"\nvalue = 0.5\n[carbon]\ncountry = "SE"\n'
    )
    text = report(state_dir, "--since", "1d", "--by", "rack", "--site", str(site), "-o", "json")
    document = json.loads(text)
    (line,) = document["lines"]
    assert line["key"] == "r7"
    kilowatt_hours = 10 * 360 / 1000
    assert line["cost"] == pytest.approx(0.5 * kilowatt_hours)
    assert line["carbon_grams"] == pytest.approx(41 * kilowatt_hours)
    assert document["currency"] == "EUR"
    assert "Ember" in document["carbon_source"]
    args = ("--site", str(site), "--price", "1", "-o", "json")
    cheaper = json.loads(report(state_dir, "--since", "1d", *args))
    assert cheaper["total"]["cost"] == pytest.approx(kilowatt_hours)


def test_the_highest_quarter_of_an_hour_is_told(state_dir: Path) -> None:
    """Of both GPUs together, whosever the joules are."""
    demand = json.loads(report(state_dir, "--since", "1d", "-o", "json"))["demand"]
    assert demand["gpu"]["power_watts"] == pytest.approx(720)
    assert set(demand) == {"gpu"}


@pytest.mark.parametrize("command", ["report", "events"])
def test_a_file_of_an_older_agent_is_said(tmp_path: Path, command: str) -> None:
    """The command never changes the file: only an agent brings it up to date."""
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.executescript(MIGRATIONS[0])
    said = call([command, "--state-dir", str(tmp_path)], 3)
    assert "is of an older agent: restart gpumon agent" in said


def test_a_report_says_what_counted_as_idle(state_dir: Path) -> None:
    """Waste is money: with the line it was told by, and since when if that was changed."""
    document = json.loads(report(state_dir, "--since", "1d", "-o", "json"))
    assert document["active_lines"] == [{"since": format_time(BEGIN), "ratio": 0.05}]
    assert "waste is held and idle (activity below 5 %)." in report(state_dir, "--since", "1d")
    with contextlib.closing(sqlite3.connect(state_dir / "state.db")) as db, db:
        db.execute("INSERT INTO active_lines (time, ratio) VALUES (?, 0.1)", (BEGIN + HOUR,))
    told = " ".join(report(state_dir, "--since", "1d").split())
    changed = f"(activity below 5 %, from {format_time(BEGIN + HOUR)[:16]}Z on below 10 %)"
    assert f"waste is held and idle {changed}." in told


def test_what_is_idle_in_a_recording_is_for_its_reader_to_say(tmp_path: Path) -> None:
    """A recording has no agent that has decided it."""
    file, own = tmp_path / "run.ndjson", tmp_path / "own.toml"
    own.write_text("[activity]\nidle_ratio = 0.99\n")
    clock = FakeClock()
    source = open_source("sim:1xH100,workload=training", clock)
    with file.open("w") as written:
        for _ in range(5):
            clock.pass_(1)
            written.write(json.dumps(to_document(source.read())) + "\n")
    argv = ["report", f"replay:{file}", "-o", "json"]
    usual = json.loads(call(argv, 0))
    strict = json.loads(call([*argv, "--thresholds", str(own)], 0))
    assert usual["total"]["active_seconds"] == usual["total"]["held_seconds"] > 0
    assert strict["total"]["active_seconds"] == 0
    assert [line["ratio"] for line in strict["active_lines"]] == [0.99]
