"""Slurm's jobs: what the hooks write, what scontrol says, and what is done without either."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gpumon.model import (
    Allocation,
    GpuIdentity,
    GpuProcess,
    GpuReading,
    GpuState,
    Job,
    MigIdentity,
    MigReading,
)
from gpumon.workloads.slurm import cgroup, slurmcommand
from gpumon.workloads.slurm.cgroup import slurm_job
from gpumon.workloads.slurm.controller import Controller
from gpumon.workloads.slurm.slurm import Slurm
from gpumon.workloads.slurm.slurmcommand import SlurmError
from gpumon.workloads.slurm.squeue import ControllerJob
from tests.support.clock import FakeClock
from tests.workloads.fakeslurm import FakeSlurm, when, whose

HOOKS = Path(__file__).parents[2] / "deploy" / "slurm"
FILES = Path(__file__).parent / "slurm"


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

    async def ask(_: Controller, job_ids: list[str], node: str) -> dict[str, ControllerJob]:
        asked.append((tuple(job_ids), node))
        if not answers:
            raise SlurmError("squeue failed")
        job = Job(job_id="12", user="mallory", account="physics", name="train", manager="slurm")
        return {"12": ControllerJob(job=job, numbers=(0,))}

    monkeypatch.setattr(Controller, "ask", ask)
    monkeypatch.setattr("gpumon.workloads.slurm.slurm.ASK_SECONDS", 0.01)
    slurm.allocation(gpus(0), {}, 0.0)

    async def for_a_while() -> None:
        running = asyncio.create_task(slurm.run())
        while len(asked) < (1 if answers else 3):  # noqa: ASYNC110 - it only counts
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        running.cancel()

    asyncio.run(asyncio.wait_for(for_a_while(), 10))
    found = slurm.allocation(gpus(0), {}, 0.0)
    assert found is not None
    job = found.jobs["12"]
    assert (job.account, job.name) == (("physics", "train") if answers else ("", ""))
    assert job.user == "alice"
    assert set(asked) == {(("12",), "n1")}
    assert (len(asked) == 1) is answers
    assert slurm.success is answers


def test_without_hooks_and_without_an_answer_nothing_is_known(tmp_path: Path) -> None:
    """None, so that the ledger leaves the last holders in force; and no process is nobody's."""
    slurm = Slurm(tmp_path / "none")
    assert slurm.allocation(gpus(0), {}, 0.0) is None
    assert not slurm.success


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
        while not slurm.errors:  # noqa: ASYNC110 - it only counts
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(asyncio.wait_for(until_it_fails(), 10))
    assert slurm.errors == 1
    assert not slurm.success
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
        ("0::/../../system.slice/slurmstepd.scope/job_12/step_0/user\n", "12"),
        (
            "9:pids:/slurm/uid_7/job_12\n5:devices:/slurm/uid_7/job_12/step_0\n0::/\n",
            "12",
        ),
    ],
)
def test_the_forms_of_slurms_cgroups(text: str, job: str | None) -> None:
    """Version 2 and 1, one slurmd and several."""
    assert slurm_job(text) == job


@pytest.mark.parametrize(
    ("text", "job"),
    [
        # What a user makes below his own session, or a job below its own step.
        (
            "0::/user.slice/user-7.slice/user@7.service/slurmstepd.scope/job_12/step_0/user\n",
            None,
        ),
        ("0::/user-7.slice/slurm/uid_7/job_12/step_0\n", None),
        ("0::/docker/x/slurm/uid_7/job_12/step_0\n", None),
        (
            "0::/system.slice/slurmstepd.scope/job_5/step_0/user/slurmstepd.scope/job_12/step_0\n",
            "5",
        ),
        ("5:devices:/slurm/uid_7/job_5/step_0/slurm/uid_7/job_12\n", "5"),
        ("1:name=systemd:/x:/slurm/uid_7/job_12/step_0\n", None),
        ("5:devices:/slurm/uid_7/job_5/step_0\n4:memory:/slurm/uid_7/job_12/step_0\n", None),
    ],
)
def test_cgroups_that_users_make_are_no_jobs(text: str, job: str | None) -> None:
    """Their processes are not another job's, whatever a cgroup is called."""
    assert slurm_job(text) == job


class Asked:
    """What a manager is told by commands, looked at once it has asked."""

    def __init__(self, slurm: Slurm, *readings: GpuReading) -> None:
        """Ask on behalf of a node with these GPUs."""
        self.slurm = slurm
        self.readings = list(readings) or gpus(3, 2, 1, 0)

    def look(self, *, until: Callable[[Allocation | None], object] | None = None) -> Allocation:
        """Let the manager run until an allocation is as wanted, by default until there is one."""
        wanted = until or (lambda found: found is not None)

        async def run() -> Allocation:
            found = self.slurm.allocation(self.readings, {}, 0.0)
            running = asyncio.create_task(self.slurm.run())
            while not wanted(found):
                await asyncio.sleep(0.01)
                found = self.slurm.allocation(self.readings, {}, 0.0)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            assert found is not None
            return found

        return asyncio.run(asyncio.wait_for(run(), 10))


def held(found: Allocation) -> dict[str, list[str]]:
    """Return the GPUs of each job that is not over, instances by their own UUID."""
    jobs: dict[str, list[str]] = {job_id: [] for job_id in found.jobs}
    for holding in found.holdings:
        if holding.until is None:
            jobs[holding.job_id] += list(holding.mig_uuids) or [holding.uuid]
    return jobs


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Return a Slurm of commands that say nothing yet, and a gres.conf of its own."""
    return FakeSlurm(tmp_path, monkeypatch)


def test_without_hooks_each_job_is_on_the_gpu_that_its_number_means(
    tmp_path: Path, commands: FakeSlurm
) -> None:
    """The field case of two types, with the JSON of a real Slurm 25.11."""
    commands.gres_conf((FILES / "gres-two-types.conf").read_text())
    commands.squeue(json=(FILES / "squeue-25.11.7-running.json").read_text(), running="1\n3\n2\n")
    slurm = Slurm(tmp_path / "none", node="n1")
    found = Asked(slurm).look()
    assert held(found) == {"1": ["GPU-0", "GPU-1"], "3": ["GPU-2"], "2": ["GPU-3"]}
    assert {job.user for job in found.jobs.values()} == {"root"}
    assert (slurm.unresolved, slurm.success, slurm.errors) == (0, True, 0)


@pytest.mark.parametrize("hooks", [True, False])
def test_instances_by_several_files_are_found_with_hooks_and_without(
    tmp_path: Path, commands: FakeSlurm, *, hooks: bool
) -> None:
    """The field case of MIG: record 1 is an instance of /dev/nvidia0."""
    commands.gres_conf((FILES / "gres-mig.conf").read_text())
    commands.squeue(
        UserName=whose("1", "alice", "physics"), StartTime=when("1"), Name="wrap", running="1\n"
    )
    commands.says("scontrol", (FILES / "slurm-gres-mig.txt").read_text())
    if hooks:
        hook("prolog", tmp_path / "jobs", SLURM_JOB_ID="1", SLURM_JOB_GPUS="1")
    (gpu,) = gpus(0)
    divided = dataclasses.replace(
        gpu,
        mig=tuple(
            MigReading(gpu=0, uuid="GPU-0", identity=MigIdentity(f"MIG-{n}", "1g.10gb", n, 0))
            for n in (2, 3)
        ),
    )
    slurm = Slurm(tmp_path / "jobs", node="n1")
    found = Asked(slurm, divided).look()
    assert held(found) == {"1": ["MIG-3"]}
    assert [holding.uuid for holding in found.holdings] == ["GPU-0"]
    assert slurm.unresolved == 0


def test_a_gpu_whose_instances_are_not_known_is_held_whole(
    tmp_path: Path, commands: FakeSlurm
) -> None:
    """It is the right GPU; an instance that it does not have is not known, and said."""
    commands.gres_conf((FILES / "gres-mig.conf").read_text())
    hook("prolog", tmp_path / "jobs", SLURM_JOB_ID="1", SLURM_JOB_GPUS="1")
    slurm = Slurm(tmp_path / "jobs", node="n1")
    assert held(Asked(slurm, *gpus(0)).look()) == {"1": ["GPU-0"]}
    (gpu,) = gpus(0)
    other = MigReading(gpu=0, uuid="GPU-0", identity=MigIdentity("MIG-9", "1g.10gb", 9, 0))
    found = Asked(slurm, dataclasses.replace(gpu, mig=(other,))).look()
    assert held(found) == {"1": []}
    assert slurm.unresolved == 1


def test_what_the_hook_says_wins_over_the_controllers_text(
    tmp_path: Path, commands: FakeSlurm
) -> None:
    """It is root's, from Slurm's own environment; only what it does not have is taken over."""
    hook(
        "prolog",
        tmp_path / "jobs",
        SLURM_JOB_ID="1",
        SLURM_JOB_USER="alice",
        SLURM_JOB_ACCOUNT="physics",
        SLURM_JOB_PARTITION="gpu",
        SLURM_JOB_GPUS="2",
    )
    record = {
        "job_id": 1,
        "job_state": ["RUNNING"],
        "user_name": "mallory",
        "account": "other",
        "partition": "other",
        "name": "train",
        "gres_detail": ["gpu:1(IDX:0)"],
        "nodes": "n1",
    }
    commands.squeue(json=json.dumps({"jobs": [record]}))
    slurm = Slurm(tmp_path / "jobs", node="n1")
    found = Asked(slurm).look(until=lambda told: told and told.jobs["1"].name)
    job = found.jobs["1"]
    assert (job.user, job.account, job.partition, job.name) == ("alice", "physics", "gpu", "train")
    assert held(found) == {"1": ["GPU-2"]}


def test_another_clusters_job_of_the_same_number_says_nothing_of_this_one(
    tmp_path: Path, commands: FakeSlurm
) -> None:
    """The controller that is asked may be that of the other one."""
    hook(
        "prolog",
        tmp_path / "jobs",
        SLURM_JOB_ID="1",
        SLURM_CLUSTER_NAME="beta",
        SLURM_JOB_USER="alice",
        SLURM_JOB_GPUS="2",
    )
    commands.squeue(json=(FILES / "squeue-25.11.7-running.json").read_text())
    slurm = Slurm(tmp_path / "jobs", node="n1")
    found = Asked(slurm).look(until=lambda told: told and slurm._told)
    assert held(found) == {"1": ["GPU-2"]}
    assert (found.jobs["1"].user, found.jobs["1"].name) == ("alice", "")


def test_jobs_without_a_gpu_are_asked_for_once(
    tmp_path: Path, commands: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node may have a hundred of them."""
    monkeypatch.setattr("gpumon.workloads.slurm.slurm.ASK_SECONDS", 0.01)
    record = {"job_id": 5, "job_state": ["RUNNING"], "gres_detail": [], "nodes": "n1"}
    commands.squeue(json=json.dumps({"jobs": [record]}), running="5\n")

    def times(word: str) -> int:
        return sum(word in line for line in commands.asked("squeue"))

    found = Asked(Slurm(tmp_path / "none", node="n1")).look(until=lambda _: times("%A") > 3)
    assert found.jobs == {}
    assert times("--json") == 1


def test_a_job_that_is_listed_and_not_described_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one that is not listed any more ends, or of which Slurm says that it has no GPU."""
    listed, silent = ["1", "2", "3"], set[str]()

    async def running(_: Controller, node: str) -> list[str]:
        del node
        return list(listed)

    async def ask(_: Controller, job_ids: list[str], node: str) -> dict[str, ControllerJob]:
        del node
        return {
            i: ControllerJob(job=Job(job_id=i, manager="slurm"), numbers=numbers[i])
            for i in job_ids
            if i not in silent
        }

    monkeypatch.setattr(Controller, "running", running)
    monkeypatch.setattr(Controller, "ask", ask)
    clock = FakeClock()
    slurm = Slurm(tmp_path / "none", node="n1", clock=clock)
    numbers: dict[str, tuple[int, ...]] = {"1": (0,), "2": (1,), "3": (2,)}
    slurm._asked = asyncio.run(slurm._ask())
    listed.remove("2")
    silent.add("1")
    numbers["3"] = ()
    slurm._asked = asyncio.run(slurm._ask())
    assert [job_id for job_id, job in slurm._asked.items() if job.until is None] == ["1"]
    assert sorted(slurm._asked) == ["1", "2", "3"]
    clock.pass_(120.0)
    assert list(asyncio.run(slurm._ask())) == ["1"]


def test_a_prolog_knows_gpus_of_one_type_only_and_the_controller_of_all(
    tmp_path: Path, commands: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    """Slurmd overwrites SLURM_JOB_GPUS for each type; until the controller answers, it is said."""
    commands.gres_conf((FILES / "gres-two-types.conf").read_text())
    hook("prolog", tmp_path / "jobs", SLURM_JOB_ID="1", SLURM_JOB_GPUS="1", SLURMD_NODENAME="n1")
    slurm = Slurm(tmp_path / "jobs")
    found = Asked(slurm).look(until=lambda told: told and slurm.unresolved)
    assert held(found) == {"1": ["GPU-1"]}
    assert "not known which GPUs it holds: a prolog is given GPUs of one kind" in caplog.text
    commands.squeue(json=(FILES / "squeue-22.05.8-running.json").read_text())
    found = Asked(slurm).look(until=lambda told: told and not slurm.unresolved)
    assert held(found) == {"1": ["GPU-1", "GPU-0"]}


def test_a_controller_that_does_not_know_the_job_leaves_the_prologs_gpus_for_a_part(
    tmp_path: Path, commands: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two types the prolog knows one: it is said, and asked again after ten minutes."""
    commands.gres_conf((FILES / "gres-two-types.conf").read_text())
    hook("prolog", tmp_path / "jobs", SLURM_JOB_ID="1", SLURM_JOB_GPUS="1", SLURMD_NODENAME="n1")
    commands.squeue(json=json.dumps({"jobs": []}))
    clock = FakeClock()
    slurm = Slurm(tmp_path / "jobs", clock=clock)
    found = Asked(slurm).look(until=lambda told: told and slurm._told)
    assert (held(found), slurm.unresolved, slurm.success) == ({"1": ["GPU-1"]}, 1, True)
    assert "of one kind only, and the controller does not know this job" in caplog.text
    commands.squeue(json=(FILES / "squeue-22.05.8-running.json").read_text())
    clock.pass_(599.0)
    asyncio.run(slurm._complete())
    slurm.allocation(gpus(0, 1), {}, 0.0)
    assert slurm.unresolved == 1
    clock.pass_(1.0)
    asyncio.run(slurm._complete())
    again = slurm.allocation(gpus(0, 1), {}, 0.0)
    assert again is not None
    assert (held(again), slurm.unresolved) == ({"1": ["GPU-1", "GPU-0"]}, 0)
    clock.pass_(3600.0)
    asyncio.run(slurm._complete())
    assert len(commands.asked("squeue")) == 2


def test_devices_that_slurm_finds_itself_are_not_guessed(
    tmp_path: Path, commands: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    """Without slurmd's word a number means nothing; a UUID that its prolog has does."""
    commands.gres_conf("AutoDetect=nvml\n")
    jobs = tmp_path / "jobs"
    hook("prolog", jobs, SLURM_JOB_ID="1", SLURM_JOB_GPUS="0")
    hook("prolog", jobs, SLURM_JOB_ID="2", SLURM_JOB_GPUS="1", CUDA_VISIBLE_DEVICES="GPU-2")
    slurm = Slurm(jobs, node="n1")
    found = Asked(slurm).look()
    assert held(found) == {"1": [], "2": ["GPU-2"]}
    assert slurm.unresolved == 1
    assert "Slurm finds its devices itself (AutoDetect), and slurmd -G " in caplog.text


def test_until_slurm_has_been_asked_for_its_order_the_last_holders_stay(
    tmp_path: Path, commands: FakeSlurm
) -> None:
    """Nobody loses a GPU for the moment that a new agent takes to ask."""
    commands.gres_conf((FILES / "gres-two-types.conf").read_text())
    hook("prolog", tmp_path / "jobs", SLURM_JOB_ID="1", SLURM_JOB_GPUS="1")
    slurm = Slurm(tmp_path / "jobs", node="n1")
    assert slurm.allocation(gpus(0, 1), {}, 0.0) is None
    assert slurm.unresolved == 1
    assert held(Asked(slurm).look()) == {"1": ["GPU-1"]}


def test_a_changed_gres_conf_holds_from_the_next_look_on(
    tmp_path: Path, commands: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator adds a GPU in front of the others."""
    monkeypatch.setattr("gpumon.workloads.slurm.slurm.ASK_SECONDS", 0.05)
    commands.gres_conf("Name=gpu File=/dev/nvidia[2-3]\n")
    hook("prolog", tmp_path / "jobs", SLURM_JOB_ID="1", SLURM_JOB_GPUS="0")
    slurm = Slurm(tmp_path / "jobs", node="n1")
    assert held(Asked(slurm).look()) == {"1": ["GPU-2"]}
    commands.gres_conf("Name=gpu File=/dev/nvidia[0-3]\n")
    Asked(slurm).look(until=lambda told: told and held(told) == {"1": ["GPU-0"]})


def test_jobs_of_the_same_number_of_two_clusters_have_a_file_and_an_account_each(
    tmp_path: Path,
) -> None:
    """Two slurmds on one node; each epilog ends its own."""
    for cluster, gpu in (("alpha", "0"), ("beta", "1")):
        hook(
            "prolog",
            tmp_path,
            SLURM_JOB_ID="12",
            SLURM_CLUSTER_NAME=cluster,
            SLURM_JOB_USER=cluster[0],
            SLURM_JOB_GPUS=gpu,
        )
    slurm = Slurm(tmp_path, node="n1")
    found = slurm.allocation(gpus(0, 1), {}, 0.0)
    assert found is not None
    assert held(found) == {"12": ["GPU-0"], "beta:12": ["GPU-1"]}
    assert {job_id: job.user for job_id, job in found.jobs.items()} == {"12": "a", "beta:12": "b"}
    # A job of a third cluster, without a GPU, ends neither.
    hook("epilog", tmp_path, SLURM_JOB_ID="12", SLURM_CLUSTER_NAME="gamma")
    same = slurm.allocation(gpus(0, 1), dict(found.jobs), 0.0)
    assert same is not None
    assert held(same) == held(found)
    hook("epilog", tmp_path, SLURM_JOB_ID="12", SLURM_CLUSTER_NAME="beta")
    again = slurm.allocation(gpus(0, 1), dict(found.jobs), 0.0)
    assert again is not None
    assert held(again) == {"12": ["GPU-0"], "beta:12": []}
    hook("epilog", tmp_path, SLURM_JOB_ID="12", SLURM_CLUSTER_NAME="alpha")
    last = slurm.allocation(gpus(0, 1), dict(found.jobs), 0.0)
    assert last is not None
    assert held(last) == {"12": [], "beta:12": []}


def test_a_job_of_an_ended_file_and_a_running_one_is_the_running_one(tmp_path: Path) -> None:
    """The run before it is over, whatever file it has left."""
    old = {"job_id": "5", "gpus": [0], "manager": "slurm", "began": 100.5, "ended": 200.5}
    new = {"job_id": "5", "gpus": [1], "manager": "slurm", "began": 300.5}
    (tmp_path / "5.json").write_text(json.dumps(old))
    (tmp_path / "x.5.json").write_text(json.dumps(new))
    found = Slurm(tmp_path, node="n1").allocation(gpus(0, 1), {}, 0.0)
    assert found is not None
    assert held(found) == {"5": ["GPU-1"]}
    assert found.starts == {"5": frozenset({300.5})}


def test_a_cluster_that_becomes_known_later_makes_no_other_job(tmp_path: Path) -> None:
    """The prolog of an older gpumon did not write it."""
    shown = {"5": Job(job_id="5", manager="slurm")}
    job = {"job_id": "5", "gpus": [1], "manager": "slurm", "cluster": "alpha", "began": 300.5}
    (tmp_path / "5.json").write_text(json.dumps(job))
    found = Slurm(tmp_path, node="n1").allocation(gpus(0, 1), shown, 0.0)
    assert found is not None
    assert held(found) == {"5": ["GPU-1"]}


def test_what_a_hook_writes_is_json(tmp_path: Path) -> None:
    """Of one line, with the moment to the fraction of a second."""
    hook("prolog", tmp_path, SLURM_JOB_ID="1", SLURM_JOB_GPUS="0", SLURM_JOB_NAME="\t\x01x")
    document = json.loads((tmp_path / "1.json").read_text())
    assert document["name"] == "x"
    assert document["began"] % 1 != 0
