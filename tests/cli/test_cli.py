"""The command line: help, exit codes, one-line errors, and what is loaded for it."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gpumon.cli import COMMANDS, cli, run
from tests.fakenvml import FakeDriver
from tests.support.exposition import Exposition
from tests.support.servers import run_agent, wait_for

GPUMON = [sys.executable, "-m", "gpumon"]


def gpumon(
    *args: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, off a terminal."""
    return subprocess.run(
        [*GPUMON, *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "80", **(env or {})},
        cwd=cwd,
    )


LOADED = """
import sys
from gpumon.cli import run
run({argv!r})
heavy = {{"pynvml", "prometheus_client", "rich", "httpx", "uvicorn", "starlette", "asyncio"}}
print("LOADED", sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["agent", "--help"], ["dashboards", "push", "--help"]]
)
def test_help_loads_nothing_heavy(argv: list[str]) -> None:
    """Neither driver binding, nor exposition, nor tables, nor HTTP: help must be instant."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(argv=argv)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    """And its first line is the one that ``gpumon --help`` shows."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").splitlines()[0] == COMMANDS[name]
    assert f"gpumon {name}" in (command.epilog or "")
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert all(option.help for option in options)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["statsu"], 2, "did you mean status"),
        (["status", "--nonsense"], 2, "see gpumon status --help"),
        (["status", "sim:8xH1000"], 2, "did you mean H100"),
        (["status", "sim:8xH100,sped=2"], 2, "did you mean speed"),
        (["status", "sim:0xH100"], 2, "sim"),
        (["status", "replay:/no/such/file,gpus=8"], 3, "cannot read /no/such/file"),
        (["status", "ftp://host"], 2, "is not a target"),
        (["status", "a b"], 2, "is not a target"),
        (["status", "prom:x"], 2, "write prom:http://HOST:9090"),
        (["status", "prom:http://127.0.0.1:1"], 3, "is it a Prometheus, and is it up"),
        (["status", "prom:http://x", "node17"], 2, "name it alone"),
        (["status", "a", "b", "--gpu", "3"], 2, "name one node"),
        (["status", "sim:2xH100", "--gpu", "9"], 2, "there are: 0, 1"),
        (["status", "127.0.0.1:1"], 3, "is gpumon agent running there"),
        (["status", "-o", "xml", "sim:1xH100"], 2, "xml"),
        (["agent", "--web.listen-address", "nonsense"], 2, "is not a listen address"),
        (["agent", "--web.listen-address", ":99999"], 2, "is not a listen address"),
        (["agent", "--web.listen-address", "[::x]:1"], 2, "is not a listen address"),
        (["agent", "--web.listen-address", "192.0.2.1:1"], 3, "not an address of this machine"),
        (["agent", "--web.telemetry-path", "metrics"], 2, "begins with /"),
        (["agent", "--interval", "0"], 2, "--interval"),
        (["agent", "--source", "nvlm"], 2, "did you mean nvml"),
        (["--config", "/no/such.toml", "agent"], 2, "no configuration file"),
        (["record", "sim:1xH100"], 2, "--file"),
        (["demo", "--source", "sim:8xH1000"], 2, "did you mean H100"),
    ],
)
def test_bad_input_gets_one_line_with_the_next_step(argv: list[str], code: int, words: str) -> None:
    """The exit code says whether the question was wrong (2) or the answer not to be had (3)."""
    done = gpumon(*argv)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if "level=info" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("gpumon: ")
    assert words in lines[0]
    assert "Traceback" not in done.stderr


def test_without_a_driver_status_says_what_to_install() -> None:
    """Exit code 3: nothing could be told."""
    done = gpumon(env={"LD_LIBRARY_PATH": "", "GPUMON_CONFIG": ""})
    if done.returncode == 0:
        pytest.skip("this machine has a driver")
    assert done.returncode == 3
    assert "libnvidia-ml.so.1 was not found: install" in done.stderr


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """With the likely reason, exit code 3."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = gpumon("agent", "--web.listen-address", f"127.0.0.1:{port}")
    assert done.returncode == 3
    assert f"listening on 127.0.0.1:{port} is in use: is an agent running already?" in done.stderr


def test_a_broken_recording_ends_the_agent_with_the_line(tmp_path: Path) -> None:
    """Found by the reader, told by the server, exit code 2."""
    log = tmp_path / "log.csv"
    log.write_text("timestamp, power.draw [W]\n2025/01/01 00:00:00.000, much\n\n\n")
    done = gpumon("agent", "--source", f"replay:{log},gpus=1", "--web.listen-address", ":0")
    assert done.returncode == 2
    assert "line 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unexpected_error_shows_its_traceback_only_where_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug exits with 3 and says how to report it."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr("gpumon.targets.target.open_target", broken)
    assert run(["status"]) == 3
    assert "unexpected RuntimeError: oh (run again with --debug" in capsys.readouterr().err
    with pytest.raises(RuntimeError):
        run(["--debug", "status"])


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    """``| head -1`` is no error, and ends what would go on."""
    with subprocess.Popen(
        [*GPUMON, "status", "sim:8xB200", "-o", "ndjson", "-w", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_a_pipe_that_broke_elsewhere_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only the reader of what is printed may leave unnoticed."""

    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("gpumon.targets.target.open_target", broken)
    assert run(["status"]) == 3
    assert "Broken pipe" in capfd.readouterr().err


def test_status_as_a_table_off_a_terminal() -> None:
    """No colour, no truncation, no trailing blanks; SIMULATED first."""
    done = gpumon("status", "sim:8xGB200")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "SIMULATED: no hardware was measured"
    assert "8 GPUs, all fine" in lines[1]
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    assert all(line == line.rstrip() for line in lines)
    assert sum("GB200" in line for line in lines[2:]) == 8
    assert re.search(r"\d / 1,200 W", lines[3])


def test_status_in_the_formats_for_programs() -> None:
    """One document, its rows, its lines, and the exposition."""
    document = json.loads(gpumon("status", "sim:2xH100", "-o", "json").stdout)
    assert document["schema"] == 1
    assert [gpu["gpu"] for gpu in document["gpus"]] == [0, 1]
    line = gpumon("status", "sim:2xH100", "-o", "ndjson").stdout
    assert line.count("\n") == 1
    assert json.loads(line).keys() == document.keys()
    rows = list(csv.DictReader(io.StringIO(gpumon("status", "sim:2xH100", "-o", "csv").stdout)))
    assert [row["gpu"] for row in rows] == ["0", "1"]
    assert float(rows[0]["power_watts"]) > 0
    assert rows[0]["fan_speed_ratio"] == ""
    assert int(rows[0]["clock_hertz.sm"]) > 1e8
    exposition = Exposition(gpumon("status", "sim:2xH100", "-o", "prom").stdout)
    assert (exposition.value("gpumon_gpu_power_watts", gpu="0") or 0) > 0


def test_a_replay_is_shown_as_it_ends(tmp_path: Path) -> None:
    """The whole log counts, unless a speed is given."""
    log = tmp_path / "log.csv"
    rows = [f"2025/01/01 00:00:{s:02}.000, 100.00 W\n" for s in range(11)]
    log.write_text("timestamp, power.draw [W]\n" + "".join(rows))
    target = f"replay:{log},gpus=1"
    at_the_end = json.loads(gpumon("status", target, "-o", "json").stdout)
    assert at_the_end["gpus"][0]["energy_joules"] == 1000
    at_first = json.loads(gpumon("status", f"{target},speed=1", "-o", "json").stdout)
    assert at_first["gpus"][0]["energy_joules"] == 0


@pytest.mark.e2e
def test_status_asks_the_driver_where_no_agent_runs(driver: FakeDriver) -> None:
    """And returns at once although one GPU hangs, which it says."""
    driver.hang(1)
    try:
        done = gpumon("status", "nvml", "-o", "json", env=driver.env())
    finally:
        driver.release()
    assert done.returncode == 0, done.stderr
    gpus = json.loads(done.stdout)["gpus"]
    assert sum(gpu["power_watts"] == 68.57 for gpu in gpus) == 7
    assert [gpu["state"] for gpu in gpus].count("hung") == 1
    assert "nvmlDeviceGetHandleByIndex has not returned since" in gpus[1]["reason"]
    assert gpus[1]["reason"].endswith("without persistence mode it may take seconds to start)")


@pytest.mark.e2e
def test_status_and_record_ask_an_agent(tmp_path: Path) -> None:
    """By HOST:PORT and by URL; what was recorded can be looked at."""
    with run_agent(tmp_path, "sim:2xH200") as agent:
        by_host = json.loads(gpumon("status", agent.target, "-o", "json").stdout)
        by_url = json.loads(gpumon("status", agent.url + "/", "-o", "json").stdout)
        file = tmp_path / "own.ndjson.gz"
        recorded = gpumon("record", agent.target, "-f", str(file), "--duration", "2")
    assert by_host["gpus"][0]["uuid"] == by_url["gpus"][0]["uuid"]
    assert recorded.returncode == 0
    assert re.search(r"[23] snapshots in ", recorded.stderr)
    seen = json.loads(gpumon("status", f"replay:{file}", "-o", "json").stdout)
    assert seen["gpus"][0]["uuid"] == by_host["gpus"][0]["uuid"]
    assert seen["gpus"][0]["energy_joules"] >= by_host["gpus"][0]["energy_joules"]


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    """Nothing is lost by a second run of the same command."""
    file = tmp_path / "a.ndjson"
    file.write_text("precious")
    done = gpumon("record", "sim:1xH100", "-f", str(file), "--duration", "1")
    assert done.returncode == 2
    assert "is there already: choose another name" in done.stderr
    assert file.read_text() == "precious"


def test_watching_writes_one_header_and_a_row_each_time() -> None:
    """Flushed as it comes, until it is interrupted."""
    with subprocess.Popen(
        [*GPUMON, "status", "sim:1xH100", "-o", "csv", "-w", "0.1"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(2)
        process.stdout.read()
        assert process.wait(30) == 130
    assert lines[0].startswith("snapshot_time,")
    assert all(not line.startswith("snapshot_time") for line in lines[1:])


def test_the_catalogue_is_listed() -> None:
    """As a table, as JSON, and as the reference."""
    table = gpumon("metrics").stdout
    assert re.search(r"^gpumon_gpu_power_watts +gauge +core +Power drawn", table, re.MULTILINE)
    listed = json.loads(gpumon("metrics", "-o", "json", "--tier", "core").stdout)["metrics"]
    assert {row["tier"] for row in listed} == {"core"}
    power = next(row for row in listed if row["name"] == "gpumon_gpu_power_watts")
    assert power["unit"] == "watts"
    assert power["labels"] == ["gpu", "uuid"]


def test_what_another_version_had_is_compared(tmp_path: Path) -> None:
    """1 where a query would find something else than before; what is new breaks none."""
    file = tmp_path / "metrics.json"
    listed = json.loads(gpumon("metrics", "-o", "json").stdout)["metrics"]
    file.write_text(json.dumps({"schema": 1, "metrics": listed[1:]}))
    done = gpumon("metrics", "--diff", str(file))
    new = f"new      {listed[0]['name']}\n0 gone or changed, 1 new\n"
    assert (done.returncode, done.stdout) == (0, new)
    # Earlier versions wrote the list by itself.
    listed[0]["labels"] = ["gpu"]
    listed[0]["help"] = "Other words."
    listed[1]["name"] = "gpumon_old"
    file.write_text(json.dumps(listed))
    done = gpumon("metrics", "--diff", str(file))
    assert done.returncode == 1
    gone, changed, new, sum_ = done.stdout.splitlines()
    assert gone == "gone     gpumon_old"
    assert changed.startswith(f"changed  {listed[0]['name']}: labels was gpu, is gpu, uuid")
    assert "help" not in changed
    assert new.startswith("new      gpumon_")
    assert sum_ == "2 gone or changed, 1 new"
    # A shorter list is compared with as much; what was not told before is no change.
    core = [
        {key: value for key, value in row.items() if key != "states"}
        for row in json.loads(gpumon("metrics", "-o", "json", "--tier", "core").stdout)["metrics"]
    ]
    file.write_text(json.dumps(core))
    done = gpumon("metrics", "--diff", str(file), "--tier", "core")
    assert (done.returncode, done.stdout) == (0, "0 gone or changed, 0 new\n")
    for text in ("{}", "[1]", '{"metrics": 1}', "no JSON", '[{"name": "gpumon_gpu_up"}]', ""):
        file.write_text(text)
        done = gpumon("metrics", "--diff", str(file))
        assert (done.returncode, done.stdout) == (2, "")
        assert "is not a list of metrics: write one with" in done.stderr


def test_the_metric_reference_is_fresh() -> None:
    """``make docs`` writes it."""
    written = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert written.read_text("utf-8") == gpumon("metrics", "-o", "markdown").stdout


def test_the_configuration_is_under_the_environment_which_is_under_the_flag(
    tmp_path: Path,
) -> None:
    """Flag > GPUMON_* > file > default, shown by which one is refused."""
    file = tmp_path / "gpumon.toml"
    file.write_text('[agent]\nsource = "from-file"\nweb.listen-address = "127.0.0.1:0"\n')
    by_file = gpumon("--config", str(file), "agent")
    assert "unknown source 'from-file'" in by_file.stderr
    env = {"GPUMON_SOURCE": "from-env", "GPUMON_CONFIG": str(file)}
    assert "unknown source 'from-env'" in gpumon("agent", env=env).stderr
    flag = gpumon("agent", "--source", "from-flag", env=env)
    assert "unknown source 'from-flag'" in flag.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[agent]\nsorce = 'nvml'\n", "unknown key 'sorce' in [agent]"),
        ("[agent]\nsorce = 'nvml'\n", "did you mean source"),
        ("[agnet]\n", "unknown table [agnet]"),
        ("agent = 3\n", "agent is not a table"),
        ("[agent\n", "line 1"),
        ("[agent]\ninterval = 'often'\n", "'often' is not a valid float"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path: Path, text: str, words: str) -> None:
    """Which key, and the nearest known one."""
    file = tmp_path / "gpumon.toml"
    file.write_text(text)
    done = gpumon("--config", str(file), "agent")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["agent", "--interval", "nan"], "is not a number of seconds"),
        (["status", "-w", "nan", "sim:1xH100"], "is not a number of seconds"),
        (["record", "--duration", "inf", "-f", "x", "sim:1xH100"], "is not a number of seconds"),
        (["sim:8xH100"], "see gpumon status sim:8xH100"),
        (["status", "http://[::1"], "is gpumon agent running there"),
    ],
)
def test_more_bad_input(argv: list[str], words: str) -> None:
    """What passes every comparison, and what was nearly right."""
    done = gpumon(*argv)
    assert done.returncode in (2, 3)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_misspelt_variable_is_an_error() -> None:
    """As a misspelt key of the file is: else it would be ignored in silence."""
    done = gpumon("agent", env={"GPUMON_WEB_LISTEN_ADRESS": ":1"})
    assert done.returncode == 2
    assert "did you mean GPUMON_WEB_LISTEN_ADDRESS" in done.stderr


def test_a_full_disk_is_not_our_bug() -> None:
    """It is said in a line."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [*GPUMON, "status", "sim:1xH100"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 3
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_target_that_does_not_answer_leaves_no_file(tmp_path: Path) -> None:
    """So that the same command can be tried again."""
    file = tmp_path / "a.ndjson"
    assert gpumon("record", "127.0.0.1:1", "-f", str(file), "--duration", "1").returncode == 3
    assert not file.exists()


@pytest.mark.e2e
def test_nothing_in_the_current_folder_is_run(tmp_path: Path, driver: FakeDriver) -> None:
    """Root may type gpumon in a folder that anybody can write to."""
    (tmp_path / "pynvml.py").write_text("raise SystemExit('poisoned')")
    (tmp_path / "select.py").write_text("raise SystemExit('poisoned')")
    entry = "import sys; sys.path[:1] = []; from gpumon.cli import run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", entry, "status", "nvml", "-o", "json"],
        cwd=tmp_path,
        env={**os.environ, **driver.env()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["gpus"]) == 8


@pytest.mark.e2e
def test_the_newest_reading_is_shown_however_rarely_one_looks(driver: FakeDriver) -> None:
    """The reader reads on between two looks; what it said meanwhile is not shown late."""
    with subprocess.Popen(
        [*GPUMON, "status", "nvml", "-o", "ndjson", "-w", "3"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **driver.env()},
    ) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(2)
        process.stdout.read()
    assert all(gpu["age_seconds"] < 2 for look in looks for gpu in look["gpus"])
    times = [look["time"] for look in looks]
    assert times[0] < times[1] < times[2]


@pytest.mark.e2e
def test_a_node_whose_driver_is_away_could_not_be_told(tmp_path: Path) -> None:
    """The view says why, and the exit code that there is no answer."""
    with run_agent(
        tmp_path,
        "nvml",
        "--expected-gpus",
        "8",
        env={"LD_LIBRARY_PATH": str(tmp_path)},
        ready=False,
    ) as agent:
        wait_for(lambda: "libnvidia-ml" in agent.log, 15, "the log line")
        done = gpumon("status", agent.target)
    assert done.returncode == 3
    assert "0 of 8 GPUs fine" in done.stdout
    assert "libnvidia-ml.so.1 was not found" in done.stdout
