"""Logs that say what cannot be: a value is left out and said, a log that makes no sense refused."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from gpumon.cli import run
from gpumon.documents.snapshot import to_document
from gpumon.errors import UsageError
from gpumon.model import Snapshot
from gpumon.sources import open_source
from tests.support.clock import FakeClock

HEADER = "timestamp, index, uuid, power.draw [W], temperature.gpu, utilization.gpu [%]"

Write = Callable[[Iterable[str]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a log of these rows."""

    def write(rows: Iterable[str]) -> Path:
        path = tmp_path / "log.csv"
        path.write_text("".join(f"{line}\n" for line in (HEADER, *rows)))
        return path

    return write


def row(second: int, gpu: int = 0, watts: str = "100.00 W", rest: str = "40, 50 %") -> str:
    """Return a GPU's row at a second."""
    time = f"2025/07/27 00:{second // 60:02d}:{second % 60:02d}.000"
    return f"{time}, {gpu}, GPU-{gpu}, {watts}, {rest}"


def named(second: int, index: int, uuid: str) -> str:
    """Return a row of a GPU with this index and uuid."""
    return row(second, index).replace(f"GPU-{index}", uuid)


def played(path: Path) -> Snapshot:
    """Return what is known at the end of a log."""
    return open_source(f"replay:{path},speed=max,tz=Z", FakeClock()).read()


@pytest.mark.parametrize(
    ("watts", "rest", "quantity"),
    [
        ("-5.00 W", "40, 50 %", "gpu_power"),
        ("4294967.29 W", "40, 50 %", "gpu_power"),
        ("100.00 W", "9000, 50 %", "gpu_temperature"),
        ("100.00 W", "-1, 50 %", "gpu_temperature"),
        ("100.00 W", "40, 4294967295 %", "gpu_utilization"),
    ],
)
def test_a_cell_that_cannot_be_is_left_out_and_said(
    write: Write, watts: str, rest: str, quantity: str
) -> None:
    """Its neighbours stay, and the joules are those of the log without it."""
    rows = [row(second, gpu) for second in range(5) for gpu in (0, 1)]
    odd = [*rows[:4], row(2, 0, watts, rest), *rows[5:]]
    snapshot, without = played(write(odd)), played(write(rows))
    assert [gpu.energy_joules for gpu in snapshot.gpus] == [400.0, 400.0]
    shown, expected = ([g.changed(power_samples=()) for g in s.gpus] for s in (snapshot, without))
    assert shown == expected
    assert snapshot.refused[quantity] == 1
    (error,) = snapshot.errors
    assert error.startswith("impossible readings are left out: gpu 0 (GPU-0) reports ")


def test_the_last_reading_lacks_what_cannot_be(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not the one before, either, in any command."""
    path = write([row(0), row(1, 0, "-5.00 W", "9000, 50 %")])
    assert run(["status", f"replay:{path},tz=Z", "-o", "json"]) == 0
    gpu = json.loads(capsys.readouterr().out)["gpus"][0]
    assert (gpu["power_watts"], gpu["temperature_celsius"]) == (None, None)
    assert gpu["utilization_ratio"] == 0.5
    run(["report", f"replay:{path},tz=Z"])
    assert "Impossible readings are left out" in capsys.readouterr().out


def test_a_recording_of_ours_passes_the_same_gate(tmp_path: Path) -> None:
    """It may have been made before there was one."""
    document = to_document(open_source("sim:1xH100", FakeClock()).read(), samples=True)
    document["gpus"][0]["power_watts"] = 4294967.295
    document["gpus"][0]["energy_joules"] = 2**64 - 1
    document["host"]["power_watts"] = {"measured": {"ipmi": 65535.0}}
    path = tmp_path / "run.ndjson"
    path.write_text(json.dumps(document) + "\n")
    snapshot = played(path)
    assert snapshot.gpus[0].power_watts is None
    assert snapshot.gpus[0].energy_joules is None
    assert snapshot.host.power_watts is None
    assert {"gpu_power", "gpu_energy", "node_power"} <= snapshot.refused.keys()


def test_two_gpus_with_one_index_are_two_nodes(write: Write) -> None:
    """Whose joules these are nobody could tell."""
    rows = [named(s, 0, uuid) for s in range(9) for uuid in ("GPU-a", "GPU-b")]
    with pytest.raises(UsageError, match=r"line 5: GPU-\w and GPU-\w both have index 0.*one node"):
        played(write(rows))


def test_an_index_may_change_with_a_reboot_or_a_board(write: Write) -> None:
    """Then the order of the GPUs is another one, from then on."""
    before, after = ("GPU-a", "GPU-b"), ("GPU-b", "GPU-a")
    rows = [named(s, i, before[i]) for s in range(3) for i in (0, 1)]
    rows += [named(s, i, after[i]) for s in range(3, 9) for i in (0, 1)]
    gpus = played(write(rows)).gpus
    assert [(gpu.identity.index, gpu.identity.uuid) for gpu in gpus] == [(0, "GPU-b"), (1, "GPU-a")]


@pytest.mark.parametrize("index", ["99999999999999999999", "18446744073709551615", "-1", "0x1"])
def test_an_index_that_is_none_is_refused_in_one_line(write: Write, index: str) -> None:
    """No GPU has such a number, and no file keeps it."""
    line = f"2025/07/27 00:00:00.000, {index}, GPU-a, 100 W, 40, 5 %"
    with pytest.raises(UsageError, match=r"line 2: index is .* number of a GPU"):
        played(write([line, line.replace("00.000", "01.000")]))


@pytest.mark.parametrize("size", [5, 14, 40])
def test_a_gzip_file_that_is_cut_off_at_its_beginning_is_named(
    tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said that there was no header, as if another file had been meant."""
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{row(0)}\n".encode())[:size])
    assert run(["status", f"replay:{path}"]) == 2
    err = capsys.readouterr().err
    assert "is cut off before the end of its first line" in err
    assert err.count("\n") == 1


def test_of_one_that_is_cut_off_later_the_rest_is_played_and_said(tmp_path: Path) -> None:
    """After which line, of a log and of a recording."""
    rows = "".join(f"{row(s)}\n" for s in range(600))
    document = json.dumps(to_document(open_source("sim:1xH100", FakeClock()).read()))
    for text in (f"{HEADER}\n{rows}", f"{document}\n" * 50):
        path = tmp_path / "log.gz"
        whole = gzip.compress(text.encode())
        path.write_bytes(whole[: len(whole) * 2 // 3])
        snapshot = played(path)
        assert snapshot.gpus
        (error,) = snapshot.errors
        assert re.search(r"the gzip file is cut off after line [1-9]\d*: what followed", error)


def test_a_log_that_runs_backwards_is_refused(write: Write) -> None:
    """It has no joules, and said so with a nought."""
    rows = [row(second, gpu) for second in range(59, 0, -1) for gpu in (0, 1)]
    with pytest.raises(UsageError, match="line 13: its times run backwards from the first row on"):
        played(write(rows))


def test_a_clock_that_is_set_back_is_said(write: Write) -> None:
    """The rows after it count on; what was drawn across the step is not known."""
    rows = [row(second) for second in (*range(600, 610), *range(10))]
    snapshot = played(write(rows))
    assert snapshot.gpus[0].energy_joules == 900.0 + 900.0
    (error,) = snapshot.errors
    assert "a row is earlier than the one before of the same GPU, the last at line 12" in error


def test_rows_a_little_out_of_order_are_no_reason_to_speak(write: Write) -> None:
    """Chrony moves a clock by some milliseconds."""
    time = "2025/07/27 00:00:0{}, 0, GPU-0, 100 W, 40, 5 %"
    rows = [time.format(second) for second in ("0.000", "1.000", "0.990", "2.000", "3.000")]
    assert played(write(rows)).errors == ()
