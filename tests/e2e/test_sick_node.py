"""A node with a hung, a lost and six healthy GPUs: what each view says of it, and how soon."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver
from tests.support.terminal import open_terminal

pytestmark = pytest.mark.e2e

SOON = 2.0
"""Seconds from Enter to the answer; the deadlines behind it are of half a second to one."""

TRIES = 3
"""A busy machine may be late once; a call that nobody gives up on is late each time."""

GPUMON = [sys.executable, "-m", "gpumon"]


@pytest.fixture
def sick(driver: FakeDriver) -> Iterator[FakeDriver]:
    """The driver of the node."""
    driver.hang(3)
    driver.lose(5)
    yield driver
    driver.release()


def soonest(ask: Callable[[], tuple[str, float]]) -> str:
    """Return an answer that took few seconds; fail where none of some does."""
    took = []
    for _ in range(TRIES):
        text, seconds = ask()
        took.append(seconds)
        if seconds < SOON:
            return text
    pytest.fail(f"answers took {', '.join(f'{seconds:.1f}' for seconds in took)} s:\n{text}")


VIEWS = {
    "status": (["status", "nvml"], 0),
    "info": (["info", "nvml"], 0),
    "ps": (["ps", "nvml"], 0),
    "check": (["check", "nvml"], 1),
}
"""How each is asked, and how it ends: only check judges."""

HUNG = r"(?m)^.*\b3\b.*\n?.*\bhung\b"
LOST = r"(?m)^.*\b5\b.*\n?.*\blost\b"
"""In the line of the GPU, or in the one below it."""


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_answers_soon_and_says_which_gpu_is_hung_and_which_is_lost(
    sick: FakeDriver, name: str
) -> None:
    """Without an agent, by the driver alone."""
    argv, code = VIEWS[name]

    def ask() -> tuple[str, float]:
        began = time.monotonic()
        done = subprocess.run(
            [*GPUMON, *argv],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **sick.env()},
        )
        assert done.returncode == code, done.stderr
        return done.stdout, time.monotonic() - began

    text = soonest(ask)
    assert re.search(HUNG, text), text
    assert re.search(LOST, text), text


def test_top_answers_soon_and_says_so_too(sick: FakeDriver, tmp_path: Path) -> None:
    """From Enter to the first screen with the verdict."""
    env = {**sick.env(), "PATH": os.environ["PATH"]}

    def ask() -> tuple[str, float]:
        with open_terminal(tmp_path, 160, 40, env) as terminal:
            began = time.monotonic()
            terminal.type(f"{sys.executable} -m gpumon top nvml")
            terminal.shows("6 of 8 GPUs fine, 2 failed")
            return terminal.text(), time.monotonic() - began

    text = soonest(ask)
    assert re.search(HUNG, text), text
    assert re.search(LOST, text), text
