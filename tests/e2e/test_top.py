"""``gpumon top`` in a real terminal: keys, sizes, ends, and terminals that can do less."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.fakenvml import FakeDriver
from tests.support.terminal import Terminal, open_terminal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

TOP = f"{sys.executable} -m gpumon top"
SIM = f"{TOP} sim:8xH100,workload=training"


def process_of(terminal_text: str) -> psutil.Process:
    """Return the ``gpumon top`` whose command line has a text in it."""
    (found,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "gpumon" in (process.info["cmdline"] or [])
        and "top" in process.info["cmdline"]
        and terminal_text in process.info["cmdline"][-1]
    ]
    return found


def ended(terminal: Terminal, code: int) -> None:
    """Hold that it ended with a code, and left the terminal as it was."""
    terminal.wait(lambda: terminal.is_as_it_was() and terminal.prompts(), "the ordinary screen")
    terminal.type("echo code $?")
    terminal.shows(f"code {code}")
    assert terminal.echo_works()


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 60)])
def test_it_fills_the_terminal_and_no_more(tmp_path: Path, columns: int, lines: int) -> None:
    """All GPUs, whole columns, the keys in the last line; ``q`` ends it."""
    with open_terminal(tmp_path, columns, lines) as terminal:
        terminal.type(SIM)
        terminal.shows("8 GPUs, all fine")
        screen = terminal.text().splitlines()
        assert len([row for row in screen if re.match(r"\s+\d  .*ok .* / 700 W", row)]) == 8
        assert "Quit" in screen[lines - 1]
        assert ("power" in screen[2]) == (lines == 60)  # the graphs of the node
        terminal.press("q")
        ended(terminal, 0)


def test_it_follows_a_terminal_that_changes_its_size(tmp_path: Path) -> None:
    """On the first screen and in the zoom."""
    with open_terminal(tmp_path, 80, 24) as terminal:
        terminal.type(SIM)
        terminal.shows("8 GPUs, all fine")
        assert "clock" not in terminal.text()
        terminal.resize(180, 50)
        terminal.shows("clock")
        terminal.press("Down", "Enter")
        terminal.shows("how it is known")
        terminal.resize(80, 24)
        terminal.wait(lambda: len(terminal.text().splitlines()[1]) == 80, "graphs of the new width")
        terminal.press("Escape")
        terminal.shows("8 GPUs, all fine")
        terminal.press("q")
        ended(terminal, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_a_signal_leaves_the_terminal_as_it_was(tmp_path: Path, number: signal.Signals) -> None:
    """With the exit code that tells of it."""
    mark = f"sim:8xH100,seed={number + 7000}"
    with open_terminal(tmp_path) as terminal:
        terminal.type(f"{TOP} {mark}")
        terminal.shows("8 GPUs, all fine")
        assert not terminal.is_as_it_was()
        process_of(mark).send_signal(number)
        ended(terminal, 128 + number)


def test_it_does_not_outlive_its_terminal(tmp_path: Path) -> None:
    """A connection that breaks leaves nothing behind that reads the driver for nobody."""
    mark = "sim:8xH100,seed=7100"
    with open_terminal(tmp_path) as terminal:
        terminal.type(f"{TOP} {mark}")
        terminal.shows("8 GPUs, all fine")
        process = process_of(mark)
    gone, alive = psutil.wait_procs([process], timeout=20)
    assert (gone, alive) == ([process], [])


CRASHING = """
import sys
from gpumon.top.app import TopApp
seen = TopApp.on_seen
def crash(self, message):
    raise ZeroDivisionError("nothing to divide by")
TopApp.on_seen = crash
from gpumon.cli import run
sys.exit(run(["top", "sim:2xH100"] + sys.argv[1:]))
"""


def test_a_crash_leaves_the_terminal_as_it_was_and_says_one_line(tmp_path: Path) -> None:
    """No traceback; what to do next."""
    program = tmp_path / "crashing.py"
    program.write_text(CRASHING)
    with open_terminal(tmp_path) as terminal:
        terminal.type(f"{sys.executable} {program}")
        terminal.shows("unexpected ZeroDivisionError: nothing to divide by")
        terminal.wait(terminal.is_as_it_was, "the ordinary screen")
        assert "Traceback" not in terminal.text()
        assert "run again with --debug" in terminal.text()
        ended(terminal, 3)


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    """With 130, as every other command."""
    with open_terminal(tmp_path) as terminal:
        terminal.type(SIM)
        terminal.shows("8 GPUs, all fine")
        terminal.press("C-c")
        ended(terminal, 130)


def test_no_color_has_none(tmp_path: Path) -> None:
    """The same screen without colours; and with them where NO_COLOR is not set."""
    for env in ({"NO_COLOR": "1"}, {}):
        folder = tmp_path / str(len(env))
        folder.mkdir()
        with open_terminal(folder, env={**env, "COLORTERM": "truecolor"}) as terminal:
            terminal.type(SIM)
            terminal.shows("8 GPUs, all fine")
            painted = terminal._run("capture-pane", "-p", "-e")
            colours = {
                (red, green, blue)
                for red, green, blue in re.findall(
                    r"[34]8[;:]2[;:]+(\d+)[;:](\d+)[;:](\d+)", painted
                )
            }
            assert colours
            assert all(r == g == b for r, g, b in colours) == bool(env)
            terminal.press("q")


def test_a_terminal_that_cannot_be_drawn_on_is_told(tmp_path: Path) -> None:
    """And so is a pipe: one line, with what can be done instead."""
    with open_terminal(tmp_path, env={}) as terminal:
        terminal.type(f"TERM=dumb {TOP} sim:2xH100; echo code $?")
        terminal.shows("code 2")
        assert "gpumon: top needs a terminal that it can draw on: gpumon status -w 1" in " ".join(
            terminal.text().split()
        )
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", "top", "sim:2xH100"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_it_says_what_is_wrong_with_which_though_a_gpu_hangs(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """A hung, a lost and six healthy GPUs through the real binding; and it ends at once."""
    driver.hang(3)
    driver.lose(5)
    try:
        with open_terminal(
            tmp_path, 160, 40, env={**driver.env(), "PATH": os.environ["PATH"]}
        ) as t:
            t.type(f"{TOP} nvml")
            t.shows("6 of 8 GPUs fine, 2 failed")
            screen = t.text()
            assert re.search(r"FAIL  GPU 3 +hung: nvmlDeviceGetHandleByIndex has not ret", screen)
            assert re.search(r"FAIL  GPU 5 +lost: ", screen)
            t.press("q")
            ended(t, 0)
    finally:
        driver.release()


def test_a_model_that_is_not_known_is_said_after_the_screen(tmp_path: Path) -> None:
    """As by every other command."""
    with open_terminal(tmp_path) as terminal:
        terminal.type(f"{TOP} sim:8xH9000")
        terminal.shows("H9000")
        ended(terminal, 2)
