"""One rule for the variables of the environment: known to any command, or an error."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from gpumon.cli import COMMANDS, cli
from gpumon.cli.variables import KNOWN, OF_OPTIONS, OTHERS, check_environment
from gpumon.errors import UsageError
from tests.support.servers import ROOT


def variables(command: click.Command) -> Iterator[str]:
    """Yield the variables of a command's options, and of its commands."""
    yield from (str(p.envvar) for p in command.params if p.envvar)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from variables(inner)


def test_the_list_is_that_of_all_options() -> None:
    """It stands apart so that no command has to import all others."""
    found: set[str] = set()
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        found |= set(variables(command))
    assert found == set(OF_OPTIONS)
    assert not found & set(OTHERS)


def test_what_hooks_and_examples_read_is_known() -> None:
    """A node's prolog and its agent may share an environment."""
    import re

    files = [f for f in (ROOT / "deploy").rglob("*") if f.is_file()]
    read = {
        v for f in files for v in re.findall(r"GPUMON_[A-Z_]+", f.read_text("utf-8", "replace"))
    }
    assert read <= {*KNOWN}


@pytest.mark.parametrize("name", ["GPUMON_RUNBOOK_URL", "GPUMON_SITE", "GPUMON_NODES"])
def test_another_commands_variable_stops_nobody(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It is that command's business, not the agent's."""
    monkeypatch.setenv(name, "1")
    check_environment()


def test_a_misspelt_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the nearest that there is."""
    monkeypatch.setenv("GPUMON_TRESHOLDS", "x")
    with pytest.raises(UsageError, match="did you mean GPUMON_THRESHOLDS"):
        check_environment()


@pytest.mark.parametrize(
    "argv",
    [
        ["check", "sim:1xH100"],
        ["status", "sim:1xH100"],
        ["sim:1xH100"][:0],
        ["agent", "--source", "sim:1xH100"],
        ["rules", "export"],
        ["dashboards", "list"],
        ["report"],
    ],
    ids=lambda argv: " ".join(argv) or "gpumon",
)
def test_every_command_says_it(argv: list[str]) -> None:
    """Usage error, one line, and nothing is done."""
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", *argv],
        env={"PATH": "/usr/bin:/bin", "GPUMON_TRESHOLDS": "x"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "unknown variable GPUMON_TRESHOLDS" in done.stderr
