"""``gpumon events``: a bad day of a node, told in order and without any server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakenvml import FakeDriver
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e


def events(folder: Path, *args: str) -> list[dict[str, Any]]:
    """Return what the command tells."""
    argv = [sys.executable, "-m", "gpumon", "events", "--state-dir", str(folder / "state")]
    done = subprocess.run([*argv, "-o", "json", *args], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    return found


def state_is(agent: Agent, gpu: int, state: str) -> bool:
    """Tell whether a GPU is in a state."""
    return bool(Exposition(agent.metrics()).value("gpumon_gpu_state", gpu=str(gpu), state=state))


def test_a_bad_day_is_told_in_order(tmp_path: Path, driver: FakeDriver) -> None:
    """A loss and a return, a release and a resume, a restart; each once."""
    env, state = driver.env(), str(tmp_path / "state")
    with run_agent(tmp_path, "nvml", env=env) as agent:
        driver.lose(3)
        wait_for(lambda: state_is(agent, 3, "lost"), 10, "the loss")
        driver.recover()
        wait_for(lambda: state_is(agent, 3, "ok"), 20, "the return")
        for order in ("release", "resume"):
            argv = [sys.executable, "-m", "gpumon", order, "--state-dir", state]
            subprocess.run(argv, check=True, capture_output=True)
        wait_for(lambda: state_is(agent, 0, "ok"), 15, "the GPUs to be read again")
        wait_for(lambda: len(events(tmp_path, "--kind", "order")) == 2, 5, "the orders")
    with run_agent(tmp_path, "nvml", env=env):
        pass
    told = [(e["kind"], e["text"]) for e in events(tmp_path)]
    kinds = [kind for kind, _ in told if kind in ("agent", "order")]
    assert kinds == ["agent", "order", "order", "agent", "agent", "agent"]
    of_three = [e["text"] for e in events(tmp_path, "--gpu", "3", "--kind", "state")]
    assert of_three[0].startswith("ok -> lost: ")
    assert of_three[1] == "lost -> ok"
    times = [e["time"] for e in events(tmp_path)]
    assert times == sorted(times)
