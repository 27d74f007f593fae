"""``gpumon report replay:FILE``: joules of a recording, also held against an external meter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpumon.report.meter import Reckoned, integral_of, interval_of, reconcile
from gpumon.times import format_time, parse_time
from tests.report.test_report import call
from tests.support.servers import data


def document(target: str, *args: str) -> dict:
    """Return the report as JSON."""
    found: dict = json.loads(call(["report", target, *args, "-o", "json"], 0))
    return found


@pytest.mark.parametrize(
    ("board", "metered", "sensed"),
    [("a100-square", 1155.7, 1146.8), ("3090-square", 2689.9, 2529.8)],
)
def test_an_external_meter_lies_within_what_is_stated(
    board: str, metered: float, sensed: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both energies as known of these recordings; the interval rests on the study's figures."""
    folder = data(f"power-meter/{board}/meter.csv.gz").parent
    log = f"replay:{folder / 'nvidia-smi.csv.gz'},gpus=1,tz=+01:00"
    meter = document(log, "--meter", str(folder / "meter.csv.gz"))["meter"]
    assert meter["meter_energy_joules"] == pytest.approx(metered, rel=0.002)
    assert meter["energy_joules"] == pytest.approx(sensed, rel=0.003)
    low, high = meter["energy_interval_joules"]
    assert low < meter["meter_energy_joules"] < high
    assert meter["agrees"]
    # An interval that holds everything would say nothing.
    assert 0.85 < low / meter["energy_joules"] < high / meter["energy_joules"] < 1.18
    with capsys.disabled():
        print(  # noqa: T201 - the figures of this test
            f"\n{board}: {meter['energy_joules']:.1f} J ({low:.1f} to {high:.1f}), "
            f"meter {meter['meter_energy_joules']:.1f} J"
        )


def test_a_real_training_run_has_its_joules() -> None:
    """Eight H100s, nobody known to hold them; the span is the recording's own."""
    log = data("h100x8-training/ckpt100.csv.gz")
    found = document(f"replay:{log},gpus=8,tz=Z", "--by", "gpu")
    assert found["total"]["energy_joules"] == pytest.approx(1_523_200, rel=0.001)
    assert len(found["lines"]) == 8
    assert parse_time(found["until"]) - parse_time(found["since"]) == pytest.approx(697, abs=1)
    assert found["error_ratio"] == 0.1  # the log names no board: it might be one that samples


def test_a_log_that_names_no_node_is_of_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By GPUMON_NODE, as in every other view; a recording of ours names its own node."""
    monkeypatch.setenv("GPUMON_NODE", "n17")
    log = data("h100x8-training/ckpt100.csv.gz")
    found = document(f"replay:{log},gpus=8,tz=Z", "--by", "node")
    assert [line["key"] for line in found["lines"]] == ["n17"]
    file = tmp_path / "node.jsonl"
    call(["record", "sim:1xH100", "-f", str(file), "--duration", "1", "--interval", "0.5"], 0)
    monkeypatch.setenv("GPUMON_NODE", "n18")
    found = document(f"replay:{file}", "--by", "node")
    assert [line["key"] for line in found["lines"]] == ["n17"]


def test_a_recording_of_ours_knows_whose_it_was(tmp_path: Path) -> None:
    """Users' processes as the simulated node shows them."""
    file = tmp_path / "node.jsonl"
    sim = "sim:2xH100,speed=5,seed=3"
    call(["record", sim, "-f", str(file), "--duration", "2", "--interval", "0.5"], 0)
    found = document(f"replay:{file}", "--by", "user")
    by_user = {line["key"]: line["energy_joules"] for line in found["lines"]}
    assert by_user["sim"] > 0
    assert sum(by_user.values()) == pytest.approx(found["total"]["energy_joules"])
    assert found["demand"] == {}  # less than a quarter of an hour


def test_the_highest_quarter_of_an_hour_is_found(tmp_path: Path) -> None:
    """Of whole quarters by the clock, of all GPUs together."""
    log = tmp_path / "log.csv"
    rows = [
        f"2026/11/24 {10 + s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}.000, 0, {watts} W"
        for s in range(0, 3601, 10)
        for watts in [600 if 1800 <= s < 2700 else 200]
    ]
    log.write_text("\n".join(["timestamp, index, power.draw [W]", *rows, ""]))
    demand = document(f"replay:{log},tz=Z")["demand"]["gpu"]
    assert demand["time"] == "2026-11-24T10:30:00.000Z"
    assert demand["power_watts"] == pytest.approx(600, rel=0.01)


def test_the_interval_is_that_of_a_gain() -> None:
    """A reading is gain times truth: 95 J read may be 100 J at a gain of 0.95."""
    low, high = interval_of(95.0, 0.05)
    assert high == pytest.approx(100.0)
    assert low == pytest.approx(95 / 1.05)
    assert interval_of(95.0, 0.05, 5.0)[1] == pytest.approx(100 / 0.95)


def test_hours_are_held_against_whole_hours_of_a_meter() -> None:
    """The parts of hours at the meter's ends are left out."""
    ours = integral_of([(0.0, 100.0), (36_000.0, 100.0)])
    theirs = integral_of([(1_800.0, 110.0), (9_000.0, 110.0)])
    found = reconcile(
        Reckoned(curve=ours, boundary="node", gain_error=0.05, grain=3600), theirs, "pdu.csv"
    )
    assert (found.since, found.until) == (3600.0, 7200.0)
    assert found.joules == pytest.approx(360_000)
    assert found.meter_joules == pytest.approx(396_000)
    assert not found.agrees


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (None, 3, "check --meter"),
        ("", 2, "name a column"),
        ("time,volts\n", 2, "name a column unix_ms, unix_seconds, time"),
        ("unix_seconds,power_watts\n1,2\n", 2, "fewer than two readings"),
        ("unix_seconds,power_watts\n1,2\n2,nan\n", 2, "line 3"),
        ("unix_seconds,power_watts\n1,2\nx\n", 2, "line 3"),
        ("unix_seconds,energy_kilowatt_hours\n1,2\n5,3\n", 2, "covers another time"),
    ],
)
def test_what_is_wrong_with_a_meter_is_said(
    tmp_path: Path, text: str | None, code: int, says: str
) -> None:
    """In one line, with the next step."""
    log, meter = tmp_path / "log.csv", tmp_path / "meter.csv"
    log.write_text(
        "timestamp, index, power.draw [W]\n2026/11/24 10:00:00.000, 0, 100 W\n"
        "2026/11/24 10:00:10.000, 0, 100 W\n"
    )
    if text is not None:
        meter.write_text(text)
    said = call(["report", f"replay:{log},tz=Z", "--meter", str(meter)], code)
    assert says in said
    assert said.count("\n") == 1


def test_a_meter_that_counts_energy_is_read(tmp_path: Path) -> None:
    """In kWh, as PDUs and utility meters do."""
    log, meter = tmp_path / "log.csv", tmp_path / "meter.csv"
    log.write_text(
        "timestamp, index, power.draw [W]\n2026/11/24 10:00:00.000, 0, 100 W\n"
        "2026/11/24 10:00:36.000, 0, 100 W\n"
    )
    meter.write_text(
        "time,energy_kilowatt_hours\n2026-11-24T09:59:24Z,7.000\n2026-11-24T10:00:36Z,7.002\n"
    )
    found = document(f"replay:{log},tz=Z", "--meter", str(meter), "--meter-error", "0.02")["meter"]
    assert found["energy_joules"] == pytest.approx(3600)
    assert found["meter_energy_joules"] == pytest.approx(3600)
    assert found["meter_energy_interval_joules"] == pytest.approx([3528, 3672])


HEADER = "timestamp, index, power.draw [W], temperature.gpu"
LOST = ", ".join(["[GPU is lost]"] * 2)


def log_of(path: Path, *rows: tuple[float, int, str]) -> str:
    """Write a log of (second, GPU, cells) and return it as a target."""
    lines = [f"2026/11/24 10:{s // 60:02.0f}:{s % 60:06.3f}, {gpu}, {c}" for s, gpu, c in rows]
    path.write_text("\n".join([HEADER, *lines, ""]))
    return f"replay:{path},tz=Z"


def test_a_whole_recording_says_that_it_is_whole(tmp_path: Path) -> None:
    """Its joules are within what the sensors allow."""
    target = log_of(tmp_path / "log.csv", *((s, 0, "100 W, 50") for s in range(11)))
    found = document(target)
    assert found["without_data_ratio"] == 0
    assert found["missing"] == []
    said = call(["report", target], 0)
    assert "GPU joules to within 10%" in said
    assert "There is data for all of the GPUs' time" in said


@pytest.mark.parametrize(
    ("rows", "ratio", "joules"),
    [
        # Ten seconds of one GPU, of which nothing was logged for five: filled, and said.
        ([(s, 0, "100 W, 50") for s in (0, 1, 2, 3, 8, 9, 10)], 4 / 10, 1000),
        # Lost for the second half: not filled.
        ([(s, 0, "100 W, 50" if s <= 5 else LOST) for s in range(11)], 4 / 10, 500),
        # One of two is lost, and comes back: its hole is not filled.
        (
            [
                (s, gpu, LOST if gpu and 3 <= s <= 6 else "100 W, 50")
                for s in range(11)
                for gpu in (0, 1)
            ],
            4 / 20,
            1000 + 500,
        ),
        # Rows that stop while the other's go on.
        ([(s, g, "100 W, 50") for s in range(11) for g in (0, 1) if not g or s <= 4], 5 / 20, 1400),
        # A power sensor that cannot be read, of a GPU that can.
        (
            [(s, 0, "100 W, 50" if s <= 4 or s >= 9 else "[Unknown Error], 50") for s in range(11)],
            4 / 10,
            1000,
        ),
        # Nothing of one of them, ever.
        ([(s, g, "[N/A], 50" if g else "100 W, 50") for s in range(11) for g in (0, 1)], 0.5, 1000),
        # Half a minute between readings is what this logger does: no hole.
        ([(s, 0, "100 W, 50") for s in range(0, 301, 30)], 0, 30_000),
        # Readings too far apart to be filled: the hours know nothing of what is between.
        ([(s, 0, "100 W, 50") for s in (0, 30, 60, 90, 1000, 1030)], 880 / 1030, 12_000),
    ],
)
def test_the_time_without_data_is_in_every_report(
    tmp_path: Path, rows: list[tuple[float, int, str]], ratio: float, joules: float
) -> None:
    """As a share of the GPUs' time, in the document and in words; no error is claimed then."""
    target = log_of(tmp_path / "log.csv", *rows)
    found = document(target)
    assert found["without_data_ratio"] == pytest.approx(ratio, abs=0.001)
    assert found["total"]["energy_joules"] == pytest.approx(joules)
    said = " ".join(call(["report", target], 0).split())
    assert ("to within" in said) == (ratio == 0)
    assert (f"No data for {ratio:.1%} of the GPUs' time" in said) == (ratio > 0)
    assert bool(found["missing"]) == (ratio > 0)
    assert "GPUs" in call(["report", target, "-o", "html"], 0)


def test_a_job_of_a_recording_has_its_holes_too(tmp_path: Path) -> None:
    """The lines of its report are fewer, the holes of its GPUs are not."""
    file = tmp_path / "node.jsonl"
    call(["record", "sim:1xH100,speed=5,seed=3", "-f", str(file), "--duration", "2"], 0)
    jobs = [line["key"] for line in document(f"replay:{file}")["lines"]]
    job = next(key for key in jobs if key != "(unallocated)")
    found: dict = json.loads(call(["report", f"replay:{file}", "job", job, "-o", "json"], 0))
    assert found["without_data_ratio"] is not None


def test_a_devices_own_counter_knows_of_a_hole(tmp_path: Path) -> None:
    """A recording of ours that was stopped and begun again: no joule is missing."""
    file = tmp_path / "node.jsonl"
    call(["record", "sim:1xH100,seed=3", "-f", str(file), "--duration", "1"], 0)
    first = json.loads(file.read_text().splitlines()[0])
    later = json.loads(json.dumps(first))
    start = parse_time(first["time"])
    later["time"] = later["gpus"][0]["time"] = format_time(start + 3000)
    later["gpus"][0]["energy_joules"] += 300_000.0
    file.write_text(f"{json.dumps(first)}\n{json.dumps(later)}\n")
    found = document(f"replay:{file}")
    assert found["without_data_ratio"] == 0
    assert found["total"]["energy_joules"] == pytest.approx(300_000, rel=0.01)


def test_what_the_log_says_besides_readings_is_in_the_report(tmp_path: Path) -> None:
    """How many lines, and the last of them."""
    log = tmp_path / "log.csv"
    target = log_of(log, *((s, 0, "100 W, 50") for s in range(3)))
    with log.open("a") as file:
        file.write("WARNING: infoROM is corrupted at gpu 0000:03:00.0\n")
    (said,) = document(target)["missing"]
    assert "infoROM is corrupted at gpu 0000:03:00.0" in said
    assert "line 5" in said


def test_a_meter_is_held_against_what_may_have_been_drawn_without_data(tmp_path: Path) -> None:
    """The interval is as much wider as the GPUs may have drawn, at most, in the holes."""
    meter = tmp_path / "meter.csv"
    meter.write_text("unix_seconds,power_watts\n1795514400,100\n1795514410,100\n")
    whole = log_of(tmp_path / "a.csv", *((s, 0, "100 W, 50") for s in range(11)))
    holed = log_of(tmp_path / "b.csv", *((s, 0, "100 W, 50") for s in (0, 1, 2, 3, 8, 9, 10)))
    (a, b), (c, d) = (
        document(target, "--meter", str(meter))["meter"]["energy_interval_joules"]
        for target in (whole, holed)
    )
    assert a - c == pytest.approx(400 / 1.1)
    assert d - b == pytest.approx(400 / 0.9)
