"""Completion in real shells, and what it loads."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gpumon.cli import COMMANDS
from gpumon.cli.bash import joined
from gpumon.cli.completion import INSTALL, SHELLS
from tests.support.servers import require, wait_for


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
        ("gpumon check --only state,xi", {"state,xid"}),
        ("gpumon explain xi", {"xid"}),
        ("gpumon explain xid 7", {"74", "79"}),
        ("gpumon explain gpumon_gpu_power_w", {"gpumon_gpu_power_watts"}),
        ("gpumon dashboards pu", {"push"}),
        ("gpumon completion z", {"zsh"}),
        ("gpumon doctor --gr", {"--grafana"}),
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


AT_A_TERMINAL = r"""
eval "$(gpumon completion bash)"
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
bind -x '"\C-g": printf %s "$READLINE_LINE" > {file}.new; mv {file}.new {file}'
COMP_WORDBREAKS={breaks}
"""

BECOMES = {
    "gpumon sta": "gpumon status ",
    "gpumon status sim:8xH2": "gpumon status sim:8xH200 ",
    "gpumon status sim:8xh2": "gpumon status sim:8xH200 ",
    "gpumon status sim:1xA100 sim:8xH2": "gpumon status sim:1xA100 sim:8xH200 ",
    "gpumon agent --source sim:GB2": "gpumon agent --source sim:GB200 ",
    "gpumon check sim:8xH100 --only sta": "gpumon check sim:8xH100 --only state ",
}
"""What is typed, and what the line is after TAB."""


@pytest.mark.parametrize("breaks", ["$COMP_WORDBREAKS", "' '"], ids=["as-ever", "no-colon"])
def test_a_word_with_a_colon_becomes_what_was_meant(path: str, tmp_path: Path, breaks: str) -> None:
    """By TAB at a terminal: bash replaces what is behind the colon only, unless told otherwise."""
    file, rc = tmp_path / "line", tmp_path / "rc"
    rc.write_text(AT_A_TERMINAL.format(file=file, breaks=breaks))
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb", buffering=0) as keys:
        bash = subprocess.Popen(
            ["bash", "--noprofile", "--rcfile", str(rc), "-i"],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PATH": path, "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(theirs)
        try:
            for typed, whole in BECOMES.items():
                keys.write(f"{typed}\t\a".encode())
                wait_for(file.exists, 20, f"what becomes of {typed}")
                assert file.read_text() == whole
                file.unlink()
                keys.write(b"\x15")  # Ctrl-U: the line goes, and is not run
        finally:
            bash.kill()
            bash.wait()


def test_a_wrong_configuration_is_no_matter_for_tab(path: str, tmp_path: Path) -> None:
    """Else its complaint would stand in the middle of the line that is typed."""
    config = tmp_path / "gpumon.toml"
    config.write_text("[agent]\nintervall = 2\n")
    done = subprocess.run(
        ["bash", "--norc", "-c", IN_BASH.format(words="gpumon agent --in", last=2)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path, "GPUMON_CONFIG": str(config), "GPUMON_NONSENSE": "1"},
    )
    assert (done.stdout, done.stderr) == ("--interval\n", "")


def test_words_are_put_together_at_colons_only() -> None:
    """As bash splits them (COMP_WORDBREAKS); what stands alone stays alone."""
    assert joined(["a", "sim", ":", "8xH", "b"]) == ["a", "sim:8xH", "b"]
    assert joined(["a", "http", ":", "//x", ":", "1"]) == ["a", "http://x:1"]
    assert joined(["a", "sim", ":"]) == ["a", "sim:"]
    assert joined(["a", "b", "c"]) == ["a", "b", "c"]


def test_fish_completes_too(path: str) -> None:
    """In a fish that has read the script."""
    text = "gpumon completion fish | source; complete -C 'gpumon status sim:8xH2'"
    done = subprocess.run(
        [require("fish"), "-c", text],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    assert done.stdout.split() == ["sim:8xH200"]


IN_ZSH = """
compdef() {{ :; }}
eval "$(gpumon completion zsh)"
compadd() {{ print -l -- $completions; }}
_describe() {{ print -l -- $completions_with_descriptions; }}
words=({words}) CURRENT=$#words
_gpumon_completion
"""


@pytest.mark.parametrize(
    ("words", "among"),
    [("gpumon status sim:8xH2", "sim:8xH200"), ("gpumon sta", "status:Show whether")],
)
def test_zsh_completes_too(path: str, words: str, among: str) -> None:
    """In a zsh that has read the script; what it would offer is printed."""
    done = subprocess.run(
        [require("zsh"), "-f", "-c", IN_ZSH.format(words=words)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    assert among in done.stdout, done


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
commands.remove("gpumon.cli.printing")  # with which every command ends
print("LOADED", sorted(heavy & set(sys.modules)), len(commands))
"""


@pytest.mark.parametrize(
    ("words", "modules"),
    [
        ("gpumon ", 0),
        ("gpumon st", 0),
        ("gpumon status --", 5),
        ("gpumon status sim:", 5),
        ("gpumon check --only st", 4),
        ("gpumon doctor --", 2),
    ],
)
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
    if words == "gpumon ":
        assert set(COMMANDS) <= set(found)
