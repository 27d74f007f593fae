"""Whatever the command, what it cannot do is one line with the next step, and an exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gpumon.cli import COMMANDS

WRONG = {
    "agent": (["--source", "nvlm"], 2),
    "check": (["sim:2xH100", "--only", "nosuch"], 2),
    "completion": (["tcsh"], 2),
    "dashboards": (["export", "nosuch"], 2),
    "demo": (["--source", "sim:8xH1000"], 2),
    "doctor": (["--prometheus", "x"], 2),
    "events": (["--kind", "nonsense", "--state-dir", "/nonexistent"], 2),
    "explain": (["nosuchword"], 2),
    "info": (["sim:2xH100", "7"], 2),
    "install": (["--set", "teir=full"], 2),
    "metrics": (["--tier", "x"], 2),
    "ps": (["127.0.0.1:1"], 3),
    "record": (["sim:1xH100", "-f", "/nonexistent/run.ndjson"], 3),
    "release": (["--state-dir", "/nonexistent"], 3),
    "report": (["--by", "nonsense"], 2),
    "resume": (["--state-dir", "/nonexistent"], 3),
    "rules": (["check", "/nonexistent.yml"], 3),
    "simulate": (["--fault", "x@y"], 2),
    "site": (["--site", "/nonexistent.toml"], 3),
    "status": (["prom:x"], 2),
    "top": (["sim:2xH100"], 2),  # off a terminal
    "uninstall": (["--nonsense"], 2),
}


def test_every_command_is_among_them() -> None:
    """A new one says from its first day what is wrong."""
    assert sorted(WRONG) == sorted(COMMANDS)


@pytest.mark.parametrize("name", WRONG)
def test_it_is_one_line_and_no_traceback(name: str) -> None:
    """2 where the question was wrong, 3 where there is no answer; stdout stays empty."""
    argv, code = WRONG[name]
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", name, *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    lines = [line for line in done.stderr.splitlines() if "level=" not in line]
    assert (done.returncode, done.stdout, len(lines)) == (code, "", 1), done.stderr
    assert lines[0].startswith("gpumon: ")
    assert ":" in lines[0].removeprefix("gpumon: ")
