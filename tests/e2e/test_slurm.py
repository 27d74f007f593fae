"""A real Slurm gives GPUs to jobs; the agent gives each job its joules."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from gpumon.cli import run
from gpumon.times import parse_time
from gpumon.workloads.slurm.sinfo import parse_nodes
from gpumon.workloads.slurm.squeue import parse_squeue, told_of
from tests.support.exposition import Exposition
from tests.support.servers import (
    ROOT,
    Agent,
    Prometheus,
    run_agent,
    run_prometheus,
    shipped_prometheus_config,
    wait_for,
)
from tests.support.slurm import Slurm, run_slurm

pytestmark = pytest.mark.e2e

SIM = "sim:4xH200,seed=7,workload=training+training+idle+idle"


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


def run_both(slurm: Slurm, folder: Path, agent: Agent, jobs: Path) -> tuple[str, str]:
    """Run two jobs of two GPUs to their ends, the first cancelled, and return their ids."""
    first = submit(slurm, folder, 2, 600, "busy")
    second = submit(slurm, folder, 2, 12, "lazy")
    told = wait_for(
        lambda: Exposition(agent.metrics()).all("gpumon_job_gpu_share", job_id=second),
        20,
        "both jobs",
    )
    assert sorted(dict(labels)["gpu"] for labels in told) == ["2", "3"]
    slurm_says = told_of(parse_squeue(slurm.run("squeue --json; echo"))[first], "n1")
    assert slurm_says is not None
    assert slurm_says.numbers == (0, 1)
    assert (slurm_says.job.name, slurm_says.job.user) == ("busy", "root")
    (node,) = parse_nodes(slurm.run("sinfo --json; echo")).values()
    assert (node.name, node.partition, node.gpus) == ("n1", "gpu", 4)
    assert node.state in ("mixed", "allocated")
    wait_for(lambda: "ended" in hooked(jobs, second), 30, "the end of the lazy")
    slurm.run(f"scancel {first}")
    wait_for(lambda: "ended" in hooked(jobs, first), 20, "the cancelled")
    wait_for(lambda: not Exposition(agent.metrics()).all("gpumon_job_gpu_share"), 10, "no job")
    return first, second


def hooked(jobs: Path, job: str) -> dict[str, Any]:
    """Return what the prolog and epilog wrote of a job."""
    document: dict[str, Any] = json.loads((jobs / f"{job}.json").read_text())
    return document


def scraping(folder: Path, agent: Agent) -> str:
    """Return the configuration that ships, with its rules beside it, for one agent."""
    shutil.copytree(ROOT / "deploy" / "prometheus" / "rules", folder / "rules")
    return shipped_prometheus_config(agent.target)


def reported(prometheus: Prometheus) -> dict[str, dict[str, Any]]:
    """Return the lines of ``gpumon report --by job``, out of Prometheus."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run(["report", f"prom:{prometheus.url}", "--since", "2h", "-o", "json"]) == 0
    return {line["key"]: line for line in json.loads(out.getvalue())["lines"]}


def test_each_job_of_a_real_slurm_has_its_joules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One at full load and cancelled, one idle: within 0.5 % of what the simulator says.

    On the agent and in a report out of a real Prometheus; the idle one pays its idle watts.
    """
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    args = ("--workload-manager", "slurm", "--jobs-dir", str(jobs))
    with (
        run_slurm(tmp_path, jobs) as slurm,
        run_agent(tmp_path, SIM, *args) as agent,
        run_prometheus(tmp_path, scraping(tmp_path, agent)) as prometheus,
    ):
        meter = Meter(agent)
        try:
            first, second = run_both(slurm, tmp_path, agent, jobs)
            over = hooked(jobs, first)["ended"]
            wait_for(lambda: meter.until() > over, 10, "the meter to have seen the end")
            exposition = Exposition(agent.metrics())
            paid = {
                job: sum(exposition.all("gpumon_job_gpu_energy_joules_total", job_id=job).values())
                for job in (first, second)
            }
            query = f'sum(gpumon_job_gpu_energy_joules_total{{job_id="{first}"}})'
            wait_for(
                lambda: (prometheus.value(query) or 0.0) >= paid[first] - 1e-3,
                10,
                "the last scrape",
            )
            lines = reported(prometheus)
        finally:
            meter.stop()
    said = []
    for job, gpus in ((first, (0, 1)), (second, (2, 3))):
        began, ended = hooked(jobs, job)["began"], hooked(jobs, job)["ended"]
        truth = sum(meter.joules(gpu, began, ended) for gpu in gpus)
        line = lines[job]
        said.append(
            f"{line['name']}: {line['energy_joules']:.1f} J, simulator {truth:.1f} J, "
            f"{line['energy_joules'] / truth - 1:+.3%}"
        )
        assert paid[job] == pytest.approx(truth, rel=0.005)
        assert line["energy_joules"] == pytest.approx(truth, rel=0.005)
        assert line["held_seconds"] == pytest.approx(2 * (ended - began), abs=0.1)
    busy, lazy = lines[first], lines[second]
    assert busy["active_seconds"] > 0.5 * busy["held_seconds"]
    assert lazy["active_seconds"] == 0
    assert lazy["waste_joules"] == pytest.approx(lazy["energy_joules"])
    # The idle watts of two H200s, as the simulator has them from real nodes: 75 W each.
    assert 60 < lazy["mean_power_watts"] < 150
    assert busy["mean_power_watts"] > 300
    with capsys.disabled():
        print("", *said, sep="\n")  # noqa: T201 - the figures of this test


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
