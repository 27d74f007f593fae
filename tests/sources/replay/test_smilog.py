"""nvidia-smi's CSV logs: what they look like in the wild, and real ones."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from gpumon.errors import GpumonError, UnavailableError, UsageError
from gpumon.model import EnergyInfo, GpuReading, Snapshot
from gpumon.sources import open_source
from gpumon.sources.energy import PowerIntegral
from gpumon.sources.replay.smilog import SmiLog
from tests.support.clock import FakeClock
from tests.support.servers import data

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines to a log."""

    def write(*lines: str, name: str = "log.csv", end: str = "\n") -> Path:
        path = tmp_path / name
        text = "\n".join(lines) + end
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def play(path: Path, options: str = "gpus=1") -> Snapshot:
    """Play a log to its end."""
    return open_source(
        f"replay:{path},speed=max,{options}"
        if "tz=" in options
        else f"replay:{path},speed=max,tz=Z,{options}",
        FakeClock(),
    ).read()


def the_gpu(path: Path, options: str = "gpus=1") -> GpuReading:
    """Play a log of one GPU to its end."""
    (gpu,) = play(path, options).gpus
    return gpu


def row(second: float, *cells: str) -> str:
    """Return a row of a log at a second of a day."""
    return ", ".join([f"2025/07/27 00:00:{second:06.3f}", *cells])


def test_units_become_base_units(write: Write) -> None:
    """Per cent to a ratio, MiB to bytes, MHz to hertz; watts stay."""
    log = write(
        "timestamp, power.draw [W], utilization.gpu [%], memory.used [MiB], clocks.sm [MHz], "
        "temperature.gpu, pstate, clocks_event_reasons.active",
        row(0, "72.36 W", "43 %", "131 MiB", "1980 MHz", "29", "P0", "0x0000000000000004"),
    )
    gpu = the_gpu(log)
    assert gpu.power_watts == 72.36
    assert gpu.utilization_ratio == 0.43
    assert gpu.memory_used_bytes == 131 * 2**20
    assert gpu.clock_hertz == {"sm": 1_980_000_000}
    assert gpu.temperature_celsius == 29
    assert gpu.throttle_reasons == {"sw_power_cap"}


def test_a_log_without_units_reads_the_same(write: Write) -> None:
    """``--format=csv,nounits`` keeps them in the header."""
    header = "timestamp, power.draw [W], utilization.gpu [%], memory.used [MiB]"
    with_units = the_gpu(write(header, row(0, "72.36 W", "43 %", "131 MiB"), name="a.csv"))
    without = the_gpu(write(header, row(0, "72.36", "43", "131"), name="b.csv"))
    assert with_units == without


def test_rows_are_told_apart_by_counting_where_no_column_does(write: Write) -> None:
    """In GPU order each tick, however long nvidia-smi stalls within one."""
    log = write(
        "timestamp, power.draw [W]",
        *(row(0, "100 W"), row(8.8, "200 W"), row(9, "110 W"), row(9, "210 W")),
    )
    gpus = play(log, "gpus=2").gpus
    assert [gpu.power_watts for gpu in gpus] == [110, 210]
    assert [gpu.identity.uuid for gpu in gpus] == ["replay-0", "replay-1"]
    assert gpus[0].energy_joules == pytest.approx(9 * 105)
    assert gpus[1].energy_joules == pytest.approx(0.2 * 205)


def test_an_index_column_tells_rows_apart(write: Write) -> None:
    """In any order, with what else the columns say of the GPU."""
    log = write(
        "timestamp, index, uuid, name, pci.bus_id, power.draw [W]",
        row(0, "1", "GPU-b", "NVIDIA H100", "00000000:2A:00.0", "200.00 W"),
        row(0, "0", "GPU-a", "NVIDIA H100", "00000000:1A:00.0", "100.00 W"),
    )
    gpus = open_source(f"replay:{log},speed=max", FakeClock()).read().gpus
    assert [(g.identity.index, g.identity.uuid, g.power_watts) for g in gpus] == [
        (0, "GPU-a", 100),
        (1, "GPU-b", 200),
    ]
    assert gpus[0].identity.pci_bus_id == "00000000:1A:00.0"


def test_a_log_that_cannot_be_told_apart_asks_how_many(write: Write) -> None:
    """Guessing wrong would make one GPU of eight."""
    log = write("timestamp, power.draw [W]", row(0, "100 W"))
    with pytest.raises(UsageError, match="gpus=8"):
        open_source(f"replay:{log}", FakeClock())


@pytest.mark.parametrize(
    "value", ["[N/A]", "[Not Supported]", "N/A", "[Requested functionality has been deprecated]"]
)
def test_what_nvidia_smi_does_not_know_is_absent(write: Write, value: str) -> None:
    """Never 0, and the rest of the row counts."""
    log = write("timestamp, power.draw [W], temperature.gpu", row(0, value, "29"))
    gpu = the_gpu(log)
    assert gpu.power_watts is None
    assert gpu.temperature_celsius == 29
    assert gpu.power_samples == ()


def test_a_better_column_wins_and_a_worse_one_stands_in(write: Write) -> None:
    """The average is preferred; where it is N/A, as on A100, the draw is taken."""
    header = "timestamp, power.draw [W], power.draw.average [W]"
    assert the_gpu(write(header, row(0, "1 W", "2 W"), name="a.csv")).power_watts == 2
    assert the_gpu(write(header, row(0, "1 W", "[N/A]"), name="b.csv")).power_watts == 1


@pytest.mark.parametrize("rest", ["2025/07/27 00:00:0", "2025/07/27 00:00:01.000, 7", ""])
def test_a_last_line_that_was_cut_off_is_left_out(write: Write, rest: str) -> None:
    """The logger was stopped within it."""
    header = "timestamp, power.draw [W], utilization.gpu [%]"
    log = write(header, row(0, "100 W", "1 %"), rest, end="")
    assert the_gpu(log).power_watts == 100


def test_a_gzip_file_that_was_cut_off_is_read_to_where_it_ends(write: Write) -> None:
    """A disk that filled up does not lose the day."""
    lines = [row(second / 10, f"{second} W") for second in range(500)]
    log = write("timestamp, power.draw [W]", *lines, name="log.csv.gz")
    log.write_bytes(log.read_bytes()[:-200])
    watts = the_gpu(log).power_watts
    assert watts is not None
    assert 10 < watts < 499


def test_a_repeated_header_begins_a_tick_anew(write: Write) -> None:
    """nvidia-smi was started again on the same file, in the middle of a tick before."""
    header = "timestamp, power.draw [W]"
    log = write(header, row(0, "10 W"), row(0, "20 W"), row(1, "11 W"), header, row(2, "12 W"))
    assert [gpu.power_watts for gpu in play(log, "gpus=2").gpus] == [12, 20]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (row(1, "much"), "line 3: power.draw.* is 'much'.*'72.36 W'"),
        (row(1, "7 parsec"), "line 3.*'7 parsec'"),
        (row(1, "1 W", "2 W"), "line 3: 3 columns: expected 2"),
        ("yesterday, 1 W", "line 3: timestamp is 'yesterday'.*expected the form"),
    ],
)
def test_a_bad_line_is_named_with_what_was_expected(write: Write, bad: str, words: str) -> None:
    """Which line, and what should stand there."""
    log = write("timestamp, power.draw [W]", row(0, "1 W"), bad, row(2, "1 W"))
    with pytest.raises(UsageError, match=words) as caught:
        the_gpu(log)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a, b, c", "1, 2, 3"], "no header with a column 'timestamp'"),
        (["timestamp, pstate", row(0, "P0")], "none of its columns"),
        (["timestamp, power.draw [W]"], "no readings"),
        ([""], "no header"),
        (["\x00\x01\x02"], "no header"),
    ],
)
def test_a_file_that_is_no_log_is_refused(write: Write, lines: list[str], words: str) -> None:
    """With what a log looks like."""
    with pytest.raises(UsageError, match=words):
        open_source(f"replay:{write(*lines)},gpus=1", FakeClock())


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Or not to be read, exits with 3: the question made sense."""
    with pytest.raises(UnavailableError, match="No such file"):
        open_source(f"replay:{tmp_path / 'none.csv'},gpus=1", FakeClock())
    with pytest.raises(GpumonError, match="directory"):
        open_source(f"replay:{tmp_path},gpus=1", FakeClock())


def test_binary_that_is_no_text(tmp_path: Path) -> None:
    """A picture is no log."""
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xff\xfe\x00" * 100)
    with pytest.raises(UsageError, match="not text"):
        open_source(f"replay:{path},gpus=1", FakeClock())


@pytest.mark.parametrize(
    ("zone", "shift"), [("Z", 0), ("+01:00", -3600), ("-05:30", 19800), ("+0200", -7200)]
)
def test_local_time_is_shifted_by_the_zone_that_is_named(
    write: Write, zone: str, shift: int
) -> None:
    """Such logs carry local time; 2025-07-27T00:00:00Z is 1753574400."""
    log = write("timestamp, power.draw [W]", row(0, "1 W"))
    source = open_source(f"replay:{log},gpus=1,tz={zone}", FakeClock())
    assert source.read().time == 1_753_574_400 + shift


@pytest.mark.parametrize("zone", ["Berlin", "+1", "+99:00", ""])
def test_a_zone_that_is_none_is_refused(write: Write, zone: str) -> None:
    """An offset is wanted."""
    log = write("timestamp, power.draw [W]", row(0, "1 W"))
    with pytest.raises(UsageError, match=r"tz=\+01:00"):
        open_source(f"replay:{log},gpus=1,tz={zone}", FakeClock())


def integral_of(path: Path, gpus: int) -> float:
    """Integrate a log by the trapezoid rule, independently of gpumon's reading of it."""
    last: dict[int, tuple[float, float]] = {}
    joules = 0.0
    with gzip.open(path, "rt") as file:
        # A last line without its end may be half a line, and is left out.
        whole = (line for line in file if line.endswith("\n"))
        reader = csv.reader(whole, skipinitialspace=True)
        next(reader)
        for number, cells in enumerate(reader):
            time = dt.datetime.strptime(cells[0], "%Y/%m/%d %H:%M:%S.%f").timestamp()  # noqa: DTZ007
            watts, gpu = float(cells[1].split()[0]), number % gpus
            if gpu in last:
                joules += (time - last[gpu][0]) * (watts + last[gpu][1]) / 2
            last[gpu] = (time, watts)
    return joules


@pytest.mark.parametrize(("name", "kilojoules"), [("ckpt100", 1523.2), ("ckpt10", 908.0)])
def test_a_real_training_run_has_its_known_energy(name: str, kilojoules: float) -> None:
    """Eight H100s for eleven minutes: the trapezoid integral over every row of the log."""
    path = data(f"h100x8-training/{name}.csv.gz")
    gpus = play(path, "gpus=8").gpus
    joules = sum(gpu.energy_joules or 0 for gpu in gpus)
    assert joules == pytest.approx(integral_of(path, 8), rel=1e-9)
    assert joules == pytest.approx(1000 * kilojoules, rel=1e-4)
    assert len(gpus) == 8
    assert gpus[0].energy_info == EnergyInfo("integral")


def test_a_log_of_the_power_study_is_read() -> None:
    """One GPU, fifteen milliseconds apart, numbers without units, UTC+1."""
    log = data("power-meter/a100-square/nvidia-smi.csv.gz")
    snapshot = play(log, "gpus=1,tz=+01:00")
    assert snapshot.time == pytest.approx(1_689_325_979.161)
    assert snapshot.gpus[0].power_watts == 60.82
    assert snapshot.gpus[0].energy_joules == pytest.approx(1308.8, rel=1e-3)


@pytest.mark.parametrize(
    ("board", "metered", "sensed"),
    [("a100-square", 1155.7, 1146.8), ("3090-square", 2689.9, 2529.8)],
)
def test_the_sensor_is_as_far_from_the_meter_as_the_study_found(
    board: str, metered: float, sensed: float
) -> None:
    """Joules of log and meter over the seconds that both cover: 0.8 % and 6.0 % low."""
    log = data(f"power-meter/{board}/nvidia-smi.csv.gz")
    with gzip.open(data(f"power-meter/{board}/meter.csv.gz"), "rt") as file:
        meter = [
            (int(row["unix_ms"]) / 1000, float(row["power_watts"])) for row in csv.DictReader(file)
        ]
    frames = SmiLog(log, 1, dt.timezone(dt.timedelta(hours=1))).frames()
    sensor = [(frame.time, frame.gpus[0].power_watts or 0.0) for frame in frames]
    start, end = max(meter[0][0], sensor[0][0]), min(meter[-1][0], sensor[-1][0])
    joules = []
    for readings in (meter, sensor):
        integral = PowerIntegral()
        for time, watts in readings:
            if start <= time <= end:
                integral.add(time, watts)
        joules.append(integral.joules)
    assert joules[0] == pytest.approx(metered, rel=0.002)
    assert joules[1] == pytest.approx(sensed, rel=0.002)
    assert abs(joules[1] / joules[0] - 1) < 0.065


def test_half_a_number_at_the_end_is_no_reading(write: Write) -> None:
    """345.67 W cut off after the 3 is not 3 W."""
    header = "timestamp, power.draw [W]"
    log = write(header, row(0, "345.67 W"), row(1, "3"), end="")
    assert the_gpu(log).power_watts == 345.67


@pytest.mark.parametrize(
    ("cell", "state"),
    [
        ("[GPU is lost]", "lost"),
        ("[GPU requires reset]", "reset_required"),
        ("[Unknown Error]", "error"),
    ],
)
def test_a_gpu_that_the_log_could_not_read_is_not_ok(write: Write, cell: str, state: str) -> None:
    """It says so in every cell."""
    log = write("timestamp, power.draw [W], temperature.gpu", row(0, cell, cell))
    gpu = the_gpu(log)
    assert (gpu.state.value, gpu.power_watts) == (state, None)


def test_a_log_that_a_windows_editor_saved_is_read(write: Write) -> None:
    """With a byte order mark and its line ends."""
    log = write("\ufefftimestamp, power.draw [W]\r", row(0, "100 W") + "\r")
    assert the_gpu(log).power_watts == 100


@pytest.mark.parametrize("cell", ["9" * 400 + " W", "1 W, 2025/13/13 00:00:00.000"])
def test_absurd_numbers_are_named(write: Write, cell: str) -> None:
    """And never become infinite."""
    log = write("timestamp, power.draw [W]", row(0, cell), row(1, "1 W"))
    with pytest.raises(UsageError, match="line 2"):
        the_gpu(log)
