"""A real Slurm keeps jobs away from sick GPUs: its health check, its prolog, its epilog."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver
from tests.support.servers import ROOT, require, wait_for
from tests.support.slurm import Slurm, run_slurm

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CHECK = "sh /etc/slurm/gpumon-node-check.sh"


def write_settings(folder: Path, driver: FakeDriver, **more: str) -> Path:
    """Write the script's settings: this checkout's gpumon, on the fake driver."""
    program = folder / "gpumon"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gpumon "$@"\n')
    program.chmod(0o755)
    values = {"GPUMON": str(program), "CHECK_TIMEOUT": "20", **more}
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in driver.env().items()]
    file = folder / "settings.sh"
    file.write_text("\n".join(lines) + "\n")
    return file


def node(slurm: Slurm) -> tuple[str, str]:
    """Return the node's state in lower case, and the reason for it."""
    state, _, reason = slurm.run("sinfo -h -N -o '%T|%E'").strip().partition("|")
    return state.rstrip("*"), reason


def submit(slurm: Slurm, folder: Path, gpus: int = 1) -> str:
    """Submit a short job and return its id."""
    said = slurm.run(f"sbatch -D {folder} -o /dev/null --gres=gpu:h200:{gpus} --wrap 'sleep 0.2'")
    return next(line.split()[-1] for line in said.splitlines() if "Submitted" in line)


def job_state(slurm: Slurm, job: str) -> str:
    """Return a job's state."""
    return slurm.run(f"scontrol -o show job {job} | grep -o 'JobState=[A-Z]*'").strip()


def done(slurm: Slurm, job: str) -> bool:
    """Tell whether a job has run to its end."""
    return job_state(slurm, job) == "JobState=COMPLETED"


def test_a_node_with_a_failed_check_is_drained_with_its_reason(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """By HealthCheckProgram; a job on the healthy node starts, and after the repair again."""
    settings = write_settings(tmp_path, driver, RESUME="yes")
    (tmp_path / "jobs").mkdir()
    extra = "HealthCheckProgram=/etc/slurm/gpumon-node-check.sh\nHealthCheckInterval=3"
    with run_slurm(tmp_path, tmp_path / "jobs", settings=settings, extra=extra) as slurm:
        first = submit(slurm, tmp_path)
        wait_for(lambda: done(slurm, first), 40, "a job on a healthy node")
        driver.lose(2)
        wait_for(lambda: node(slurm)[0] == "drained", 40, "the node to be drained", every=0.5)
        reason = node(slurm)[1]
        assert reason == "gpumon: GPU 2: lost: nvmlDeviceGetHandleByIndex: GPU is lost"
        waiting = submit(slurm, tmp_path)
        assert job_state(slurm, waiting) == "JobState=PENDING"
        driver.recover()
        wait_for(lambda: done(slurm, waiting), 60, "the node to be resumed", every=0.5)


def test_the_hooks_refuse_a_job_on_a_sick_gpu_and_only_there(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Prolog and epilog, without a health check; and nothing is done for want of an answer."""
    settings = write_settings(tmp_path, driver)
    (tmp_path / "jobs").mkdir()
    with run_slurm(tmp_path, tmp_path / "jobs", settings=settings) as slurm:
        driver.lose(3)
        lucky = submit(slurm, tmp_path)  # on GPU 0, the first
        wait_for(lambda: done(slurm, lucky), 40, "a job on a healthy GPU of a sick node")
        wait_for(lambda: node(slurm)[0] == "idle", 20, "its epilog")

        refused = submit(slurm, tmp_path, gpus=4)
        wait_for(lambda: node(slurm)[0] == "drained", 40, "the prolog's drain", every=0.5)
        assert node(slurm)[1] == "gpumon: GPU 3: lost: nvmlDeviceGetHandleByIndex: GPU is lost"
        wait_for(lambda: job_state(slurm, refused) == "JobState=PENDING", 20, "the requeue")
        assert not (tmp_path / "jobs" / f"{refused}.json").exists()
        slurm.run(f"scancel {refused}")

        # Without RESUME the node stays drained; somebody else's drain is nobody else's to undo.
        driver.recover()
        slurm.run(CHECK)
        assert node(slurm)[0] == "drained"
        slurm.run("scontrol update nodename=n1 state=resume")
        slurm.run("scontrol update nodename=n1 state=drain reason=disk")
        write_settings(tmp_path, driver, RESUME="yes")
        slurm.run(CHECK)
        driver.lose(0)
        slurm.run(CHECK)
        assert node(slurm) == ("drained", "disk")
        slurm.run("scontrol update nodename=n1 state=resume")
        driver.recover()

        # What cannot be told drains nothing, unless somebody wants it to.
        driver.fail_init(9)
        assert "could not tell" in slurm.run(CHECK)
        assert node(slurm)[0] == "idle"
        write_settings(tmp_path, driver, GPUMON="/no/such/program")
        assert "could not tell: gpumon check ended with 127" in slurm.run(CHECK)
        assert node(slurm)[0] == "idle"
        blind = submit(slurm, tmp_path)
        wait_for(lambda: done(slurm, blind), 40, "a job although nothing can be told")
        write_settings(tmp_path, driver, DRAIN_UNKNOWN="yes")
        slurm.run(CHECK)
        assert node(slurm)[0] == "drained"
        assert node(slurm)[1].startswith("gpumon: could not tell: node: ")
        driver.recover()


def test_the_epilog_drains_for_what_a_job_has_left(tmp_path: Path, driver: FakeDriver) -> None:
    """The next job does not find out by failing."""
    settings = write_settings(tmp_path, driver)
    (tmp_path / "jobs").mkdir()
    with run_slurm(tmp_path, tmp_path / "jobs", settings=settings) as slurm:
        said = slurm.run(
            f"sbatch -D {tmp_path} -o /dev/null --gres=gpu:h200:1 --wrap 'touch began; sleep 600'"
        )
        job = said.split()[-1]
        wait_for((tmp_path / "began").exists, 40, "the job to begin")
        driver.set(0, "field.230", 1)
        slurm.run(f"scancel {job}")
        wait_for(lambda: node(slurm)[0] == "drained", 40, "the epilog's drain", every=0.5)
        assert node(slurm)[1] == "gpumon: GPU 0: the driver asks for gpu_reset"


def test_the_scripts_are_clean() -> None:
    """By shellcheck, and by a shell that knows no more than POSIX."""
    scripts = sorted((ROOT / "deploy" / "slurm").glob("*check.sh"))
    assert len(scripts) == 3
    subprocess.run([require("shellcheck"), *map(str, scripts)], check=True)
    for script in scripts:
        subprocess.run(["sh", "-n", str(script)], check=True)
        assert script.stat().st_mode & 0o111
