"""``gpumon check``: its forms, its exit codes, and what it says of a sick node."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import jsonschema
import pytest

from gpumon.checks.registry import NAMES
from gpumon.cli import run
from gpumon.model import Snapshot
from gpumon.targets.driver import DriverTarget
from tests.fakenvml import FakeDriver
from tests.support.documents import definition
from tests.support.servers import run_agent, wait_for

GPUMON = [sys.executable, "-m", "gpumon"]
SCHEMA = definition("check")
ENOUGH = ("--timeout", "20")
"""For a machine that has other things to do; how fast it is at its own pace is tried below."""


def check(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, off a terminal."""
    return subprocess.run(
        [*GPUMON, "check", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**off_terminal(), "COLUMNS": "80", **(env or {})},
    )


def off_terminal() -> dict[str, str]:
    """Return the environment without what makes a pipe look like a terminal to rich."""
    return {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}


def checked(*args: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the document, held against the published schema."""
    done = check(*args, "-o", "json", env=env)
    document: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["exit_code"] == done.returncode
    return done.returncode, document


def failed(document: dict[str, Any]) -> list[tuple[str, int | None]]:
    """Return what failed, by check and GPU."""
    return [(v["check"], v["gpu"]) for v in document["verdicts"] if v["level"] == "fail"]


class TestExitCodes:
    """Each one provoked."""

    def test_fine(self) -> None:
        """0, on simulated GPUs that are well."""
        code, document = checked("sim:2xH100")
        assert (code, document["verdict"], document["simulated"]) == (0, "ok", True)
        assert document["counts"]["pass"] > 20

    def test_trouble(self) -> None:
        """1, for a GPU that is missing."""
        code, document = checked("sim:2xH100", "--expected-gpus", "8")
        assert (code, document["verdict"]) == (1, "trouble")
        assert failed(document) == [("count", None)]

    def test_a_warning_is_trouble_only_where_somebody_says_so(self) -> None:
        """0, or 1 with ``--level warn``."""
        target = "sim:1xH100,power_limit=400"
        code, document = checked(target, "--only", "limit")
        assert (code, document["verdict"]) == (0, "warning")
        code, document = checked(target, "--only", "limit", "--level", "warn")
        assert (code, document["verdict"]) == (1, "trouble")

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (["--only", "ec", "sim:1xH100"], "did you mean ecc?"),
            (["--skip", ",".join(NAMES), "sim:1xH100"], "no check is left"),
            (["--level", "info", "sim:1xH100"], "--level"),
            (["--minor", "x", "sim:1xH100"], "write the numbers of /dev/nvidiaN"),
            (["--timeout", "nan", "sim:1xH100"], "is not a number of seconds"),
            (["--slurm-gpus", "0-1", "sim:1xH100"], "give it what SLURM_JOB_GPUS has"),
            (["--window", "1", "sim:1xH100"], "--window"),
            (["sim:8xH1000"], "did you mean H100"),
            (["--thresholds", "/dev/null", "-o", "xml", "sim:1xH100"], "xml"),
        ],
    )
    def test_wrong_usage(self, args: list[str], words: str) -> None:
        """2, in one line."""
        done = check(*args)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert words in done.stderr

    def test_could_not_tell(self) -> None:
        """3: no agent there, no recording, no driver; the answer is in the form asked for."""
        code, document = checked("127.0.0.1:1")
        assert (code, document["verdict"], document["node"]) == (3, "unknown", "")
        assert "is gpumon agent running there" in document["verdicts"][0]["evidence"]
        assert check("replay:/no/such/file,gpus=1").returncode == 3
        code, _ = checked("nvml", env={"LD_LIBRARY_PATH": "/nonexistent"})
        assert code == 3

    def test_a_driver_that_is_missed_is_trouble(self) -> None:
        """1, where somebody says that there should be GPUs."""
        env = {"LD_LIBRARY_PATH": "/nonexistent"}
        code, document = checked("nvml", "--expected-gpus", "8", env=env)
        assert (code, failed(document)) == (1, [("driver", None)])

    @pytest.mark.parametrize(
        ("args", "code", "word"),
        [
            (["sim:2xH100"], 0, "OK"),
            (["sim:1xH100,power_limit=400"], 1, "WARNING"),
            (["sim:2xH100", "--expected-gpus", "8"], 2, "CRITICAL"),
            (["sim:1xH100,power_limit=400", "--level", "warn"], 2, "CRITICAL"),
            (["127.0.0.1:1"], 3, "UNKNOWN"),
        ],
    )
    def test_those_of_nagios(self, args: list[str], code: int, word: str) -> None:
        """0, 1, 2 or 3, the word, and performance data after one bar."""
        done = check(*args, "--nagios")
        assert done.returncode == code
        first = done.stdout.splitlines()[0]
        assert first.startswith(f"GPUMON {word} - ")
        text, bar, data = first.partition(" | ")
        assert bar
        assert "|" not in text + data
        assert re.fullmatch(r"fail=\d+ warn=\d+ skip=\d+ pass=\d+", data)
        assert "|" not in "".join(done.stdout.splitlines()[1:])


def test_off_a_terminal_without_colour_or_truncation() -> None:
    """However narrow the terminal would be."""
    done = check("sim:72xB200", "-v", env={"COLUMNS": "20"})
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "SIMULATED: no hardware was measured"
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    assert all(line == line.rstrip() for line in lines)
    assert len([line for line in lines if line.startswith(("PASS", "SKIP"))]) == 6 + 72 * 20


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    """``| head`` is no error."""
    with subprocess.Popen(
        [*GPUMON, "check", "sim:72xB200", "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_what_passed_is_one_line_unless_asked_for() -> None:
    """The worst stands first, with what to do and where to read on."""
    done = check("sim:2xH100,power_limit=400", "--expected-gpus", "3")
    lines = done.stdout.splitlines()
    assert lines[1].split()[:3] == ["FAIL", "node", "count"]
    assert "(gpumon explain GpuMissing)" in lines[2]
    assert lines[3].split()[:4] == ["WARN", "GPU", "0", "limit"]
    assert "power limit 400 of 700 W" in lines[3]
    assert not [line for line in lines if line.startswith("PASS")]
    assert re.search(r": TROUBLE: 1 failed, 2 warned, \d+ skipped, \d+ passed$", lines[-1])


def test_one_line_says_what_is_wrong() -> None:
    """For a scheduler's reason."""
    done = check("sim:2xH100", "--expected-gpus", "8", "-o", "line")
    assert (done.returncode, done.stdout) == (1, "node: 2 of 8 GPUs are there\n")
    assert re.fullmatch(r"\d+ checks passed\n", check("sim:1xH100", "-o", "line").stdout)


def test_the_checks_are_listed() -> None:
    """By name, for people and for programs."""
    listed = check("--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(NAMES)
    rows = json.loads(check("--list", "--only", "margin,xid", "-o", "json").stdout)["checks"]
    assert [row["check"] for row in rows] == ["xid", "margin"]
    assert rows[1]["thresholds"] == ["heat.margin_low_celsius", "heat.hbm_celsius"]


def test_every_check_can_be_explained_and_completed(capsys: pytest.CaptureFixture[str]) -> None:
    """And so can every alert."""
    from gpumon.cli.check import command
    from gpumon.views.explain import names

    for name in NAMES:
        assert run(["explain", name]) == 0
        assert f"gpumon check --only {name}" in capsys.readouterr().out
        assert name in names()
    assert {"GpuLost", "79", "sw_power_cap", "gpumon_gpu_power_watts"} <= set(names())
    (only,) = [parameter for parameter in command.params if parameter.name == "only"]
    completed = only.shell_complete(click.Context(command), "state,rem")
    assert [item.value for item in completed] == ["state,remap"]


ENDLESS_SECONDS = 15.0
"""As long as a look at the driver takes where nobody gives it a deadline."""


@pytest.mark.e2e
class TestDriver:
    """Without an agent, through the real binding over the fake driver."""

    def test_a_hung_a_lost_and_six_healthy_gpus(self, driver: FakeDriver) -> None:
        """It says what is wrong with which, and nothing of the others."""
        driver.hang(3)
        driver.lose(5)
        code, document = checked("nvml", *ENOUGH, env=driver.env())
        driver.release()
        assert code == 1
        assert failed(document) == [("state", 3), ("state", 5)]
        said = {v["gpu"]: v for v in document["verdicts"] if v["level"] == "fail"}
        assert "hung: nvmlDeviceGetHandleByIndex has not returned" in said[3]["evidence"]
        assert said[3]["alert"] == "GpuHung"
        assert "lost: nvmlDeviceGetHandleByIndex: GPU is lost" in said[5]["evidence"]
        assert said[5]["next_step"].startswith("Drain the node and reboot it")
        well = {v["gpu"] for v in document["verdicts"] if v["level"] == "pass"} - {None}
        assert well == {0, 1, 2, 4, 6, 7}

    def test_it_answers_though_a_call_never_returns(
        self, driver: FakeDriver, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """On the sick node, from typing it to the prompt; how long each of three took is printed.

        A call that began late on such a machine is not hung yet; which GPU it is, is said.
        """
        driver.hang(3)
        driver.lose(5)
        took, said = [], []
        for _ in range(3):
            began = time.monotonic()
            done = check("nvml", "-o", "line", env=driver.env())
            took.append(time.monotonic() - began)
            said.append(done.stdout)
            assert done.returncode in (1, 3)
        driver.release()
        both = [text for text in said if "GPU 3: " in text and "GPU 5: lost" in text]
        assert both, said
        with capsys.disabled():
            sys.stdout.write(f"\ncheck of a sick node: {', '.join(f'{s:.2f} s' for s in took)}\n")
        # The figure of two seconds is for a machine that does nothing else.
        assert min(took) < ENDLESS_SECONDS

    def test_a_driver_that_stands_still_could_not_be_asked(self, driver: FakeDriver) -> None:
        """3, and not for ever."""
        driver.hang("all")
        done = check("nvml", "--nagios", env=driver.env())
        driver.release()
        assert done.returncode == 3
        assert "the driver does not answer" in done.stdout

    @pytest.mark.newest_binding
    def test_each_gpu_by_its_own_readings(self, driver: FakeDriver) -> None:
        """What the driver says of a GPU is what the checks say of it."""
        with driver.batch():
            driver.set(0, "field.230", 2)
            driver.set(1, "field.144", 1)
            driver.set(2, "field.165.7", 0)
            driver.set(3, "pcie.link_width", 8)
            driver.set(4, "margin_temperature", 2)
            driver.set(5, "persistence_mode", 0)
            driver.set(6, "ecc.1.0.2", 3)
            driver.set(7, "field.190", 500_000)
        code, document = checked("nvml", *ENOUGH, env=driver.env())
        assert code == 1
        found = {
            (v["gpu"], v["check"], v["level"])
            for v in document["verdicts"]
            if v["level"] in ("fail", "warn")
        }
        assert found == {
            (0, "recovery", "fail"),
            (1, "remap", "warn"),
            (2, "nvlink", "fail"),
            (3, "pcie-width", "warn"),
            (4, "margin", "warn"),
            (5, "persistence", "warn"),
            (6, "ecc", "warn"),
            (7, "limit", "warn"),
        }
        code, document = checked("nvml", *ENOUGH, "--minor", "1,3", env=driver.env())
        assert (code, failed(document)) == (0, [])

    def test_settings_and_slowdowns_by_the_drivers_word(self, driver: FakeDriver) -> None:
        """ECC that was switched off, now or for the next reset; a slowdown without its cause."""
        with driver.batch():
            driver.set("*", "field.1", 1)
            driver.set("*", "field.2", 1)
            driver.set("*", "ecc_mode_default", 1)
            driver.set(0, "field.1", 0)
            driver.set(0, "field.2", 0)
            driver.set(1, "field.2", 0)
            driver.set(2, "clocks_event_reasons", 0x8)
            driver.set(3, "margin_temperature", 0)
            driver.set(4, "field.1", 0)
            driver.set(4, "field.2", 0)
            driver.set(4, "ecc_mode_default", 0)
        _, document = checked("nvml", *ENOUGH, env=driver.env())
        found = {
            (v["gpu"], v["check"], v["level"], v["alert"])
            for v in document["verdicts"]
            if v["level"] in ("fail", "warn")
        }
        assert found == {
            (0, "ecc-mode", "warn", "GpuEccOff"),
            (1, "ecc-mode", "warn", "GpuEccOff"),
            (2, "throttle", "fail", "GpuHardwareSlowdown"),
            (3, "margin", "fail", "GpuMarginLow"),
        }

    @pytest.mark.parametrize(("numbers", "sick"), [("0,2", False), ("1", True), ("3,1", True)])
    def test_a_prologs_numbers_are_those_of_gres_conf(
        self, tmp_path: Path, driver: FakeDriver, numbers: str, *, sick: bool
    ) -> None:
        """Neither minor numbers nor indices: the devices of its records, in their order."""
        (tmp_path / "gres.conf").write_text("Name=gpu File=/dev/nvidia[3,2,1,0]\n")
        driver.set(2, "field.230", 1)
        env = {**driver.env(), "SLURM_CONF": str(tmp_path / "slurm.conf")}
        code, document = checked("nvml", *ENOUGH, "--slurm-gpus", numbers, env=env)
        assert (code == 1) is sick
        assert {v["gpu"] for v in document["verdicts"] if v["gpu"] is not None} == {
            3 - int(number) for number in numbers.split(",")
        }

    def test_a_prologs_numbers_that_are_not_known_are_said(self, tmp_path: Path) -> None:
        """AutoDetect without slurmd's own word: could not tell, and nothing is drained for it."""
        (tmp_path / "gres.conf").write_text("Name=gpu File=/dev/nvidia[3,2,1,0\n")
        env = {**os.environ, "SLURM_CONF": str(tmp_path / "slurm.conf")}
        done = subprocess.run(
            [*GPUMON, "check", "sim:4xH100", "--slurm-gpus", "0"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        assert "which GPUs Slurm means by 0 is not known" in done.stderr

    def test_rates_by_a_second_look(
        self,
        driver: FakeDriver,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """New uncorrectable errors fail; those of before only warn.

        Errors come during the window, which ends once the reader has seen them: it asks for them
        every ten seconds.
        """
        driver.set(0, "ecc.1.0.2", 1)
        windows: list[float] = []
        read = DriverTarget.read

        def during(window: float) -> None:
            driver.set(1, "ecc.1.0.2", 2)
            windows.append(window)

        def seen(target: DriverTarget) -> Snapshot:
            snapshot = read(target)
            while windows and (snapshot.gpus[1].ecc_errors or {})["uncorrected", "dram"] != 2:
                snapshot = read(target)
            return snapshot

        for name, value in driver.env().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(
            "gpumon.cli.check.time",
            SimpleNamespace(sleep=during, monotonic=time.monotonic, time=time.time),
        )
        monkeypatch.setattr(DriverTarget, "read", seen)
        assert run(["check", "nvml", "--window", "22", *ENOUGH, "-o", "json"]) == 1
        document = json.loads(capsys.readouterr().out)
        jsonschema.validate(document, SCHEMA)
        levels = {v["gpu"]: v["level"] for v in document["verdicts"] if v["check"] == "ecc"}
        assert (levels[0], levels[1], levels[2]) == ("warn", "fail", "pass")
        assert windows == [22.0]


@pytest.mark.e2e
def test_an_agent_knows_the_xids_and_how_many_gpus_there_should_be(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """By HOST:PORT, with a hung GPU, and an Xid that was a moment ago."""
    with run_agent(tmp_path, "nvml", "--expected-gpus", "9", env=driver.env()) as agent:
        driver.raise_xid(1, 48)
        driver.raise_xid(2, 13)
        driver.hang(3)
        try:
            wait_for(
                lambda: agent.get("/api/v1/snapshot").json()["gpus"][3]["state"] == "hung",
                15,
                "GPU 3 to be hung",
            )
            code, document = checked(agent.target, *ENOUGH)
        finally:
            driver.release()
    assert code == 1
    assert failed(document) == [("count", None), ("xid", 1), ("state", 3)]
    (ours,) = [v for v in document["verdicts"] if (v["gpu"], v["check"]) == (2, "xid")]
    assert ours["level"] == "pass"
    assert "(an application's)" in ours["evidence"]
