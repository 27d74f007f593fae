"""PBS's, Flux's and a home-made queue's hooks put jobs on the GPUs of a running agent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.exposition import Exposition
from tests.support.jobhooks import DEPLOY, FLUX_JOB, Flux, Pbs, run_hook
from tests.support.servers import Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e

SIM = "sim:4xH100,seed=7,workload=training+training+idle+idle"


def holders(agent: Agent) -> dict[str, set[str]]:
    """Return the GPUs that each job pays for now, by their index."""
    found: dict[str, set[str]] = {}
    for labels in Exposition(agent.metrics()).all("gpumon_job_gpu_share"):
        of = dict(labels)
        found.setdefault(of["job_id"], set()).add(of["gpu"])
    return found


def joules(agent: Agent, job: str) -> float:
    """Return what a job has paid for."""
    return sum(
        Exposition(agent.metrics()).all("gpumon_job_gpu_energy_joules_total", job_id=job).values()
    )


def until_held(agent: Agent, expected: dict[str, set[str]]) -> None:
    """Wait until jobs hold just these GPUs."""
    wait_for(lambda: holders(agent) == expected, 10, f"{expected}")


def facts(agent: Agent) -> dict[str, tuple[str, str, str, str, str]]:
    """Return manager, user, account, partition and name of each job that is shown."""
    found = (dict(labels) for labels in Exposition(agent.metrics()).all("gpumon_job_info"))
    return {
        of["job_id"]: (of["manager"], of["user"], of["account"], of["partition"], of["name"])
        for of in found
    }


def test_hooks_put_jobs_on_the_right_gpus_and_take_them_off(tmp_path: Path) -> None:
    """Of three managers at once, with the variables that each documents."""
    jobs = tmp_path / "jobs"
    pbs, flux = Pbs(tmp_path, jobs), Flux(tmp_path, rank=3, jobs=jobs)
    args = ("--workload-manager", "jobfiles", "--jobs-dir", str(jobs))
    with run_agent(tmp_path, SIM, *args) as agent:
        uuids = {
            str(gpu["gpu"]): gpu["uuid"] for gpu in agent.get("/api/v1/snapshot").json()["gpus"]
        }
        assert holders(agent) == {}
        pbs.assigns("123.server", uuids["1"])
        assert pbs.prologue("123.server", "alice", "users") == ""
        until_held(agent, {"123.server": {"1"}})
        assert flux.prolog() == ""  # GPUs 0 and 2 of its rank
        until_held(agent, {"123.server": {"1"}, FLUX_JOB: {"0", "2"}})
        queue = [str(DEPLOY / "jobs" / "gpumon-job.sh"), "begin", "manager=ourqueue", "job_id=123"]
        env = {"GPUMON_JOBS_DIR": str(jobs)}
        forged = '", "gpus": [0, 1, 2, 3], "user": "root", "x": "'
        assert run_hook([*queue, "gpus=3", f"name={forged}", "user=eve"], env) == ""
        until_held(agent, {"123.server": {"1"}, FLUX_JOB: {"0", "2"}, "123": {"3"}})
        assert facts(agent) == {
            "123.server": ("pbs", "alice", "", "", ""),
            FLUX_JOB: ("flux", "root", "physics", "pbatch", "train"),
            "123": ("ourqueue", "eve", "", "", forged),
        }
        exposition = Exposition(agent.metrics())
        assert exposition.all("gpumon_workload_manager_info") == {(("manager", "jobfiles"),): 1}
        assert exposition.value("gpumon_collector_success", collector="jobfiles") == 1

        assert pbs.epilogue("123.server", "alice", "users") == ""
        until_held(agent, {FLUX_JOB: {"0", "2"}, "123": {"3"}})
        paid = joules(agent, "123.server")
        assert paid > 0
        assert flux.epilog() == ""
        until_held(agent, {"123": {"3"}})
        (jobs / "ourqueue-123.json").unlink()  # a home-made epilog may just remove it
        until_held(agent, {})
        assert joules(agent, "123.server") == paid


def test_a_wrong_file_and_a_job_of_another_manager_with_the_same_id(tmp_path: Path) -> None:
    """One is counted and costs nobody else; the other has an account of its own."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    for manager, gpu, since in (("ourqueue", 0, 100.0), ("lsf", 1, 200.0)):
        document = {"manager": manager, "job_id": "7", "gpus": [gpu], "since": since}
        (jobs / f"{manager}.json").write_text(json.dumps(document))
    (jobs / "wrong.json").write_text('{"job_id": "8"')
    args = ("--workload-manager", "jobfiles", "--jobs-dir", str(jobs))
    with run_agent(tmp_path, SIM, *args) as agent:
        until_held(agent, {"7": {"0"}, "lsf:7": {"1"}})
        exposition = Exposition(agent.metrics())
        assert exposition.value("gpumon_collector_success", collector="jobfiles") == 0
        assert exposition.value("gpumon_workload_manager_errors_total") == 1
        assert agent.log.count("wrong.json") == 1
    with run_agent(tmp_path, SIM, *args) as agent:
        until_held(agent, {"7": {"0"}, "lsf:7": {"1"}})
