"""Texts from outside do nothing to a terminal, and files that never end are not read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpumon.documents.read import parse, parse_strictly
from gpumon.errors import UsageError, printable

ESCAPE = "\x1b]0;mine\x07\x1b[2J\n"
"""Sets a terminal's title, clears it, and begins a line of its own."""


def gpumon(*argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run(
        [sys.executable, "-m", "gpumon", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env={**os.environ, **env},
    )


def test_an_error_is_one_line_whatever_it_quotes() -> None:
    """A file's name, a key, a node's name."""
    error = UsageError(f"{ESCAPE}: unknown", "write another")
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)
    assert printable("plain °C") == "plain °C"


@pytest.mark.parametrize("read", [parse, parse_strictly])
def test_json_of_others_is_harmless(read: Callable[[str], Any]) -> None:
    """Values and keys, escaped or raw, at any depth; all else is as it was."""
    document = {"name": ESCAPE, "deep": [{ESCAPE: "x\x9b1m", "°C": "a\\b"}]}
    for ascii_only in (True, False):
        text = json.dumps(document, ensure_ascii=ascii_only)
        found = read(text)
        shown = repr(found["name"]) + "".join(found["deep"][0])
        assert "\x1b" not in found["name"] + "".join(found["deep"][0]), shown
        assert found["deep"][0]["°C"] == "a\\b"


def test_a_logs_names_are_harmless(tmp_path: Path) -> None:
    """In every view of it."""
    log = tmp_path / "smi.csv"
    log.write_text(
        "timestamp, index, uuid, name, power.draw [W]\n"
        "2026/04/24 10:00:00.000, 0, GPU-a, H100\x1b]0;mine\x07, 100.00 W\n"
        "2026/04/24 10:00:01.000, 0, GPU-a, H100\x1b]0;mine\x07, 100.00 W\n"
    )
    for command in ("status", "info"):
        done = gpumon(command, f"replay:{log}")
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize("name", ["a\nb", "n\x1b]0;p\x07", "n" * 300])
def test_a_nodes_name_is_a_name(name: str) -> None:
    """What could not be one is refused, in one line."""
    done = gpumon("status", "sim:1xH100", GPUMON_NODE=name)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("option", ["--thresholds", "--config"])
@pytest.mark.parametrize("kind", ["pipe", "device", "deep", "latin-1", "digits"])
def test_a_file_that_is_no_toml_is_refused_at_once(tmp_path: Path, option: str, kind: str) -> None:
    """A pipe waits for ever, a device never ends; what cannot be read says why."""
    file = tmp_path / "odd.toml"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file = Path("/dev/zero")
    elif kind == "deep":
        file.write_text("a = " + "[" * 5000)
    elif kind == "digits":
        file.write_text("a = " + "9" * 5000)
    else:
        file.write_bytes(b"[heat]\n# \xe9\n")
    argv = ["check", option, str(file), "sim:1xH100"]
    if option == "--config":
        argv = [option, str(file), "check", "sim:1xH100"]
    done = gpumon(*argv)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "unexpected" not in done.stderr


def test_a_terminal_of_another_encoding_is_served() -> None:
    """Characters that it does not have are replaced."""
    for argv in (["info", "--help"], ["status", "sim:1xH100"]):
        done = gpumon(*argv, PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("argv", [["check", "--thresholds"], ["--config"]])
def test_the_null_device_is_an_empty_file(argv: list[str]) -> None:
    """It is how one says that there are no settings."""
    rest = ["sim:1xH100"] if argv[0] == "check" else ["check", "sim:1xH100"]
    done = gpumon(*argv, os.devnull, *rest)
    assert done.returncode == 0, done.stderr
