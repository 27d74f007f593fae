"""The hooks that write job files: run with what PBS, Torque, Flux and Slurm document."""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gpumon import workloads
from gpumon.workloads.jobfiles.jobfile import parse_job
from tests.support.jobhooks import DEPLOY, FLUX_JOB, Flux, Pbs, run_hook
from tests.support.servers import require

WRITER = DEPLOY / "jobs" / "gpumon-job.sh"
UUIDS = (
    "GPU-00000000-aaaa-bbbb-cccc-dddddddddddd",
    "GPU-11111111-aaaa-bbbb-cccc-dddddddddddd",
)

FORGED = '", "gpus": ["GPU-9"], "user": "root", "x": "'

HOSTILE = {
    "quotes": 'a "quoted" \\ name\\',
    "lines": 'first\nsecond\r\n"until": 1}\n',
    "forged": FORGED,
    "end": '", "until": 1}',
    "ended": "ended",
    "until": "until",
    "shell": "$(touch owned) `touch owned`; touch owned #",
    "format": "%s%n%d \\x41 \\n & | *",
    "option": "-n",
    "unicode": "läuft 🚀 \u202e\u0085\x7f\x1b[31m",
    "endless": "x" * 50_000,
    "half a letter": "x" * 255 + "ä",
    "empty": "",
}
"""Names of jobs, which users choose."""


def only(folder: Path) -> dict[str, Any]:
    """Return the one job file in a folder, as JSON and as the agent reads it without a word."""
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    text = file.read_bytes().decode("utf-8", "replace")
    assert text.count("\n") == 1
    parse_job(text)
    document: dict[str, Any] = json.loads(text)
    return document


def writer(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Run the script that writes, which must never fail, and return what it complains of."""
    return run_hook([str(WRITER), *words], {"GPUMON_JOBS_DIR": str(folder), **(env or {})})


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """The folder of job files, which is not there yet."""
    return tmp_path / "run" / "jobs"


def test_a_home_made_prolog_needs_one_line(jobs: Path) -> None:
    """Its epilog another."""
    said = writer(
        jobs, "begin", "manager=ourqueue", "job_id=99", "gpus=0,2-3", "user=alice", "name=train"
    )
    assert said == ""
    document = only(jobs)
    since = document.pop("since")
    assert document == {
        "schema": 1,
        "manager": "ourqueue",
        "job_id": "99",
        "user": "alice",
        "account": "",
        "partition": "",
        "name": "train",
        "gpus": [0, 2, 3],
        "numbers": "minor",
    }
    assert since % 1 != 0
    assert writer(jobs, "end", "manager=ourqueue", "job_id=99") == ""
    first = only(jobs)["until"]
    assert first >= since
    assert writer(jobs, "end", "manager=ourqueue", "job_id=99") == ""
    assert only(jobs)["until"] == first


@pytest.mark.parametrize(
    ("gpus", "written"),
    [
        ("0", [0]),
        ("0,1,7", [0, 1, 7]),
        ("0-3", [0, 1, 2, 3]),
        ("0-1,6-7,10", [0, 1, 6, 7, 10]),
        (f"{UUIDS[0]},{UUIDS[1]}", list(UUIDS)),
        ("MIG-5a1b-22,3,", ["MIG-5a1b-22", 3]),
    ],
)
def test_gpus_are_uuids_numbers_and_ranges(jobs: Path, gpus: str, written: list[object]) -> None:
    """As the managers write them."""
    assert writer(jobs, "begin", "manager=lsf", "job_id=1", f"gpus={gpus}") == ""
    assert only(jobs)["gpus"] == written


@pytest.mark.parametrize(
    "gpus",
    [
        "all",
        "-1",
        "0,x",
        "1-",
        "1-2-3",
        "3-1",
        "0,3-1",
        "007",
        "99999",
        'GPU-1"',
        "GPU-",
        "*",
        "0 1",
    ],
)
def test_what_is_not_a_gpu_is_said_and_nothing_is_written(jobs: Path, gpus: str) -> None:
    """The job is not known, which is better than a wrong one."""
    assert "these are not GPUs" in writer(jobs, "begin", "manager=lsf", "job_id=1", f"gpus={gpus}")
    assert not jobs.exists()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["begin"],
        ["begin", "manager=PBS", "job_id=1", "gpus=0"],
        ["begin", "manager=../x", "job_id=1", "gpus=0"],
        ["begin", "manager=pbs", "gpus=0"],
        ["begin", "manager=pbs", "job_id=1", "gpus=0", "numbers=uuid"],
        ["begin", "manager=pbs", "job_id=1", "gpus=0", "colour=red"],
        ["start", "manager=pbs", "job_id=1", "gpus=0"],
    ],
)
def test_a_wrong_call_is_said_and_fails_nothing(jobs: Path, words: list[str]) -> None:
    """A prolog with a mistake in it must not drain the cluster."""
    assert writer(jobs, *words).startswith("gpumon: ")
    assert not jobs.exists()


def test_a_folder_that_cannot_be_written_is_said_and_fails_nothing(tmp_path: Path) -> None:
    """Nor is anything left behind."""
    (tmp_path / "file").touch()
    words = ["manager=pbs", "job_id=1", "gpus=0"]
    assert "cannot make" in writer(tmp_path / "file" / "jobs", "begin", *words)
    jobs = tmp_path / "jobs"
    (jobs / "pbs-1.json").mkdir(parents=True)
    (jobs / "pbs-1.json" / "x").touch()
    writer(jobs, "begin", *words)
    assert [path.name for path in jobs.iterdir()] == ["pbs-1.json"]
    assert writer(jobs, "end", *words) == ""


def test_two_jobs_have_two_files(jobs: Path) -> None:
    """Whatever is in their ids, and though two managers count alike; none leaves the folder."""
    ids = ["7", "7_", "7/", "../7", "7[1].server", "7[2].server", "x" * 120, "x" * 121]
    for manager in ("pbs", "flux"):
        for job_id in ids:
            assert writer(jobs, "begin", f"manager={manager}", f"job_id={job_id}", "gpus=0") == ""
    written = [json.loads(file.read_text())["job_id"] for file in jobs.glob("*.json")]
    assert sorted(written) == sorted(ids * 2)
    assert len(list(jobs.iterdir())) == len(ids) * 2
    assert [path.name for path in jobs.parent.iterdir()] == ["jobs"]
    writer(jobs, "end", "manager=flux", "job_id=7")
    ended = [file.name for file in jobs.iterdir() if "until" in json.loads(file.read_text())]
    assert ended == ["flux-7.json"]


def test_a_link_in_place_of_the_new_file_is_not_followed(jobs: Path, tmp_path: Path) -> None:
    """In a folder that everybody may write to; the file itself is replaced, as a link too."""
    jobs.mkdir(parents=True)
    target = tmp_path / "target"
    target.write_text("precious")
    (jobs / "pbs-1.json").symlink_to(target)
    assert writer(jobs, "begin", "manager=pbs", "job_id=1", "gpus=0") == ""
    assert target.read_text() == "precious"
    assert only(jobs)["gpus"] == [0]


def test_what_ended_an_hour_ago_is_cleared_away_and_nothing_else(jobs: Path) -> None:
    """Not the job that runs for longer than that, though it is called "ended" or "until"."""
    for job_id, name in enumerate(["over", "ended", "until", "runs"]):
        writer(jobs, "begin", "manager=pbs", f"job_id={job_id}", "gpus=0", f"name={name}")
    writer(jobs, "end", "manager=pbs", "job_id=0")
    (jobs / "4711.json").write_text('{"job_id": "4711", "gpus": "0", "began": 1, "ended": 2.5}\n')
    for file in jobs.iterdir():
        os.utime(file, (0, 0))
    writer(jobs, "begin", "manager=pbs", "job_id=5", "gpus=0")
    writer(jobs, "end", "manager=pbs", "job_id=5")
    assert sorted(file.name for file in jobs.iterdir()) == [
        "pbs-1.json",
        "pbs-2.json",
        "pbs-3.json",
        "pbs-5.json",
    ]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("field", ["name", "user", "account", "partition"])
def test_what_a_user_writes_forges_no_field(jobs: Path, name: str, field: str) -> None:
    """It is in its own field, without control characters, not endless; the end is written."""
    words = ["manager=pbs", "job_id=1"]
    others = {"user": "u", "account": "a", "partition": "p", "name": "n"}
    given = {**others, field: name}
    assert (
        writer(jobs, "begin", *words, "gpus=0", *(f"{key}={value}" for key, value in given.items()))
        == ""
    )
    document = only(jobs)
    assert {key: document[key] for key in others if key != field} == {
        key: value for key, value in others.items() if key != field
    }
    assert (document["gpus"], document["job_id"], "until" in document) == ([0], "1", False)
    visible = "".join(letter for letter in name if letter >= " " and letter != "\x7f")
    assert visible.startswith(document[field].rstrip("\ufffd"))
    assert len(document[field]) == len(visible) or len(document[field].encode()) >= 256
    assert writer(jobs, "end", *words) == ""
    ended = only(jobs)
    assert ended.pop("until") >= document["since"]
    assert ended == document
    assert not Path("/owned").exists()


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_nor_does_it_in_slurms_hooks(jobs: Path, name: str) -> None:
    """Which are older, and write for themselves."""
    env = {"SLURM_JOB_ID": "1", "SLURM_JOB_GPUS": "0,3", "GPUMON_JOBS_DIR": str(jobs)}
    prolog = str(DEPLOY / "slurm" / "prolog.d-gpumon.sh")
    assert run_hook([prolog], {**env, "SLURM_JOB_NAME": name, "SLURM_JOB_USER": name}) == ""
    document = only(jobs)
    assert (document["gpus"], document["job_id"], "ended" in document) == ("0,3", "1", False)
    assert document["manager"] == "slurm"
    os.utime(jobs / "1.json", (0, 0))
    other = str(DEPLOY / "slurm" / "epilog.d-gpumon.sh")
    assert run_hook([other], {**env, "SLURM_JOB_ID": "2"}) == ""
    assert only(jobs) == document
    assert run_hook([other], env) == ""
    assert only(jobs)["ended"] >= document["began"]


def test_openpbs_prologue_reads_what_its_cgroups_hook_gave_the_job(tmp_path: Path) -> None:
    """Three arguments, and PBS_HOME/aux/JOB.env with the UUIDs."""
    pbs = Pbs(tmp_path)
    pbs.assigns("123.server", ",".join(UUIDS))
    assert pbs.prologue("123.server", "alice", "users") == ""
    document = only(pbs.jobs)
    assert (document["manager"], document["job_id"], document["user"]) == (
        "pbs",
        "123.server",
        "alice",
    )
    assert document["gpus"] == list(UUIDS)
    assert (
        pbs.epilogue(
            *("123.server", "alice", "users", "train", "4242", "ngpus=2", "cput=1", "workq"),
            *("physics", "0"),
        )
        == ""
    )
    assert only(pbs.jobs)["until"] >= document["since"]


def test_pbs_conf_says_where_pbs_is(tmp_path: Path) -> None:
    """MoM's own home before the common one."""
    pbs = Pbs(tmp_path)
    pbs.assigns("1.s", UUIDS[0])
    conf = tmp_path / "pbs.conf"
    conf.write_text(f"PBS_EXEC=/opt/pbs\nPBS_HOME=/nowhere\nPBS_MOM_HOME={pbs.home}\n")
    del pbs.env["PBS_HOME"]
    pbs.env["PBS_CONF_FILE"] = str(conf)
    assert pbs.prologue("1.s", "alice", "users") == ""
    assert only(pbs.jobs)["gpus"] == [UUIDS[0]]


def test_torques_prologue_has_more_arguments_and_a_file_of_gpus(tmp_path: Path) -> None:
    """HOST-gpuN for each GPU of each host of the job: this host's are taken, by index."""
    pbs = Pbs(tmp_path)
    here = os.uname().nodename
    short = here.split(".")[0]
    lines = [
        f"{short}-gpu2",
        "another-node-gpu0",
        f"{short}.cluster.example-gpu3",
        f"{short}x-gpu1",
    ]
    (pbs.home / "aux" / "7.headgpu").write_text("\n".join(lines) + "\n")
    del pbs.env["PBS_HOME"]
    pbs.env["TORQUE_HOME"] = str(pbs.home)
    said = pbs.prologue(
        *("7.head", "bob", "users", "train", "walltime=1:00", "batch", "physics", "script", here)
    )
    assert said == ""
    document = only(pbs.jobs)
    assert (document["gpus"], document["numbers"]) == ([2, 3], "index")
    assert (document["name"], document["partition"], document["account"]) == (
        "train",
        "batch",
        "physics",
    )


@pytest.mark.parametrize("assigned", ["", None])
def test_a_job_of_pbs_without_gpus_has_no_file(tmp_path: Path, assigned: str | None) -> None:
    """The cgroups hook sets CUDA_VISIBLE_DEVICES to nothing; or there is none."""
    pbs = Pbs(tmp_path)
    if assigned is not None:
        pbs.assigns("1.s", assigned)
    assert pbs.prologue("1.s", "alice", "users") == ""
    assert pbs.epilogue("1.s", "alice", "users") == ""
    assert not pbs.jobs.exists()


@pytest.mark.parametrize("hook", ["pbs/prologue.sh", "pbs/epilogue.sh", "flux/prolog.d-gpumon.sh"])
def test_without_the_script_that_writes_a_hook_says_so_and_fails_nothing(
    tmp_path: Path, hook: str
) -> None:
    """Somebody has copied only half."""
    flux = Flux(tmp_path)
    env = {**flux.env, "GPUMON_JOB_WRITER": "/nowhere", "CUDA_VISIBLE_DEVICES": UUIDS[0]}
    assert "/nowhere cannot be run" in run_hook([str(DEPLOY / hook), "1.s", "a", "b"], env)


PBS_MODULE = """
import runpy, sys, types
pbs = types.ModuleType("pbs")
pbs.EXECJOB_BEGIN, pbs.EXECJOB_END, pbs.EXECJOB_ABORT, pbs.LOG_WARNING = 64, 1024, 65536, 4
class Event:
    def accept(self):
        raise SystemExit(0)
event = Event()
pbs.event = lambda: event
pbs.get_pbs_conf = lambda: {conf!r}
pbs.logmsg = lambda level, text: print("LOG", level, text)
class Queue:
    def __str__(self):
        return "workq"
event.type = getattr(pbs, {kind!r})
event.job = types.SimpleNamespace(
    id={job!r}, euser="alice", egroup="users", Job_Name={name!r}, queue=Queue(), Account_Name=None
)
sys.modules["pbs"] = pbs
runpy.run_path({hook!r})
"""
"""What PBS's Python knows as "pbs": the names in doc/man1/pbs_module.7B."""


def pbs_hook(pbs: Pbs, kind: str, job: str = "5[2].server", name: str = "train") -> str:
    """Run the hook as PBS does at an event, and return what it logs."""
    script = PBS_MODULE.format(
        conf={"PBS_HOME": str(pbs.home)},
        kind=kind,
        job=job,
        name=name,
        hook=str(DEPLOY / "pbs" / "gpumon_pbs_hook.py"),
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**pbs.env, "GPUMON_PBS_FOLDER": str(DEPLOY / "pbs")},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("over", ["EXECJOB_END", "EXECJOB_ABORT"])
def test_the_pbs_hook_runs_them_on_every_host(tmp_path: Path, over: str) -> None:
    """At the beginning with all that is known of the job, and at either end."""
    pbs = Pbs(tmp_path)
    pbs.assigns("5[2].server", UUIDS[1])
    del pbs.env["PBS_HOME"]
    assert pbs_hook(pbs, "EXECJOB_BEGIN", name=FORGED) == ""
    document = only(pbs.jobs)
    assert (document["job_id"], document["gpus"]) == ("5[2].server", [UUIDS[1]])
    assert (document["name"], document["partition"], document["user"], document["account"]) == (
        FORGED,
        "workq",
        "alice",
        "",
    )
    assert pbs_hook(pbs, over) == ""
    assert only(pbs.jobs)["until"] >= document["since"]


def test_the_pbs_hook_accepts_the_job_whatever_happens(tmp_path: Path) -> None:
    """And PBS's log has the reason."""
    pbs = Pbs(tmp_path)
    pbs.assigns("1.s", "nonsense")
    assert "LOG 4 gpumon: job 1.s: these are not GPUs" in pbs_hook(pbs, "EXECJOB_BEGIN", job="1.s")
    assert "LOG 4 gpumon: ValueError" in pbs_hook(pbs, "EXECJOB_BEGIN", name="a\0b")


@pytest.mark.parametrize(
    ("rank", "gpus"), [(0, [0, 1, 2, 3]), (1, [0, 1, 2, 3]), (2, [5]), (3, [0, 2])]
)
def test_fluxs_prolog_takes_the_gpus_of_its_own_broker(
    tmp_path: Path, rank: int, gpus: list[int]
) -> None:
    """A job's R has the GPUs of all its nodes, in groups that are alike; Flux counts by index."""
    flux = Flux(tmp_path, rank=rank)
    assert flux.prolog() == ""
    document = only(flux.jobs)
    assert (document["gpus"], document["numbers"]) == (gpus, "index")
    assert (document["manager"], document["job_id"]) == ("flux", FLUX_JOB)
    assert (document["user"], document["partition"], document["account"], document["name"]) == (
        "root",
        "pbatch",
        "physics",
        "train",
    )
    assert flux.epilog() == ""
    assert only(flux.jobs)["until"] >= document["since"]


def test_flux_may_write_a_florin_before_the_id(tmp_path: Path) -> None:
    """The job has one name, which can be typed; the epilog finds the file."""
    flux = Flux(tmp_path)
    flux.env["FLUX_JOB_ID"] = f"ƒ{FLUX_JOB[1:]}"
    assert flux.prolog() == ""
    assert only(flux.jobs)["job_id"] == FLUX_JOB
    flux.env["FLUX_JOB_ID"] = FLUX_JOB
    assert flux.epilog() == ""
    assert "until" in only(flux.jobs)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_name_in_flux_forges_nothing(tmp_path: Path, name: str) -> None:
    """Name and bank are asked for one by one."""
    flux = Flux(tmp_path, name=name, bank=f"{name}|x")
    assert flux.prolog() == ""
    document = only(flux.jobs)
    assert (document["gpus"], document["partition"], document["user"]) == (
        [0, 1, 2, 3],
        "pbatch",
        "root",
    )
    assert name != FORGED or document["name"] == FORGED


def test_a_job_of_flux_without_gpus_here_has_no_file(tmp_path: Path) -> None:
    """Nor has one whose user has no name a wrong one."""
    flux = Flux(tmp_path, rank=4)
    assert flux.prolog() == ""
    assert flux.epilog() == ""
    assert not flux.jobs.exists()
    flux = Flux(tmp_path)
    flux.env["FLUX_JOB_USERID"] = "987654"
    assert flux.prolog() == ""
    assert only(flux.jobs)["user"] == "987654"


def test_a_flux_that_does_not_answer_is_said_and_fails_nothing(tmp_path: Path) -> None:
    """Or is not there."""
    flux = Flux(tmp_path)
    flux.breaks()
    assert "flux does not say which GPUs" in flux.prolog()
    assert not flux.jobs.exists()


GUIDE = (DEPLOY.parent / "docs" / "workloads.md").read_text()


def example(after: str) -> str:
    """Return the example in the guide that stands after some words."""
    lines = GUIDE.split(after, 1)[1].splitlines()
    block = itertools.takewhile(
        lambda line: line.startswith("    "),
        itertools.dropwhile(lambda line: not line.startswith("    "), lines),
    )
    return textwrap.dedent("\n".join(block)) + "\n"


def test_the_guides_home_made_prolog_and_epilog_work(jobs: Path, tmp_path: Path) -> None:
    """As they stand there, but for where the script is."""
    env = {"GPUMON_JOBS_DIR": str(jobs), "JOB_ID": "4711", "JOB_GPUS": "0,2-3", "JOB_USER": "al"}
    for words in ("The prolog, with", "The epilog:"):
        script = tmp_path / "script"
        text = example(words)
        assert "/usr/local/libexec/gpumon-job.sh" in text
        script.write_text(text.replace("/usr/local/libexec/gpumon-job.sh", str(WRITER)))
        script.chmod(0o755)
        assert run_hook([str(script)], {**env, "JOB_NAME": FORGED}) == ""
    document = only(jobs)
    assert (document["job_id"], document["gpus"], document["name"], document["user"]) == (
        "4711",
        [0, 2, 3],
        FORGED,
        "al",
    )
    assert "until" in document


def test_the_guides_job_file_is_one_and_its_table_has_what_the_script_writes(jobs: Path) -> None:
    """A key that is new stands in the guide."""
    held = parse_job(example("code for it"))
    assert (held.job.manager, held.job.job_id, held.gpus) == ("ourqueue", "4711", (0, 3))
    writer(jobs, "begin", "manager=pbs", "job_id=1", "gpus=0")
    writer(jobs, "end", "manager=pbs", "job_id=1")
    rows = [line.split("|")[1] for line in GUIDE.splitlines() if line.startswith("| `")]
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    assert only(jobs).keys() <= named


def test_the_guides_files_and_managers_are_there() -> None:
    """Paths lead somewhere; the first table lists the managers in the order of auto."""
    named = set(re.findall(r"\b(deploy/[\w./-]+\w)", GUIDE))
    assert {Path(path).parent.name for path in named} == {"flux", "jobs", "pbs"}
    assert [path for path in named if not (DEPLOY.parent / path).exists()] == []
    table = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert table[:4] == list(workloads.names()[1:])


def test_all_scripts_are_clean_and_can_be_run() -> None:
    """By shellcheck, and by a shell that knows no more than POSIX."""
    scripts = sorted(DEPLOY.glob("*/*.sh"))
    assert {path.parent.name for path in scripts} == {"flux", "jobs", "pbs", "slurm"}
    subprocess.run([require("shellcheck"), *map(str, scripts)], check=True)
    for script in scripts:
        assert script.stat().st_mode & 0o111
        assert script.read_text().startswith("#!/bin/sh\n")
        subprocess.run(["sh", "-n", str(script)], check=True)
