"""Job files: what any prolog may write, what a wrong one costs, and who is asked by ``auto``."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from gpumon import workloads
from gpumon.model import (
    Allocation,
    GpuIdentity,
    GpuReading,
    GpuState,
    Holding,
    Job,
    MigIdentity,
    MigReading,
)
from gpumon.workloads import choose
from gpumon.workloads.jobfiles.jobfiles import JobFiles
from gpumon.workloads.jobfiles.jobfolder import JobFolder
from gpumon.workloads.slurm.slurm import Slurm
from gpumon.workloads.slurm.slurmconf import node_name
from tests.support.clock import FakeClock

OF_ITS_PROLOG = (
    '{"schema": 1, "job_id": "4711", "user": "alice", "account": "physics", "partition": "gpu", '
    '"name": "train", "array_job_id": "", "array_task_id": "", "gpus": "0,3", '
    '"began": 1780000000.123456789}\n'
)
"""What Slurm's prolog wrote before other managers did: no manager, a text of minor numbers."""

WHOLE = {"manager": "lsf", "job_id": "7", "gpus": [1], "since": 1780000000}


def gpu(index: int, minor: int | None, *migs: str) -> GpuReading:
    """Return a GPU that is called after its minor number, with these MIG instances."""
    uuid = f"GPU-{index if minor is None else minor}"
    return GpuReading(
        identity=GpuIdentity(index, uuid, minor_number=minor),
        state=GpuState.OK,
        mig=tuple(
            MigReading(gpu=index, uuid=uuid, identity=MigIdentity(mig, "1g.10gb", n + 7, 0))
            for n, mig in enumerate(migs)
        ),
    )


NODE = [gpu(0, 3), gpu(1, 2), gpu(2, 1), gpu(3, 0, "MIG-a", "MIG-b", "MIG-c")]
"""The driver counts the other way round than the devices."""


def write(folder: Path, name: str, document: dict[str, Any] | str) -> Path:
    """Write a job file."""
    file = folder / f"{name}.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return file


def told(
    manager: JobFiles | Slurm, gpus: list[GpuReading] = NODE, shown: dict[str, Job] | None = None
) -> Allocation:
    """Return what a manager says, which must be something."""
    found = manager.allocation(gpus, shown or {}, 0.0)
    assert found is not None
    return found


def held(found: Allocation) -> set[tuple[str, str]]:
    """Return which job holds which GPU."""
    return {(holding.job_id, holding.uuid) for holding in found.holdings}


@pytest.mark.parametrize(
    ("gpus", "more", "uuids"),
    [
        (["GPU-2", "GPU-0"], {}, {"GPU-2", "GPU-0"}),
        ([3, 0], {}, {"GPU-3", "GPU-0"}),
        (["3", 0], {}, {"GPU-3", "GPU-0"}),
        ("3,0", {}, {"GPU-3", "GPU-0"}),
        ([0, 1], {"numbers": "index"}, {"GPU-3", "GPU-2"}),
        (["GPU-1", 0], {"numbers": "index"}, {"GPU-1", "GPU-3"}),
        ([], {}, set()),
    ],
)
def test_a_gpu_is_named_by_uuid_minor_number_or_index(
    tmp_path: Path, gpus: object, more: dict[str, str], uuids: set[str]
) -> None:
    """A number is N of /dev/nvidiaN, unless the file says that it is the driver's index."""
    write(tmp_path, "a", {**WHOLE, "gpus": gpus, **more})
    assert {holding.uuid for holding in told(JobFiles(tmp_path)).holdings} == uuids


def test_a_job_may_hold_instances_of_a_divided_gpu(tmp_path: Path) -> None:
    """By their UUIDs; also while the GPU does not answer, and so reports none of them."""
    write(tmp_path, "a", {**WHOLE, "gpus": ["MIG-c", "MIG-a", "GPU-1"]})
    manager = JobFiles(tmp_path)
    (first, second) = told(manager).holdings
    assert (first.uuid, first.mig_uuids) == ("GPU-0", ("MIG-a", "MIG-c"))
    assert (second.uuid, second.mig_uuids) == ("GPU-1", ())
    silent = GpuReading(identity=NODE[3].identity, state=GpuState.HUNG)
    assert told(manager, [*NODE[:3], silent]).holdings == (first, second)


def test_each_job_shows_the_manager_that_its_file_names(tmp_path: Path) -> None:
    """Several managers may write into one folder; who and what else is optional."""
    write(tmp_path, "pbs-1", {"manager": "pbs", "job_id": "12.server", "gpus": [0], "user": "bob"})
    write(tmp_path, "x", {"manager": "our-queue", "job_id": 99, "gpus": ["GPU-1"], "name": None})
    found = told(JobFiles(tmp_path))
    assert held(found) == {("12.server", "GPU-0"), ("99", "GPU-1")}
    assert found.jobs["12.server"] == Job(job_id="12.server", user="bob", manager="pbs")
    assert found.jobs["99"] == Job(job_id="99", manager="our-queue")
    assert found.stale == ""


@pytest.mark.parametrize("kind", [JobFiles, Slurm])
def test_files_of_the_older_slurm_prolog_go_on_working(
    tmp_path: Path, kind: type[JobFiles | Slurm]
) -> None:
    """Those in place when the agent is upgraded; what ended, has its end."""
    file = write(tmp_path, "4711", OF_ITS_PROLOG)
    manager = kind(tmp_path)
    found = told(manager)
    assert held(found) == {("4711", "GPU-0"), ("4711", "GPU-3")}
    job = found.jobs["4711"]
    assert (job.manager, job.user, job.account, job.partition, job.name) == (
        "slurm",
        "alice",
        "physics",
        "gpu",
        "train",
    )
    assert {h.since for h in found.holdings} == {1780000000.123456789}
    assert {h.until for h in found.holdings} == {None}
    file.write_text(OF_ITS_PROLOG.replace("}\n", ', "ended": 1780000060.5}\n'))
    assert {h.until for h in told(manager).holdings} == {1780000060.5}


def test_slurm_shows_other_managers_jobs_and_asks_its_controller_for_its_own(
    tmp_path: Path,
) -> None:
    """A node may belong to two; a job of PBS without an account is no question for squeue."""
    write(tmp_path, "4711", OF_ITS_PROLOG)
    write(tmp_path, "pbs-5", {"manager": "pbs", "job_id": "5", "gpus": [1]})
    slurm = Slurm(tmp_path)
    assert held(told(slurm)) == {("4711", "GPU-0"), ("4711", "GPU-3"), ("5", "GPU-1")}
    assert slurm._incomplete() == []


WRONG = {
    "nothing": "",
    "half": '{"manager": "pbs"',
    "list": "[1, 2]",
    "null": "null",
    "deep": "[" * 60_000,
    "digits": '{"job_id": ' + "1" * 5000 + "}",
    "no id": {**WHOLE, "job_id": None},
    "empty id": {**WHOLE, "job_id": " "},
    "id of two lines": {**WHOLE, "job_id": "7\n8"},
    "id without end": {**WHOLE, "job_id": "7" * 200},
    "id a list": {**WHOLE, "job_id": ["7"]},
    "no gpus": {"manager": "lsf", "job_id": "7"},
    "gpus a number": {**WHOLE, "gpus": 1},
    "gpu a word": {**WHOLE, "gpus": ["nvidia0"]},
    "gpu negative": {**WHOLE, "gpus": [-1]},
    "gpu true": {**WHOLE, "gpus": [True]},
    "gpu nested": {**WHOLE, "gpus": [[0]]},
    "numbers": {**WHOLE, "numbers": "uuid"},
    "manager shouts": {**WHOLE, "manager": "PBS"},
    "manager a sentence": {**WHOLE, "manager": "my queue"},
    "manager of ours": {**WHOLE, "manager": "processes"},
    "manager empty": {**WHOLE, "manager": ""},
    "name an object": {**WHOLE, "name": {"gpus": [0]}},
    "since a word": {**WHOLE, "since": "yesterday"},
    "since nothing": '{"manager": "lsf", "job_id": "7", "gpus": [1], "since": NaN}',
    "since for ever": '{"manager": "lsf", "job_id": "7", "gpus": [1], "since": 1e400}',
    "until huge": '{"manager": "lsf", "job_id": "7", "gpus": [1], "until": 1' + "0" * 400 + "}",
    "ends before it begins": {**WHOLE, "since": 1780000000.0, "until": 1779999999.0},
    "gpus a range": {**WHOLE, "gpus": "3-1"},
    "of tomorrow": {**WHOLE, "schema": 2},
    "large": {**WHOLE, "name": "x" * 70_000},
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_skipped_counted_and_logged_once_with_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: dict[str, Any] | str
) -> None:
    """It costs no other job, and is well again once it is mended."""
    write(tmp_path, "good", {"manager": "pbs", "job_id": "1", "gpus": [0]})
    file = write(tmp_path, "wrong", text)
    manager = JobFiles(tmp_path)
    for _ in range(3):
        found = told(manager)
        assert held(found) == {("1", "GPU-0")}
        assert str(file) in found.stale
    assert (manager.errors, manager.success) == (1, False)
    (record,) = caplog.records
    assert str(file) in record.message
    assert len(record.message) < len(str(file)) + 150
    write(tmp_path, "wrong", WHOLE)
    assert held(told(manager)) == {("1", "GPU-0"), ("7", "GPU-1")}
    assert (manager.errors, manager.success) == (1, True)


def test_what_is_not_a_prologs_file_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link out of the folder, a pipe that would stop the agent, a folder, a file open to all."""
    outside, folder = tmp_path / "outside.json", tmp_path / "jobs"
    folder.mkdir()
    outside.write_text(json.dumps(WHOLE))
    (folder / "link.json").symlink_to(outside)
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    write(folder, "open", WHOLE).chmod(0o666)
    write(folder, ".hidden", WHOLE)
    (folder / ".new.4711").write_text(json.dumps(WHOLE))
    manager = JobFiles(folder)
    assert told(manager).holdings == ()
    assert manager.errors == 4
    said = caplog.text
    assert "link.json: it is a symbolic link" in said
    assert "pipe.json: it is not a file" in said
    assert "folder.json: it is not a file" in said
    assert "open.json: everybody may write to it; chmod 644" in said
    (folder / "open.json").chmod(0o644)
    assert held(told(manager)) == {("7", "GPU-1")}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files away")
def test_a_users_own_file_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a folder that everybody may write to; the folder's owner may be Flux's user."""
    tmp_path.chmod(0o777)
    file = write(tmp_path, "mine", WHOLE)
    os.chown(file, 4242, 4242)
    manager = JobFiles(tmp_path)
    assert told(manager).holdings == ()
    assert "mine.json: it belongs to user 4242" in caplog.text
    os.chown(tmp_path, 4242, 4242)
    assert held(told(JobFiles(tmp_path))) == {("7", "GPU-1")}


def test_without_a_folder_no_job_holds_anything(tmp_path: Path) -> None:
    """/run is empty after a start of the node: jobs of before it are over."""
    manager = JobFiles(tmp_path / "jobs")
    assert told(manager).holdings == ()
    assert manager.success
    (tmp_path / "jobs").mkdir()
    write(tmp_path / "jobs", "a", WHOLE)
    assert held(told(manager)) == {("7", "GPU-1")}


def test_a_folder_that_is_missing_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be misspelt; and one that is no folder is a problem."""
    caplog.set_level("INFO")
    manager = JobFiles(tmp_path / "jbos")
    for _ in range(3):
        told(manager)
    assert [r.message for r in caplog.records] == [
        f"there is no folder {tmp_path / 'jbos'}: no prolog has written a job file"
    ]
    (tmp_path / "file").write_text("")
    odd = JobFiles(tmp_path / "file")
    assert odd.allocation(NODE, {}, 0.0) is None
    assert (odd.errors, odd.success) == (1, False)
    assert f"{tmp_path / 'file'}: Not a directory" in caplog.text


def test_a_job_that_begins_in_the_future_holds_its_gpus_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Milliseconds for seconds, or another clock: nobody knows since when it really holds them."""
    clock = FakeClock()
    folder = JobFolder(tmp_path, clock)
    file = write(tmp_path, "late", {**WHOLE, "since": clock.time() + 86_400})
    write(tmp_path, "now", {**WHOLE, "job_id": "8", "since": clock.time() + 5})
    for _ in range(3):
        (late, now) = folder.read() or []
        assert (late.job.job_id, late.since) == (WHOLE["job_id"], None)
        assert now.since == clock.time() + 5
    assert folder.errors == 1
    assert f"{file}: since is 86400 s in the future" in folder.problem
    (record,) = caplog.records
    assert "skipped" not in record.message
    write(tmp_path, "late", {**WHOLE, "since": clock.time() - 1})
    folder.read()
    assert not folder.problem


def test_a_simulation_says_that_it_reads_no_job_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With how to have them read all the same; without such files nothing is said."""
    caplog.set_level("INFO")
    assert choose("auto", {"jobs_dir": tmp_path}, real=False).name == "processes"
    assert f"the job files in {tmp_path} are not read" in caplog.text
    assert "--workload-manager jobfiles" in caplog.text
    caplog.clear()
    choose("auto", {"jobs_dir": tmp_path / "none"}, real=False)
    choose("jobfiles", {"jobs_dir": tmp_path}, real=False)
    assert caplog.text == ""


def test_a_folder_that_cannot_be_read_leaves_the_last_known_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is known if it never could be."""
    write(tmp_path, "a", WHOLE)
    manager, late = JobFiles(tmp_path), JobFiles(tmp_path)
    assert held(told(manager)) == {("7", "GPU-1")}
    with monkeypatch.context() as patch:

        def refused(*_: object, **__: object) -> int:
            raise PermissionError(13, "Permission denied")

        patch.setattr(os, "open", refused)
        assert held(told(manager)) == {("7", "GPU-1")}
        assert (manager.errors, manager.success) == (1, False)
        assert "Permission denied" in told(manager).stale
        assert late.allocation(NODE, {}, 0.0) is None
    assert told(manager).stale == ""
    assert manager.success


def test_a_file_with_a_name_of_two_lines_writes_no_line_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may write into the folder does not write the log."""
    write(tmp_path, "a\nWARNING all is well", "")
    told(JobFiles(tmp_path))
    assert "\n" not in caplog.messages[0]


def test_more_files_than_a_node_has_jobs_are_counted_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent reads them on every tick."""
    monkeypatch.setattr("gpumon.workloads.jobfiles.jobfolder.MOST_JOBS", 2)
    for number in range(3):
        write(tmp_path, str(number), {**WHOLE, "job_id": number, "gpus": [number]})
    manager = JobFiles(tmp_path)
    for _ in range(2):
        assert held(told(manager)) == {("0", "GPU-0"), ("1", "GPU-1")}
    assert (manager.errors, manager.success) == (1, False)
    assert caplog.messages == [f"{tmp_path} has 3 files, of which 2 are read"]


def test_a_gpu_that_the_node_does_not_have_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And not at all while no GPU can be read."""
    write(tmp_path, "a", {**WHOLE, "gpus": ["GPU-9", 1, 17]})
    manager = JobFiles(tmp_path)
    assert held(told(manager, [])) == set()
    assert not caplog.records
    for _ in range(2):
        assert held(told(manager)) == {("7", "GPU-1")}
    assert caplog.messages == [
        "jobs hold 2 GPUs that this node does not have: 17 of job 7, GPU-9 of job 7"
    ]


def test_jobs_of_two_managers_with_the_same_id_do_not_share_an_account(tmp_path: Path) -> None:
    """The later one is MANAGER:ID, for as long as the ledger shows it, also by a new agent."""
    first = {"manager": "slurm", "job_id": "5", "gpus": [0], "since": 100}
    file = write(tmp_path, "5", first)
    manager = JobFiles(tmp_path)
    assert held(told(manager)) == {("5", "GPU-0")}
    write(tmp_path, "a", {"manager": "pbs", "job_id": "5", "gpus": [1], "since": 200})
    found = told(manager, shown=dict(told(manager).jobs))
    assert held(found) == {("5", "GPU-0"), ("pbs:5", "GPU-1")}
    assert {job_id: job.manager for job_id, job in found.jobs.items()} == {
        "5": "slurm",
        "pbs:5": "pbs",
    }
    file.unlink()
    assert held(told(JobFiles(tmp_path), shown=dict(found.jobs))) == {("pbs:5", "GPU-1")}
    # Slurm's is over and still shown: another one of PBS with that id is not it.
    shown = {"5": Job(job_id="5", manager="slurm")}
    assert held(told(JobFiles(tmp_path), shown=shown)) == {("pbs:5", "GPU-1")}
    assert held(told(JobFiles(tmp_path))) == {("5", "GPU-1")}


def test_a_job_with_two_files_holds_what_both_say(tmp_path: Path) -> None:
    """A prolog that runs for each task writes one for each."""
    write(tmp_path, "a", {**WHOLE, "gpus": [0]})
    write(tmp_path, "b", {**WHOLE, "gpus": [1]})
    assert held(told(JobFiles(tmp_path))) == {("7", "GPU-0"), ("7", "GPU-1")}


def test_simulated_gpus_have_no_minor_numbers_but_indices(tmp_path: Path) -> None:
    """So that hooks can be tried on a simulated node."""
    write(tmp_path, "a", {**WHOLE, "gpus": [1]})
    (holding,) = told(JobFiles(tmp_path), [gpu(0, None), gpu(1, None)]).holdings
    assert holding == Holding(job_id="7", uuid="GPU-1", since=1780000000.0)


def test_every_manager_is_registered_once_with_what_it_needs() -> None:
    """The command line's words and options are those of the registrations."""
    assert workloads.names() == ("auto", "slurm", "jobfiles", "kubernetes", "processes")
    assert [option.flag for option in workloads.options()] == ["--jobs-dir", "--kubelet-socket"]
    for registration in workloads.MANAGERS:
        assert registration.make({}).name == registration.name
        assert registration.summary


@pytest.mark.parametrize(
    ("programs", "files", "kubelet", "found"),
    [
        ({"slurmd"}, None, False, "slurm"),
        ({"slurmd"}, None, True, "kubernetes"),
        ({"slurmd"}, [], True, "slurm"),
        ({"squeue"}, [WHOLE], False, "slurm"),
        ({"squeue"}, None, False, "processes"),
        (set(), [OF_ITS_PROLOG], False, "slurm"),
        (set(), [WHOLE], True, "jobfiles"),
        (set(), [], False, "jobfiles"),
        (set(), None, True, "kubernetes"),
        (set(), None, False, "processes"),
    ],
)
def test_auto_takes_what_is_heard_first_then_what_is_installed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    programs: set[str],
    files: list[dict[str, Any] | str] | None,
    kubelet: bool,  # noqa: FBT001
    found: str,
) -> None:
    """Job files before the kubelet; they are Slurm's if Slurm is here, or wrote one of them."""
    pytest.importorskip("grpc")
    jobs, socket = tmp_path / "jobs", tmp_path / "kubelet.sock"
    if files is not None:
        jobs.mkdir()
        for number, document in enumerate(files):
            write(jobs, str(number), document)
    if kubelet:
        socket.touch()
    monkeypatch.setattr("shutil.which", lambda name: name if name in programs else None)
    settings = {"jobs_dir": jobs, "kubelet_socket": socket}
    assert workloads.choose("auto", settings, real=True).name == found
    assert workloads.choose("auto", settings, real=False).name == "processes"


def test_slurms_name_of_a_node_may_be_another_than_the_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NodeName in slurm.conf: slurmd hands it on."""
    monkeypatch.setattr("socket.gethostname", lambda: "host7.cluster.example")
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    assert node_name() == "host7"
    monkeypatch.setenv("SLURMD_NODENAME", "gpu-a07")
    assert node_name() == "gpu-a07"


def test_a_new_agent_says_nothing_of_files_that_are_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither do files that come and go."""
    caplog.set_level(logging.INFO)
    manager = JobFiles(tmp_path)
    for number in range(3):
        file = write(tmp_path, str(number), {**WHOLE, "job_id": number})
        told(manager)
        file.unlink()
        told(manager)
    assert not caplog.records
