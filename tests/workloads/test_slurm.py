"""Slurm's jobs: what the hooks write, what scontrol says, and what is done without either."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from gpumon.model import GpuIdentity, GpuProcess, GpuReading, GpuState
from gpumon.workloads.slurm import cgroup, slurmcommand
from gpumon.workloads.slurm.cgroup import slurm_job
from gpumon.workloads.slurm.hostlist import expand, ranges
from gpumon.workloads.slurm.slurm import Slurm
from gpumon.workloads.slurm.slurmcommand import SlurmError, gres_minors, parse_job

HOOKS = Path(__file__).parents[2] / "deploy" / "slurm"


def hook(name: str, folder: Path, **env: str) -> None:
    """Run a hook as slurmd does; it must never fail."""
    subprocess.run(
        ["sh", str(HOOKS / f"{name}.d-gpumon.sh")],
        env={"PATH": os.environ["PATH"], "GPUMON_JOBS_DIR": str(folder), **env},
        check=True,
        timeout=10,
    )


def gpus(*minors: int) -> list[GpuReading]:
    """Return GPUs in the driver's order with these minor numbers."""
    return [
        GpuReading(
            identity=GpuIdentity(index, f"GPU-{minor}", minor_number=minor), state=GpuState.OK
        )
        for index, minor in enumerate(minors)
    ]


def test_the_prolog_tells_which_gpus_by_minor_number(tmp_path: Path) -> None:
    """The driver's order is another than that of the devices."""
    hook(
        "prolog",
        tmp_path,
        SLURM_JOB_ID="4711",
        SLURM_JOB_USER="alice",
        SLURM_JOB_ACCOUNT="physics",
        SLURM_JOB_PARTITION="gpu",
        SLURM_JOB_NAME='a "quoted" \\ name\n',
        SLURM_JOB_GPUS="0,3",
    )
    found = Slurm(tmp_path).allocation(gpus(3, 2, 1, 0), {}, 0.0)
    assert found is not None
    assert [h.uuid for h in found.holdings] == ["GPU-0", "GPU-3"]
    job = found.jobs["4711"]
    assert (job.user, job.account, job.partition) == ("alice", "physics", "gpu")
    assert job.name == 'a "quoted" \\ name'
    assert all(h.since is not None and h.until is None for h in found.holdings)


def test_the_epilog_tells_when_it_ended(tmp_path: Path) -> None:
    """The job's file stays, with its end, until the agent has seen it."""
    hook("prolog", tmp_path, SLURM_JOB_ID="1", SLURM_JOB_GPUS="0")
    hook("epilog", tmp_path, SLURM_JOB_ID="1")
    found = Slurm(tmp_path).allocation(gpus(0), {}, 0.0)
    assert found is not None
    (holding,) = found.holdings
    assert holding.since is not None
    assert holding.until is not None
    assert holding.until >= holding.since


def test_the_epilog_removes_what_ended_an_hour_ago(tmp_path: Path) -> None:
    """And not a job that runs for longer than that."""
    for job in ("1", "2"):
        hook("prolog", tmp_path, SLURM_JOB_ID=job, SLURM_JOB_GPUS="0")
    hook("epilog", tmp_path, SLURM_JOB_ID="1")
    for file in tmp_path.iterdir():
        os.utime(file, (0, 0))
    hook("epilog", tmp_path, SLURM_JOB_ID="3")
    assert [file.name for file in tmp_path.iterdir()] == ["2.json"]


def test_a_job_without_gpus_and_a_folder_that_cannot_be_made_fail_nothing(tmp_path: Path) -> None:
    """A hook that fails drains the node."""
    hook("prolog", tmp_path, SLURM_JOB_ID="1")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    hook("prolog", tmp_path / "file" / "jobs", SLURM_JOB_ID="1", SLURM_JOB_GPUS="0")
    hook("epilog", tmp_path / "file" / "jobs", SLURM_JOB_ID="1")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"job_id": "1"}', '{"job_id": "1", "gpus": "a", "began": 1}']
)
def test_a_malformed_file_is_counted_once_and_costs_no_other_job(tmp_path: Path, text: str) -> None:
    """The others' allocation stands, and it is said that something is wrong."""
    (tmp_path / "1.json").write_text(text)
    hook("prolog", tmp_path, SLURM_JOB_ID="2", SLURM_JOB_GPUS="0")
    slurm = Slurm(tmp_path)
    for _ in range(3):
        found = slurm.allocation(gpus(0), {}, 0.0)
        assert found is not None
        assert [h.job_id for h in found.holdings] == ["2"]
    assert slurm.errors == 1
    assert not slurm.success
    (tmp_path / "1.json").unlink()
    slurm.allocation(gpus(0), {}, 0.0)
    assert slurm.success


@pytest.mark.parametrize("answers", [False, True])
def test_what_the_prolog_was_not_told_is_asked_once_the_controller_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, answers: bool
) -> None:
    """Account and name; a controller that does not answer is asked again, one that did is not."""
    hook("prolog", tmp_path, SLURM_JOB_ID="12", SLURM_JOB_USER="alice", SLURM_JOB_GPUS="0")
    slurm, asked = Slurm(tmp_path, node="n1"), []

    async def ask(*_: object) -> dict[str, slurmcommand.SlurmJob]:
        asked.append(1)
        if not answers:
            raise SlurmError("squeue failed")
        job = parse_job(SCONTROL, "n1", {})
        assert job is not None
        return {"12": job}

    monkeypatch.setattr("gpumon.workloads.slurm.slurm.ask_jobs", ask)
    monkeypatch.setattr("gpumon.workloads.slurm.slurm.ASK_SECONDS", 0.0)

    async def for_a_while() -> None:
        slurm.allocation(gpus(0), {}, 0.0)
        running = asyncio.create_task(slurm.run())
        for _ in range(20):
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(for_a_while())
    found = slurm.allocation(gpus(0), {}, 0.0)
    assert found is not None
    assert found.jobs["12"].account == ("physics" if answers else "")
    assert (len(asked) == 1) is answers
    assert slurm.success is answers


def test_without_hooks_and_without_an_answer_nothing_is_known(tmp_path: Path) -> None:
    """None, so that the ledger leaves the last holders in force."""
    assert Slurm(tmp_path / "none").allocation(gpus(0), {}, 0.0) is None


SCONTROL = """JobId=12 ArrayJobId=10 ArrayTaskId=2 JobName=train GRES=x
   UserId=alice(1000) GroupId=users(100) MCS_label=N/A
   Priority=4294901758 Nice=0 Account=physics QOS=(null)
   JobState=RUNNING Reason=None Dependency=(null)
   StartTime=2026-11-24T12:00:00 EndTime=Unknown Deadline=N/A
   Partition=gpu AllocNode:Sid=login:1
   NodeList=n[1-2]
   JOB_GRES=gpu:h200:3
     Nodes=n1 CPU_IDs=0-1 Mem=0 GRES=gpu:h200:2(IDX:0,2)
     Nodes=n2 CPU_IDs=0-1 Mem=0 GRES=gpu:h200:1(IDX:3)
"""


def test_scontrols_index_counts_the_devices_of_gres_conf(tmp_path: Path) -> None:
    """In its order, mapped by File= to the minor number; of this node alone."""
    conf = tmp_path / "gres.conf"
    conf.write_text(
        "# AutoDetect=nvml\nNodeName=n[1-2] Name=gpu Type=h200 File=/dev/nvidia[3,2,1,0]\n"
        "NodeName=other Name=gpu File=/dev/nvidia9\n"
    )
    devices = gres_minors("n1", conf)
    assert devices == {"h200": [3, 2, 1, 0], "": [3, 2, 1, 0]}
    job = parse_job(SCONTROL, "n1", devices)
    assert job is not None
    assert job.gpus == (3, 1)
    assert (job.job.job_id, job.job.user, job.job.account, job.job.partition) == (
        "12",
        "alice",
        "physics",
        "gpu",
    )
    assert job.job.name == "train GRES=x"
    assert parse_job(SCONTROL, "n3", devices) is None


def test_without_gres_conf_the_index_is_the_minor_number(tmp_path: Path) -> None:
    """AutoDetect: Slurm sorts the devices by it."""
    job = parse_job(SCONTROL, "n2", gres_minors("n2", tmp_path / "none"))
    assert job is not None
    assert job.gpus == (3,)


def test_an_answer_that_is_none_is_an_error() -> None:
    """And not a job."""
    with pytest.raises(SlurmError):
        parse_job("slurm_load_jobs error: Invalid job id specified", "n1", {})


def test_lists_of_hosts_and_numbers() -> None:
    """As Slurm writes them."""
    assert expand("a,n[01-03,7]x,b2") == ["a", "n01x", "n02x", "n03x", "n7x", "b2"]
    assert ranges("0-1,3") == [0, 1, 3]


def test_a_controller_that_does_not_answer_leaves_the_last_known_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed at its deadline and has ended then, counted, and said."""
    program, number = tmp_path / "squeue", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ >{number}\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurmcommand, "DEADLINE_SECONDS", 0.5)
    slurm = Slurm(tmp_path / "none")

    async def until_it_fails() -> None:
        running = asyncio.create_task(slurm.run())
        while slurm.success:  # noqa: ASYNC110 - it tells by its state
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(asyncio.wait_for(until_it_fails(), 10))
    assert slurm.errors == 1
    assert slurm.allocation(gpus(0), {}, 0.0) is None
    assert not psutil.pid_exists(int(number.read_text()))  # not even as a zombie


def test_whose_a_process_is_where_jobs_share_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its cgroup; only where several jobs hold the GPU is it looked up."""
    for job in ("1", "2"):
        hook("prolog", tmp_path, SLURM_JOB_ID=job, SLURM_JOB_GPUS="0")
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "cgroup").write_text("0::/system.slice/slurmstepd.scope/job_2/step_0/user\n")
    monkeypatch.setattr(cgroup.job_of_process, "__defaults__", (tmp_path,))
    (gpu,) = gpus(0)
    reading = GpuReading(
        identity=gpu.identity,
        state=GpuState.OK,
        held_by=(GpuProcess(pid=77, kind="compute"), GpuProcess(pid=78, kind="compute")),
    )
    found = Slurm(tmp_path).allocation([reading], {}, 0.0)
    assert found is not None
    assert found.pids == {77: "2"}


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ("0::/system.slice/slurmstepd.scope/job_12/step_batch/user/task_0\n", "12"),
        ("0::/system.slice/n1_slurmstepd.scope/job_12/step_0/user/task_special\n", "12"),
        ("4:devices:/slurm/uid_1000/job_12/step_0/task_1\n1:name=systemd:/\n", "12"),
        ("4:devices:/slurm_n1/uid_1000/job_12/step_extern\n", "12"),
        ("0::/system.slice/slurmstepd.scope/system\n", None),
        ("0::/user.slice/job_12/x\n", None),
    ],
)
def test_the_forms_of_slurms_cgroups(text: str, job: str | None) -> None:
    """Version 2 and 1, one slurmd and several."""
    assert slurm_job(text) == job


def test_what_a_hook_writes_is_json(tmp_path: Path) -> None:
    """Of one line, with the moment to the fraction of a second."""
    hook("prolog", tmp_path, SLURM_JOB_ID="1", SLURM_JOB_GPUS="0", SLURM_JOB_NAME="\t\x01x")
    document = json.loads((tmp_path / "1.json").read_text())
    assert document["name"] == "x"
    assert document["began"] % 1 != 0
