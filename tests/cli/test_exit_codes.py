"""Every exit code that there is: 0 fine, 1 trouble found, 2 wrong usage, 3 could not tell.

Each command's wrong usage is in test_wrong_usage; ``dashboards diff`` needs a Grafana, and is in
test_dashboards; ``check --nagios``, whose codes are of another world, is in test_check.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pipes import unread

GPUMON = [sys.executable, "-m", "gpumon"]


def ended(
    *argv: str, cwd: Path, stdout: int = subprocess.DEVNULL, stderr: int = subprocess.DEVNULL
) -> int:
    """Return how a command ends."""
    env = {**os.environ, "LD_LIBRARY_PATH": "/nonexistent"}
    return subprocess.run(
        [*GPUMON, *argv],
        cwd=cwd,
        env=env,
        stdout=stdout,
        stderr=stderr,
        check=False,
        timeout=60,
    ).returncode


CODES = {
    ("status", "sim:2xH100"): 0,
    ("check", "sim:2xH100"): 0,
    ("check", "sim:1xH100,power_limit=400"): 0,  # a warning is no failure
    ("check", "sim:1xH100,power_limit=400", "--level", "warn"): 1,
    ("check", "sim:2xH100", "--expected-gpus", "3"): 1,
    ("rules", "check"): 0,
    ("rules", "check", "bad.yml"): 1,
    ("metrics", "--diff", "same.json"): 0,
    ("metrics", "--diff", "more.json"): 1,
    ("status", "sim:2xH9000"): 2,
    ("status", "--nonsense"): 2,
    ("status", "nvml"): 3,
    ("status", "127.0.0.1:1"): 3,
    ("check", "nvml"): 3,
    ("events", "--state-dir", "none"): 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the commands are given."""
    folder = tmp_path_factory.mktemp("codes")
    (folder / "bad.yml").write_text(
        "groups: [{name: a, rules: [{record: 'a:b:c', expr: gpumon_nothing}]}]"
    )
    listed = json.loads(
        subprocess.run([*GPUMON, "metrics", "-o", "json"], capture_output=True, check=True).stdout
    )
    (folder / "same.json").write_text(json.dumps(listed))
    more = {"metrics": [*listed["metrics"], {**listed["metrics"][0], "name": "gpumon_old"}]}
    (folder / "more.json").write_text(json.dumps(more))
    return folder


@pytest.mark.parametrize("argv", CODES, ids=" ".join)
def test_a_command_ends_with_the_code_that_scripts_rely_on(
    argv: tuple[str, ...], folder: Path
) -> None:
    """Without a driver, on a machine without an agent."""
    assert ended(*argv, cwd=folder) == CODES[argv]


@pytest.mark.parametrize("argv", CODES, ids=" ".join)
def test_the_code_is_the_same_where_nobody_reads(argv: tuple[str, ...], folder: Path) -> None:
    """``gpumon check | head -1`` of a sick node is not fine, and of a healthy one no trouble."""
    with unread() as stdout:
        assert ended(*argv, cwd=folder, stdout=stdout) == CODES[argv]
    with unread() as both:
        assert ended(*argv, cwd=folder, stdout=both, stderr=both) == CODES[argv]


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["check", "--help"]], ids=" ".join)
def test_help_that_nobody_reads_is_no_trouble(argv: list[str], tmp_path: Path) -> None:
    """As with ``gpumon --help | head -3``."""
    with unread() as stdout:
        assert ended(*argv, cwd=tmp_path, stdout=stdout) == 0


def test_ctrl_c_is_130() -> None:
    """Once it has begun to answer."""
    argv = [*GPUMON, "status", "sim:1xH100", "-w", "0.1", "-o", "ndjson"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 130
