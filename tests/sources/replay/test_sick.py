"""Logs of sick GPUs: what nvidia-smi and its loggers leave behind when things go wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.errors import GpumonError, UsageError
from gpumon.model import GpuReading, Snapshot
from gpumon.sources import open_source
from gpumon.sources.replay.source import ReplaySource
from gpumon.sources.spec import SourceSpec
from tests.support.clock import FakeClock
from tests.support.fuzz import FUZZ

CASES = Path(__file__).parent / "cases"
A = "GPU-00000000-0000-4000-8000-000000000000"
B = "GPU-11111111-1111-4111-8111-111111111111"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines to a log."""

    def write(*lines: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "log.csv"
        path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
        return path

    return write


def played(path: Path, options: str = "") -> ReplaySource:
    """Return the source of a log that is played all at once."""
    return ReplaySource(SourceSpec.parse(f"replay:{path},speed=max,tz=Z{options}"), FakeClock())


def end_of(path: Path, options: str = "") -> Snapshot:
    """Play a log to its end."""
    return played(path, options).read()


def by_index(snapshot: Snapshot) -> dict[int, GpuReading]:
    """Return the GPUs by their number, of which none is there twice."""
    found = {gpu.identity.index: gpu for gpu in snapshot.gpus}
    assert len(found) == len(snapshot.gpus)
    return found


def row(second: float, *cells: str) -> str:
    """Return a row at a second of a day."""
    return ", ".join([f"2026/04/24 10:00:{second:06.3f}", *cells])


def ticks(first: int, last: int, *gpus: tuple[str, ...]) -> list[str]:
    """Return the rows of some seconds, each GPU in its turn."""
    return [
        row(second + n / 100, *cells)
        for second in range(first, last + 1)
        for n, cells in enumerate(gpus)
    ]


HEADER = "timestamp, index, power.draw [W], temperature.gpu, fan.speed [%]"
GPU_0 = ("0", "100.00 W", "60", "30 %")
GPU_1 = ("1", "99.00 W", "68", "40 %")


def test_a_cell_that_cannot_be_read_leaves_its_value_out_and_nothing_else() -> None:
    """A fan of one GPU; its joules count to the last row."""
    gpus = by_index(end_of(CASES / "smi-fan-unknown-error.csv"))
    assert [gpus[n].state.value for n in (0, 1)] == ["ok", "ok"]
    assert (gpus[1].power_watts, gpus[1].fan_speed_ratio) == (99.0, None)
    assert gpus[0].fan_speed_ratio == 0.3
    assert gpus[1].energy_joules == pytest.approx(495.0)


def test_a_gpu_that_is_lost_midway_is_lost_and_is_no_second_gpu() -> None:
    """With the joules of until then, without its last watts; the other goes on."""
    snapshot = end_of(CASES / "smi-lost-midway.csv")
    gpus = by_index(snapshot)
    assert sorted(gpu.identity.uuid for gpu in snapshot.gpus) == [A, B]
    assert (gpus[1].state.value, gpus[1].power_watts) == ("lost", None)
    assert gpus[1].identity.name == "NVIDIA RTX 4000 Ada Generation"
    assert "GPU is lost" in gpus[1].reason
    assert (gpus[0].state.value, gpus[0].power_watts) == ("ok", 100.0)
    assert gpus[0].energy_joules == pytest.approx(500.0)


def test_a_message_and_a_row_of_nothing_refuse_nothing() -> None:
    """They are counted, and said with their line."""
    source = played(CASES / "smi-handle-error-midway.csv")
    (gpu,) = source.read().gpus
    assert (gpu.state.value, gpu.power_watts) == ("ok", 100.0)
    nothing = ", ".join(["[Unknown Error]"] * 4)
    many = "2 lines of the log are not readings and were passed over"
    assert source.remarks == (f"{many}; the last is line 5: {nothing}",)
    assert source.read().errors == source.remarks


@pytest.mark.parametrize(
    ("cells", "state"),
    [
        (("[GPU is lost]", "[GPU is lost]", "[GPU is lost]"), "lost"),
        (("[GPU requires reset]", "[GPU requires reset]", "[N/A]"), "reset_required"),
        (("[Unknown Error]", "[Unknown Error]", "[Unknown Error]"), "error"),
        (("ERR!", "ERR!", "ERR!"), "error"),
        (("[Timeout]", "[Timeout]", "[Timeout]"), "error"),
        (("[Unknown Error]", "[GPU is lost]", "[N/A]"), "lost"),
        (("[Unknown Error]", "[Unknown Error]", "30 %"), "ok"),
        (("ERR!", "60", "30 %"), "ok"),
        (("100 W", "[GPU is lost]", "30 %"), "ok"),
        (("[N/A]", "[N/A]", "[Not Supported]"), "ok"),
        (("[Insufficient Permissions]", "[N/A]", "[N/A]"), "ok"),
    ],
)
def test_a_gpu_is_as_its_cells_say_together(
    write: Write, cells: tuple[str, str, str], state: str
) -> None:
    """It is sick if no cell that it fills has a value; the worst word counts."""
    path = write(HEADER, *ticks(0, 0, GPU_0), row(1, "0", *cells))
    assert by_index(end_of(path))[0].state.value == state


def test_one_reading_that_cannot_be_read_does_not_condemn_a_gpu_that_knows_its_name(
    write: Write,
) -> None:
    """A log of power alone, of a board whose sensor is broken."""
    header = "timestamp, index, name, power.draw [W]"
    path = write(header, row(0, "0", "NVIDIA L4", "[Unknown Error]"))
    gpu = by_index(end_of(path))[0]
    assert (gpu.state.value, gpu.power_watts) == ("ok", None)
    path = write(header, row(0, "0", "[Unknown Error]", "[Unknown Error]"))
    assert by_index(end_of(path))[0].state.value == "error"


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("uuid", (A, B)),
        ("index", ("0", "1")),
        ("pci.bus_id", ("00000000:01:00.0", "00000000:02:00.0")),
        ("index, pci.bus_id", ("0, 00000000:01:00.0", "1, 00000000:02:00.0")),
        ("gpu_uuid, gpu_name", (f"{A}, NVIDIA L4", f"{B}, NVIDIA L4")),
    ],
)
def test_a_lost_gpu_is_known_again_by_whatever_names_it(
    write: Write, header: str, names: tuple[str, str]
) -> None:
    """Also by its turn alone, if nothing in its row does: nvidia-smi keeps the order."""
    lost = ", ".join(["[GPU is lost]"] * (header.count(",") + 2))
    if "index" in header:
        lost = lost.replace("[GPU is lost]", "1", 1)
    path = write(
        f"timestamp, {header}, power.draw [W]",
        *ticks(0, 2, (names[0], "100 W"), (names[1], "99 W")),
        *ticks(3, 5, (names[0], "100 W"), (lost,)),
    )
    snapshot = end_of(path)
    assert sorted((g.state.value, g.power_watts) for g in snapshot.gpus) == [
        ("lost", None),
        ("ok", 100.0),
    ]


def test_a_gpu_whose_rows_stop_while_others_go_on_cannot_be_read(write: Write) -> None:
    """It has no power any longer, says since when, and its age grows; back, it is well."""
    path = write(HEADER, *ticks(0, 2, GPU_0, GPU_1), *ticks(3, 9, GPU_0))
    gpu = by_index(end_of(path))[1]
    assert (gpu.state.value, gpu.power_watts) == ("error", None)
    assert "no rows of it since 2026-04-24T10:00:02Z" in gpu.reason
    assert end_of(path).time - gpu.time == pytest.approx(7, abs=0.1)
    path = write(
        HEADER, *ticks(0, 2, GPU_0, GPU_1), *ticks(3, 9, GPU_0), *ticks(10, 12, GPU_0, GPU_1)
    )
    assert by_index(end_of(path))[1].state.value == "ok"


def test_a_gpu_that_is_logged_less_often_is_not_taken_for_lost(write: Write) -> None:
    """Two loggers write one file, one each second, one each ten."""
    rows = [
        line
        for second in range(50)
        for line in ticks(second, second, GPU_0, *([GPU_1] if second % 10 == 0 else []))
    ]
    source = played(write(HEADER, *rows))
    states = {gpu.state.value for snapshot in source.play(0.1) for gpu in snapshot.gpus}
    assert states == {"ok"}


def test_a_hole_while_it_was_lost_is_not_filled(write: Write) -> None:
    """Nobody draws a hundred watts while it is off the bus."""
    path = write(
        HEADER,
        *ticks(0, 2, GPU_0),
        *ticks(3, 20, ("0", "[GPU is lost]", "[GPU is lost]", "[GPU is lost]")),
        *ticks(21, 23, GPU_0),
    )
    assert by_index(end_of(path))[0].energy_joules == pytest.approx(400.0)


HANDLE = "Unable to determine the device handle for GPU"
LOST = f"{HANDLE}0000:02:00.0: GPU is lost.  Reboot the system to recover this GPU"
DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure"
MESSAGES = [
    "WARNING: infoROM is corrupted at gpu 0000:03:00.0",
    f"{HANDLE} 0000:02:00.0: Unknown Error",
    LOST,
    "Failed to initialize NVML: Driver/library version mismatch",
    "NVML library version: 580.105",
    "No devices were found",
    f"{DRIVER} that the latest NVIDIA driver is installed and running.",
    "GPU is lost. Reboot the system to recover this GPU, please, now, today",
    'Field "power.draw.avg" is not a valid field to query.',
    "bash: line 1: nvidia-smi: command not found",
    "Terminated",
    "nohup: ignoring input",
]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("place", ["first", "between", "last"])
def test_a_message_is_passed_over_wherever_it_stands(
    write: Write, message: str, place: str
) -> None:
    """Before the header, between the rows, at the end; each counts one."""
    lines = [HEADER, *ticks(0, 1, GPU_0), *ticks(2, 3, GPU_0)]
    lines.insert({"first": 0, "between": 3, "last": len(lines)}[place], message)
    source = played(write(*lines))
    snapshot = source.read()
    assert len(snapshot.gpus) == 1
    ((remark),) = source.remarks
    assert message[:100] in remark
    if place != "last":
        assert (snapshot.up, snapshot.gpus[0].energy_joules) == (True, pytest.approx(300.0))


def test_after_the_driver_failed_no_gpu_is_ok(write: Write) -> None:
    """Until the next row; its message is why."""
    path = write(HEADER, *ticks(0, 2, GPU_0, GPU_1), "Failed to initialize NVML: Unknown Error")
    snapshot = end_of(path)
    assert not snapshot.up
    assert snapshot.errors == ("Failed to initialize NVML: Unknown Error",)
    assert {(g.state.value, g.power_watts) for g in snapshot.gpus} == {("error", None)}


def test_a_message_about_a_gpu_by_its_address_is_that_gpus(write: Write) -> None:
    """Whatever nvidia-smi leaves out of it."""
    header = "timestamp, pci.bus_id, power.draw [W]"
    gpus = (("00000000:01:00.0", "100 W"), ("00000000:02:00.0", "99 W"))
    path = write(header, *ticks(0, 2, *gpus), LOST, *ticks(3, 4, gpus[0]))
    states = {g.identity.pci_bus_id: g.state.value for g in end_of(path).gpus}
    assert states == {"00000000:01:00.0": "ok", "00000000:02:00.0": "lost"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch", "it begins: 'Failed to"),
        ("No devices were found", "it begins: 'No devices"),
        (f"No devices were found\n{HEADER}", "no readings in it; a line of the log is not a read"),
    ],
)
def test_a_log_of_messages_alone_is_refused_with_them(write: Write, text: str, words: str) -> None:
    """In one line."""
    with pytest.raises(UsageError, match=words) as caught:
        end_of(write(text))
    assert "\n" not in str(caught.value)


def test_another_order_of_columns_after_a_restart_is_read_on(write: Write) -> None:
    """And other columns; the first line of the rest may be glued to a row that was cut off."""
    path = write(
        HEADER,
        *ticks(0, 2, GPU_0, GPU_1),
        "timestamp, temperature.gpu, power.draw.average [W], index, uuid",
        *ticks(3, 4, ("61", "110 W", "0", A), ("69", "120 W", "1", B)),
        "2026/04/24 10:00:05.0timestamp, index, power.draw [W]",
        *ticks(6, 7, ("0", "130 W"), ("1", "140 W")),
        "2026/04/24 10:00:08.000, 0, 15" + row(9, "0", "150 W"),
    )
    source = played(path)
    snapshots = list(source.play(0.1))
    assert {gpu.identity.uuid for gpu in snapshots[-1].gpus} == {A, B}
    gpus = by_index(snapshots[-1])
    assert (gpus[0].power_watts, gpus[1].power_watts) == (150.0, 140.0)
    assert "2 lines of the log are not readings" in source.remarks[0]


def test_a_restart_without_a_column_that_names_the_gpu_is_named(write: Write) -> None:
    """Rows of two GPUs would become one's."""
    path = write(HEADER, *ticks(0, 1, GPU_0), "timestamp, power.draw [W]", row(2, "1 W"))
    with pytest.raises(UsageError, match="line 4: no column names the GPU"):
        end_of(path)


def test_a_gpu_that_gets_another_number_is_the_same_gpu(write: Write) -> None:
    """After a restart without GPU 0 the others count from 0."""
    header = "timestamp, index, uuid, power.draw [W]"
    path = write(
        header,
        *ticks(0, 2, ("0", A, "100 W"), ("1", B, "99 W")),
        header,
        *ticks(3, 9, ("0", B, "98 W")),
    )
    found = {g.identity.uuid: (g.identity.index, g.state.value) for g in end_of(path).gpus}
    assert found == {A: (0, "error"), B: (0, "ok")}


def test_a_gpu_that_was_lost_at_first_is_not_another_one_later(write: Write) -> None:
    """Its number is all that is known of it until then."""
    header = "timestamp, index, uuid, power.draw [W]"
    path = write(
        header,
        *ticks(0, 2, ("0", A, "100 W"), ("1", "[GPU is lost]", "[GPU is lost]")),
        *ticks(3, 4, ("0", A, "100 W"), ("1", B, "99 W")),
    )
    found = {g.identity.uuid: g.state.value for g in end_of(path).gpus}
    assert found == {A: "ok", B: "ok"}


def test_counted_rows_keep_their_place_through_rows_of_nothing(write: Write) -> None:
    """A GPU that cannot be read has its turn all the same."""
    sick = ", ".join(["[Unknown Error]"] * 3)
    path = write(
        "timestamp, power.draw [W], temperature.gpu",
        row(0, "100 W", "60"), row(0.1, "200 W", "61"),
        sick, row(1.1, "210 W", "61"),
        row(2, "[Unknown Error]", "[Unknown Error]"), row(2.1, "220 W", "61"),
    )  # fmt: skip
    gpus = by_index(end_of(path, ",gpus=2"))
    assert (gpus[0].state.value, gpus[1].power_watts) == ("error", 220.0)


LINES = (HEADER, *ticks(0, 3, GPU_0, GPU_1))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_powershell_redirects_is_read(
    tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """UTF-16 with a byte order mark, or without; also packed."""
    data = "".join(f"{line}\r\n" for line in LINES).encode(encoding)
    path = tmp_path / "log.csv"
    path.write_bytes(pack(data))
    assert by_index(end_of(path))[1].power_watts == 99.0


def test_what_powershell_appends_is_read(tmp_path: Path) -> None:
    """UTF-16 after whatever the file was in; and a block of zeros that a crash left."""
    path = tmp_path / "log.csv"
    path.write_bytes(
        "".join(f"{line}\n" for line in LINES).encode()
        + "".join(f"{line}\r\n" for line in ticks(4, 5, GPU_0, GPU_1)).encode("utf-16-le")
        + b"\0" * 512
        + "".join(f"{line}\n" for line in ticks(6, 7, GPU_0, GPU_1)).encode()
    )
    assert by_index(end_of(path))[0].energy_joules == pytest.approx(700.0)


def test_a_name_that_is_not_utf_8_costs_its_character(write: Write) -> None:
    """And nothing else."""
    path = write(
        "timestamp, index, name, power.draw [W]",
        row(0, "0", "NVIDIA \u00ae L4", "100 W"),
        encoding="latin-1",
    )
    gpu = by_index(end_of(path))[0]
    assert (gpu.identity.name, gpu.power_watts) == ("NVIDIA \ufffd L4", 100.0)


CELLS = st.sampled_from(
    [
        "100 W",
        "60",
        "30 %",
        "[N/A]",
        "[GPU is lost]",
        "[Unknown Error]",
        "ERR!",
        "",
        "0x4",
        "x",
        A,
        B,
    ]
)
PIECES = st.one_of(
    st.sampled_from(
        [*MESSAGES, HEADER, *LINES, "timestamp, uuid, index, power.draw [W]", "timestamp", "[N/A]"]
    ),
    st.builds(row, st.integers(0, 59), st.sampled_from("0123"), CELLS, CELLS, CELLS),
    st.builds(row, st.integers(0, 59), CELLS, st.sampled_from("01"), CELLS),
    st.text(max_size=40),
    st.lists(CELLS, min_size=1, max_size=6).map(", ".join),
)


@FUZZ
@given(st.lists(PIECES, max_size=25), st.sampled_from(["", ",gpus=2"]), st.randoms())
def test_no_log_is_too_strange(
    tmp_path: Path, lines: list[str], options: str, random: object
) -> None:
    """It is played, or refused in one line; each GPU once, and a sick one without power."""
    text = "\n".join([HEADER, *lines])
    cut = random.randrange(len(text) + 1)  # type: ignore[attr-defined]
    path = tmp_path / "log.csv"
    path.write_text(text[: len(text) - cut // 4] + "\n", "utf-8", "replace")
    snapshots: list[Snapshot] = []
    refused = ""
    try:
        snapshots += played(path, options).play(0.5)
    except GpumonError as error:
        refused = str(error)
    assert "\n" not in refused
    for snapshot in snapshots:
        uuids = [gpu.identity.uuid for gpu in snapshot.gpus]
        assert len(uuids) == len(set(uuids))
        for gpu in snapshot.gpus:
            assert gpu.state.value == "ok" or gpu.power_watts is gpu.energy_joules is None


def test_the_agents_view_of_such_a_log_is_the_same() -> None:
    """As a source like any other."""
    source = open_source(f"replay:{CASES / 'smi-lost-midway.csv'},tz=Z", clock := FakeClock())
    assert [gpu.state.value for gpu in source.read().gpus] == ["ok"]
    clock.pass_(2.5)
    assert [gpu.state.value for gpu in source.read().gpus] == ["ok", "ok"]
    clock.pass_(1.0)
    assert [gpu.state.value for gpu in source.read().gpus] == ["ok", "lost"]
