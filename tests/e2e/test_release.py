"""Letting go of the driver on order, and taking it up again."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e


def gpumon(*argv: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "gpumon", *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
    )


def states(agent: Agent) -> set[str]:
    """Return the states that GPUs are reported in."""
    seen = Exposition(agent.metrics()).all("gpumon_gpu_state")
    return {dict(labels)["state"] for labels, value in seen.items() if value}


def readers(agent: Agent) -> list[int]:
    """Return the agent's readers; it may also ask a program, such as Slurm's, at that moment."""
    path = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
    children = [int(pid) for pid in path.read_text().split()]
    return [pid for pid in children if b"gpumon.reader" in _command(pid)]


def _command(pid: int) -> bytes:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_release_lets_go_of_the_driver_and_resume_takes_it_up(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """No process holds a handle meanwhile; every GPU says released; a kill does not end it."""
    state = str(tmp_path / "state")
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        socket = tmp_path / "state" / "control.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert readers(agent)
        done = gpumon("release", "--for", "30m", "--state-dir", state)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("released until 20")
        assert readers(agent) == []
        assert states(agent) == {"released"}
        seen = Exposition(agent.metrics())
        assert seen.value("gpumon_source_up") == 0
        assert seen.value("gpumon_gpus_expected") == 8
        assert len(seen.all("gpumon_gpu_info")) == 8
        assert seen.all("gpumon_gpu_power_watts") == {}
        assert "gpumon resume" in agent.get("/-/ready").text
        before = driver.calls()
        assert driver.calls() == before
        agent.process.kill()
        agent.process.wait(10)
    with run_agent(tmp_path, "nvml", env=driver.env(), ready=False) as agent:
        assert "still released until" in agent.log
        assert readers(agent) == []
        assert "released" in agent.get("/-/ready").text
        done = gpumon("resume", "--state-dir", state)
        assert (done.returncode, done.stdout) == (0, "resumed: the GPUs are read again\n")
        wait_for(agent.ready, 10, "the GPUs to be read again")
        assert states(agent) == {"ok"}
        assert Exposition(agent.metrics()).value("gpumon_reader_restarts_total") == 0
        again = gpumon("resume", "--state-dir", state)
        assert (again.returncode, again.stdout) == (0, "nothing was released\n")
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        assert "released" not in agent.log


def test_a_release_for_a_time_ends_by_itself(tmp_path: Path, driver: FakeDriver) -> None:
    """Whoever forgets to resume is not left without eyes."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        assert (
            gpumon("release", "--for", "1s", "--state-dir", str(tmp_path / "state")).returncode == 0
        )
        wait_for(lambda: "resumed" in agent.log, 10, "the time to be over")
        wait_for(agent.ready, 10, "the GPUs to be read again")


def test_a_gpu_that_was_reset_meanwhile_is_found_as_it_is_then(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """As the runbook has it: release, reset, resume; also where the GPU had been lost."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.require_reset(2)
        wait_for(lambda: "reset_required" in states(agent), 5, "the state")
        assert gpumon("release", "--state-dir", str(tmp_path / "state")).returncode == 0
        driver.recover()
        driver.set(2, "field.83", 17)
        assert gpumon("resume", "--state-dir", str(tmp_path / "state")).returncode == 0
        wait_for(lambda: states(agent) == {"ok"}, 10, "all GPUs")
        assert Exposition(agent.metrics()).value("gpumon_gpu_energy_joules_total", gpu="2") == 0.017


def test_what_cannot_let_go_says_so(tmp_path: Path, driver: FakeDriver) -> None:
    """A call hangs in the driver: the process that made it keeps the GPUs until it returns."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.hang(1)
        wait_for(lambda: "hung" in states(agent), 10, "GPU 1 to hang")
        done = gpumon("release", "--state-dir", str(tmp_path / "state"))
        assert done.returncode == 3
        assert "hangs in the driver" in done.stderr
        assert states(agent) == {"released"}
        driver.release()
        wait_for(lambda: readers(agent) == [], 10, "the reader to end by itself")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["release"], "no agent takes orders"),
        (["resume"], "no agent takes orders"),
        (["release", "--for", "soon"], "write 90s, 30m, 2h or 1d"),
        (["release", "--for", "0"], "above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    tmp_path: Path, argv: list[str], words: str
) -> None:
    """With the next step."""
    done = gpumon(*argv, "--state-dir", str(tmp_path))
    assert done.returncode in (2, 3)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_two_agents_in_one_folder_do_not_take_each_others_orders(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """The second goes without, and says so."""
    with (
        run_agent(tmp_path, "nvml", env=driver.env()) as first,
        run_agent(tmp_path, "sim:1xH100") as second,
    ):
        wait_for(lambda: "another agent uses this folder" in second.log, 5, "the warning")
        assert gpumon("release", "--state-dir", str(tmp_path / "state")).returncode == 0
        assert states(first) == {"released"}
        assert states(second) == {"ok"}
