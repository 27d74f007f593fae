"""A real Slurm gives GPUs to jobs; the agent gives each job its joules."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import pytest

from gpumon.times import parse_time
from gpumon.workloads.slurmcommand import parse_job
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for
from tests.support.slurm import Slurm, run_slurm

pytestmark = pytest.mark.e2e

SIM = "sim:4xH200,seed=7,workload=mixed"


class Meter:
    """Writes down what the simulator says each GPU has drawn, several times a second."""

    def __init__(self, agent: Agent) -> None:
        """Begin."""
        self._agent = agent
        self._points: dict[int, list[tuple[float, float]]] = {n: [] for n in range(4)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.3):
            for gpu in self._agent.get("/api/v1/snapshot").json()["gpus"]:
                point = (parse_time(gpu["time"]), gpu["energy_joules"])
                if point not in self._points[gpu["gpu"]][-1:]:
                    self._points[gpu["gpu"]].append(point)

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def until(self) -> float:
        """Return up to when it has read every GPU."""
        return min(points[-1][0] if points else 0.0 for points in self._points.values())

    def joules(self, gpu: int, since: float, until: float) -> float:
        """Return what a GPU drew between two moments."""
        return self._at(gpu, until) - self._at(gpu, since)

    def _at(self, gpu: int, moment: float) -> float:
        points = self._points[gpu]
        for (t0, j0), (t1, j1) in itertools.pairwise(points):
            if t0 <= moment <= t1:
                return j0 + (j1 - j0) * (moment - t0) / (t1 - t0)
        raise AssertionError(f"{moment} is not in {points[0][0]}..{points[-1][0]}")


def submit(slurm: Slurm, folder: Path, gpus: int, seconds: int, name: str) -> str:
    """Submit a job and return its id."""
    said = slurm.run(
        f"sbatch -D {folder} -o /dev/null --gres=gpu:h200:{gpus} --job-name={name} "
        f"--wrap 'sleep {seconds}'"
    )
    return next(line.split()[-1] for line in said.splitlines() if "Submitted" in line)


def test_each_job_of_a_real_slurm_has_its_joules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two jobs of two GPUs, one cancelled: within 0.5 % of what the simulator says."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    args = ("--workload-manager", "slurm", "--jobs-dir", str(jobs))
    with (
        run_slurm(tmp_path, jobs) as slurm,
        run_agent(tmp_path, SIM, *args) as agent,
    ):
        meter = Meter(agent)
        try:
            first = submit(slurm, tmp_path, 2, 600, "long")
            second = submit(slurm, tmp_path, 2, 12, "short")
            told = wait_for(
                lambda: Exposition(agent.metrics()).all("gpumon_job_gpu_share", job_id=second),
                20,
                "both jobs",
            )
            assert sorted(dict(labels)["gpu"] for labels in told) == ["2", "3"]
            text = slurm.run(f"scontrol -d show job {first}")
            slurm_says = parse_job(text, "n1", {})
            assert slurm_says is not None
            assert slurm_says.minors == (0, 1)
            assert (slurm_says.job.name, slurm_says.job.user) == ("long", "root")
            ended = jobs / f"{second}.json"
            wait_for(lambda: "ended" in json.loads(ended.read_text()), 30, "the end of the short")
            slurm.run(f"scancel {first}")
            cancelled = jobs / f"{first}.json"
            wait_for(lambda: "ended" in json.loads(cancelled.read_text()), 20, "the cancelled")
            wait_for(
                lambda: not Exposition(agent.metrics()).all("gpumon_job_gpu_share"), 10, "no job"
            )
            over = json.loads(cancelled.read_text())["ended"]
            wait_for(lambda: meter.until() > over, 10, "the meter to have seen the end")
            exposition = Exposition(agent.metrics())
        finally:
            meter.stop()
    lines = []
    for job, gpus in ((first, (0, 1)), (second, (2, 3))):
        document = json.loads((jobs / f"{job}.json").read_text())
        truth = sum(meter.joules(gpu, document["began"], document["ended"]) for gpu in gpus)
        paid = sum(exposition.all("gpumon_job_gpu_energy_joules_total", job_id=job).values())
        held = sum(exposition.all("gpumon_job_gpu_seconds_total", job_id=job).values())
        lines.append(f"job {job}: {paid:.1f} J, simulator {truth:.1f} J, {paid / truth - 1:+.3%}")
        assert paid == pytest.approx(truth, rel=0.005)
        assert held == pytest.approx(2 * (document["ended"] - document["began"]), abs=0.1)
    with capsys.disabled():
        print("", *lines, sep="\n")  # noqa: T201 - the figures of this test


def test_whose_a_job_is_leaves_the_machine_only_for_who_may_see_users(tmp_path: Path) -> None:
    """From this machine the user is there; through a proxy it is empty, and the joules are not."""
    with run_agent(tmp_path, "sim:1xH100") as agent:
        here = wait_for(
            lambda: Exposition(agent.metrics()).all("gpumon_job_info"), 10, "the user's job"
        )
        text = agent.get("/metrics", {"X-Forwarded-For": "10.0.0.7"}).text
        document = agent.get("/api/v1/snapshot", {"X-Forwarded-For": "10.0.0.7"}).json()
    (facts,) = (dict(labels) for labels in here)
    assert facts["user"] == "sim"
    (hidden,) = (dict(labels) for labels in Exposition(text).all("gpumon_job_info"))
    assert (hidden["user"], hidden["job_id"]) == ("", facts["job_id"])
    assert [job["user"] for job in document["jobs"]] == [""]
