"""Completion in real shells, and what it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpumon.cli import COMMANDS
from gpumon.cli.completion import INSTALL, SHELLS
from tests.support.servers import require


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which gpumon is this one."""
    program = tmp_path / "bin" / "gpumon"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gpumon "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def script(shell: str, path: str) -> str:
    """Return a shell's script."""
    done = subprocess.run(
        ["gpumon", "completion", shell],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    assert not done.stderr
    return done.stdout


IN_BASH = """
eval "$(gpumon completion bash)"
COMP_WORDS=({words}) COMP_CWORD={last}
_gpumon_completion gpumon "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "among"),
    [
        ("gpumon s", {"simulate", "site", "status"}),
        ("gpumon status --so", {"--sort"}),
        ("gpumon status --sort m", {"margin", "memory"}),
        ("gpumon explain GpuL", {"GpuLost"}),
        ("gpumon check --only pcie", {"pcie-width"}),
        ("gpumon dashboards pu", {"push"}),
    ],
)
def test_bash_completes_commands_options_and_words(path: str, words: str, among: set[str]) -> None:
    """In a bash that has read the script."""
    argv = words.split()
    text = IN_BASH.format(words=" ".join(argv), last=len(argv) - 1)
    done = subprocess.run(
        ["bash", "--norc", "-c", text],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    found = set(done.stdout.split())
    assert among <= found, done
    assert all(word.startswith(argv[-1]) for word in found)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_can_read_their_scripts(shell: str, path: str) -> None:
    """By the shell itself, where it is installed."""
    text = script(shell, path)
    assert "gpumon" in text
    done = subprocess.run([require(shell), "-n", "-c", text], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_a_name_it_is_this_shells(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """By $SHELL; where that is none of them, a line says which there are."""
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    fish = script("fish", path)
    env = {**os.environ, "PATH": path}
    own = subprocess.run(
        ["gpumon", "completion"], capture_output=True, text=True, check=True, env=env
    )
    assert own.stdout == fish
    done = subprocess.run(
        ["gpumon", "completion"],
        capture_output=True,
        text=True,
        check=False,
        env={**env, "SHELL": "/bin/tcsh"},
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name one of bash, zsh, fish" in done.stderr


def test_the_help_says_where_each_shell_looks_for_it() -> None:
    """One line for each."""
    assert set(INSTALL) == set(SHELLS)


COMPLETING = """
import sys
from gpumon.cli import run
try:
    run([])
except SystemExit:
    pass
heavy = {"pynvml", "prometheus_client", "rich", "httpx", "uvicorn", "starlette", "asyncio", "yaml"}
commands = {name for name in sys.modules if name.startswith("gpumon.cli.")}
print("LOADED", sorted(heavy & set(sys.modules)), len(commands))
"""


@pytest.mark.parametrize(("words", "modules"), [("gpumon ", 0), ("gpumon status --s", 3)])
def test_completing_loads_nothing_heavy(words: str, modules: int) -> None:
    """A name needs no command, an option only its own."""
    done = subprocess.run(
        [sys.executable, "-c", COMPLETING],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "_GPUMON_COMPLETE": "zsh_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
    )
    *found, loaded = done.stdout.splitlines()
    assert loaded == f"LOADED [] {modules}"
    assert found
    if modules == 0:
        assert set(COMMANDS) <= set(found)
