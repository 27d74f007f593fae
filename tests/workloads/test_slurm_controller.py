"""What Slurm's controller says of jobs: JSON of several versions, texts, and what users forge."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from gpumon.workloads.slurm.controller import Controller
from gpumon.workloads.slurm.gres import NotKnownError
from gpumon.workloads.slurm.scontrol import parse_scontrol
from gpumon.workloads.slurm.slurmcommand import SlurmError
from gpumon.workloads.slurm.squeue import ControllerJob, parse_squeue, told_of
from tests.workloads.fakeslurm import FakeSlurm, when, whose

FILES = Path(__file__).parent / "slurm"
VERSIONS = ("22.05.8", "23.11.10", "25.11.7")
"""Of squeue --json that was captured: plain numbers, objects, another layout of nodes."""

HOSTILE = "x JobId=77 Account=other UserId=mallory(7)"
FORGED = "y\n     Nodes=n1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)\nJobId=1 JobName=z"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Return commands of Slurm that are not there yet."""
    return FakeSlurm(tmp_path, monkeypatch)


def text_of(name: str) -> str:
    """Return a captured text."""
    return (FILES / name).read_text()


def told(text: str, job_id: str, node: str = "n1") -> ControllerJob | None:
    """Return what a JSON says of a job."""
    return told_of(parse_squeue(text)[job_id], node)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hostile_name_is_a_name(version: str) -> None:
    """In JSON no text of a user's is in any other field; of all captured versions."""
    found = told(text_of(f"squeue-{version}-running.json"), "1")
    assert found is not None
    job = found.job
    assert (job.job_id, job.user, job.account, job.partition) == ("1", "root", "", "gpu")
    assert (job.name, job.cluster, job.manager) == (HOSTILE, "test", "slurm")
    assert found.started is not None
    assert found.started > 1_790_000_000


@pytest.mark.parametrize("version", VERSIONS)
def test_two_types_and_a_count_before_them(version: str) -> None:
    """``lscratch(CNT:3),gpu:h200:1(IDX:0),gpu:a100:1(IDX:1)``: both GPUs."""
    found = told(text_of(f"squeue-{version}-running.json"), "1")
    assert found is not None
    assert (found.numbers, found.problem) == ((0, 1), "")


@pytest.mark.parametrize("version", VERSIONS)
def test_each_task_of_an_array_has_its_own_gpu(version: str) -> None:
    """The last task has the array's number."""
    text = text_of(f"squeue-{version}-running.json")
    found = {job_id: told(text, job_id) for job_id in ("2", "3")}
    assert {job_id: one.numbers for job_id, one in found.items() if one} == {"2": (3,), "3": (2,)}
    assert {one.job.name for one in found.values() if one} == {FORGED.replace("\n", " ")[:64]}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_job_on_two_nodes_and_a_heterogeneous_one(version: str) -> None:
    """Each node has its own text, and each component its own number."""
    text = text_of(f"squeue-{version}-het.json")
    numbers = {
        node: {i: one.numbers for i in "1234" if (one := told(text, i, node)) and one.numbers}
        for node in ("n1", "n2", "n3")
    }
    assert numbers == {
        "n1": {"1": (0,), "2": (1, 2), "3": (3,)},
        "n2": {"2": (0, 1), "4": (2,)},
        "n3": {},
    }


def record(**fields: Any) -> dict[str, Any]:
    """Return a job in the newer layout."""
    base = {
        "job_id": 7,
        "job_state": ["RUNNING"],
        "user_name": "alice",
        "start_time": {"set": True, "infinite": False, "number": 1_790_000_000},
        "gres_detail": ["gpu:2(IDX:0-1)"],
        "job_resources": {"nodes": {"list": "n1"}},
    }
    return {**base, **fields}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"gres_detail": None}, "no gres_detail"),
        ({"gres_detail": ["gpu:2(IDX:0)"]}, "counts 2 GPUs and names 1"),
        ({"gres_detail": ["gpu(CNT:2)"]}, "does not say which"),
        ({"gres_detail": ["gpu:1(IDX:0)", "gpu:1(IDX:1)"]}, "of 2 nodes, and names 1"),
        ({"gres_detail": [{"gpu": 1}]}, "not a text"),
        ({"job_resources": {"nodes": "n[1"}}, "brackets"),
        ({"job_resources": None, "nodes": 5}, "does not name"),
    ],
)
def test_what_cannot_be_known_is_said(fields: dict[str, Any], problem: str) -> None:
    """And no GPU is taken for the job's."""
    found = told_of([record(**fields)], "n1")
    assert found is not None
    assert found.numbers == ()
    assert problem in found.problem


def test_two_clusters_with_one_number_are_not_known() -> None:
    """A federation's squeue may list both."""
    found = told_of([record(cluster="a"), record(cluster="b")], "n1")
    assert found is not None
    assert found.problem == "squeue lists 2 jobs of this number"


def test_a_name_of_any_bytes_is_a_name() -> None:
    """Slurm hands them on as they are."""
    text = json.dumps({"jobs": [record(name="@")]}).encode().replace(b'"@"', b'"\xff\xfe"')
    found = told_of(parse_squeue(text)["7"], "n1")
    assert found is not None
    assert (found.job.user, found.numbers) == ("alice", (0, 1))


@pytest.mark.parametrize(
    ("state", "holds"),
    [
        ("RUNNING", True),
        (["RUNNING"], True),
        (["COMPLETED", "COMPLETING"], True),
        ("SUSPENDED", True),
        (["COMPLETED"], False),
        ("CANCELLED", False),
        (["PENDING"], False),
        (None, True),
    ],
)
def test_a_job_that_has_ended_holds_nothing(state: object, holds: bool) -> None:  # noqa: FBT001
    """Those of the last minutes are listed too; one that completes still has its GPUs."""
    assert (told_of([record(job_state=state)], "n1") is not None) is holds


@pytest.mark.parametrize(
    "value", [None, 0, {"set": False, "number": 3}, {"infinite": True}, "x", True]
)
def test_a_time_that_is_not_set_is_not_known(value: object) -> None:
    """In any of its forms."""
    found = told_of([record(start_time=value)], "n1")
    assert found is not None
    assert found.started is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7\n",
        '{"jobs": {}}',
        '{"jobs": [], "errors": [{"description": "down"}]}',
        "[" * 9999,
    ],
)
def test_an_answer_that_is_none_is_an_error(text: str) -> None:
    """And not a list without jobs."""
    with pytest.raises(SlurmError):
        parse_squeue(text)


def ask(*job_ids: str, controller: Controller | None = None) -> dict[str, ControllerJob]:
    """Ask the commands that are there."""
    return asyncio.run((controller or Controller()).ask(job_ids, "n1"))


def test_all_jobs_of_one_answer_are_taken_from_it(slurm: FakeSlurm) -> None:
    """Up to 22.05 squeue prints all jobs, whichever are asked for."""
    slurm.squeue(json=text_of("squeue-22.05.8-running.json"))
    assert {job_id: one.numbers for job_id, one in ask("1", "2", "3", "9").items()} == {
        "1": (0, 1),
        "2": (3,),
        "3": (2,),
    }
    assert slurm.asked("squeue") == ["--json --local -j 1", "--json --local -j 9"]


def test_a_job_that_slurm_has_forgotten_is_none(slurm: FakeSlurm) -> None:
    """It ended a moment ago; the others are answered."""
    kept = slurm._kept("squeue", "one", text_of("squeue-25.11.7-running.json"))
    slurm.script(
        "squeue",
        'case "$*" in *"-j 8"*)',
        'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1;; esac',
        f"cat {kept}",
    )
    assert list(ask("8", "1")) == ["1"]


def by_text(slurm: FakeSlurm, scontrol: str, *rows: str, began: str = "", name: str = "") -> None:
    """Have a Slurm without JSON print these."""
    numbers = [one[:32].strip() for one in rows]
    started = began or "2026-11-30T07:00:00"
    slurm.squeue(
        UserName="".join(rows),
        StartTime="".join(when(number, began=started) for number in numbers),
        Name=name + "\n",
    )
    slurm.says("scontrol", scontrol)


def test_without_json_a_hostile_name_is_a_name(slurm: FakeSlurm) -> None:
    """The field case: user and account are asked for alone, the name goes onto its label."""
    by_text(
        slurm,
        text_of("slurm-forged-job-name.txt"),
        whose("7", "alice", "physics"),
        name=HOSTILE,
    )
    (found,) = ask("7").values()
    job = found.job
    assert (job.job_id, job.user, job.account, job.partition, job.name) == (
        "7",
        "alice",
        "physics",
        "gpu",
        HOSTILE,
    )
    assert (found.numbers, found.problem) == ((1,), "")
    assert found.started == dt.datetime.fromisoformat("2026-11-30T07:00:00").timestamp()


def test_without_json_the_one_record_of_an_arrays_last_task_is_taken(slurm: FakeSlurm) -> None:
    """The field case: scontrol prints all tasks; job 5 is on GPU 2."""
    text = text_of("slurm-2205-array-master-scontrol.txt")
    by_text(slurm, text, whose("5", "alice"), whose("6", "alice"))
    assert {job_id: one.numbers for job_id, one in ask("5", "6").items()} == {"5": (2,), "6": (1,)}


@pytest.mark.parametrize(
    ("file", "job_id", "numbers"),
    [
        ("slurm-gres-count-first.txt", "1", (0,)),
        ("slurm-gres-mig.txt", "1", (1,)),
        ("slurm-gres-two-types.txt", "1", (0, 2)),
        ("slurm-forged-job-name.txt", "7", (1,)),
        ("scontrol-22.05.8-two-types.txt", "1", (0, 1)),
        ("scontrol-25.11.7-two-types.txt", "1", (0, 1)),
    ],
)
def test_what_scontrol_prints_of_one_job(file: str, job_id: str, numbers: tuple[int, ...]) -> None:
    """The field cases, and what two real versions print."""
    assert parse_scontrol(text_of(file), job_id, "n1") == numbers


@pytest.mark.parametrize("version", ["22.05.8", "25.11.7"])
@pytest.mark.parametrize("job_id", ["2", "3"])
def test_a_name_of_several_lines_makes_the_gpus_unknown_and_no_others(
    version: str, job_id: str
) -> None:
    """As two real versions print a name with a newline: its record has one line, the forged one."""
    text = text_of(f"scontrol-{version}-array.txt")
    with pytest.raises(NotKnownError, match=r"records of 2, 1.*, and squeue lists 2, 3"):
        parse_scontrol(text, job_id, "n1", {"2", "3"})


RECORD = """JobId=7 JobName={name}
   UserId=alice(1000) GroupId=alice(1000) MCS_label=N/A
   JobState=RUNNING Reason=None Dependency=(null)
     Nodes=n[1-2] CPU_IDs=0 Mem=0 GRES=gpu:1(IDX:1)
     Nodes=n3 CPU_IDs=0 Mem=0 GRES=gpu:1(IDX:0)
   Comment={comment}
"""


@pytest.mark.parametrize(
    "words",
    [
        "\n     Nodes=n1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)",
        "\n     Nodes=n[1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)",
        "\nJobId=7 JobName=x\n     Nodes=n1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)",
        "\nJobId=8 JobName=x",
    ],
)
@pytest.mark.parametrize("field", ["name", "comment"])
def test_forged_lines_make_the_gpus_unknown(field: str, words: str) -> None:
    """In front of the true line or after it."""
    text = RECORD.format(**{"name": "x", "comment": "x", field: f"x{words}"})
    with pytest.raises(NotKnownError):
        parse_scontrol(text, "7", "n1")


@pytest.mark.parametrize(
    "words",
    [
        HOSTILE,
        "Nodes=n1 GRES=gpu:8(IDX:0-7)",
        "\r     Nodes=n1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)",
        "\u2028     Nodes=n1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)",
        "\x0bJobId=7 JobName=y",
        "\n     Nodes=n9 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)",
        "\n   UserId=mallory(7) Account=other",
    ],
)
@pytest.mark.parametrize("field", ["name", "comment"])
def test_what_forges_no_line_of_this_node_changes_nothing(field: str, words: str) -> None:
    """No letter but a line feed ends a line of scontrol's."""
    text = RECORD.format(**{"name": "x", "comment": "x", field: f"x{words}"})
    assert parse_scontrol(text, "7", "n1") == (1,)
    assert parse_scontrol(text, "7", "n3") == (0,)


def test_a_job_that_was_started_again_meanwhile_is_asked_again(slurm: FakeSlurm) -> None:
    """Its text may be of either run."""
    by_text(slurm, RECORD.format(name="x", comment=""), whose("7", "alice"))
    count = slurm.folder / "count"
    slurm.script(
        "squeue",
        'case " $* " in *" --json "*) exit 1;; *StartTime:*) ;; *) exit 0;; esac',
        f"echo >>{count}",
        f'if [ "$(wc -l <{count})" = 1 ]; then t=07; else t=08; fi',
        'printf "%32s%32s%32s\\n" 7 RUNNING 2026-11-30T$t:00:00',
    )
    assert ask("7") == {}


def siblings_of_seven(slurm: FakeSlurm, *siblings: str) -> None:
    """Have squeue list job 7 and another task of its array, a further one each time it is asked."""
    count = slurm.folder / "count"
    slurm.says("scontrol", RECORD.format(name="x", comment=""))
    slurm.script(
        "squeue",
        'case " $* " in *" --json "*) exit 1;; *StartTime:*) ;; *) exit 0;; esac',
        f"echo >>{count}",
        f"set -- {' '.join(siblings)}; n=$(wc -l <{count})",
        'for job in 7 $(eval "echo \\${$n:-}"); do',
        'printf "%32s%32s%32s\\n" $job RUNNING 2026-11-30T07:00:00; done',
    )


def test_a_task_of_its_array_that_is_forgotten_meanwhile_ends_no_job(slurm: FakeSlurm) -> None:
    """Squeue lists it before scontrol is asked, and not after it: both are asked again."""
    siblings_of_seven(slurm, "8")
    (found,) = ask("7").values()
    assert (found.numbers, found.problem) == ((1,), "")
    assert len(slurm.asked("scontrol")) == 2


def test_an_array_that_changes_each_time_ends_no_job_either(slurm: FakeSlurm) -> None:
    """It runs, and it is said that its GPUs are not known."""
    siblings_of_seven(slurm, *map(str, range(8, 17)))
    (found,) = ask("7").values()
    assert found.numbers == ()
    assert found.problem == "the tasks of its array that squeue lists change each time"
    assert found.started == dt.datetime.fromisoformat("2026-11-30T07:00:00").timestamp()
    assert len(slurm.asked("scontrol")) == 3


@pytest.mark.parametrize("state", ["COMPLETED", "PENDING"])
def test_a_job_that_does_not_run_holds_nothing(slurm: FakeSlurm, state: str) -> None:
    """Only of one that runs is the true line of its resources always there."""
    slurm.squeue(UserName=whose("7", "alice"), StartTime=when("7", state))
    slurm.says("scontrol", RECORD.format(name="x", comment=""))
    assert ask("7") == {}


def test_users_and_accounts_of_any_letters_stay_in_their_columns(slurm: FakeSlurm) -> None:
    """Columns are of bytes; a row that a name would forge is not among these fields at all."""
    by_text(slurm, RECORD.format(name="x", comment=""), whose("7", "älice" * 20, "phÿsics"))
    (found,) = ask("7").values()
    assert found.job.account == "phÿsics"
    assert found.job.user.startswith("älice")


def test_without_json_it_is_said_once_and_tried_again_after_a_while(
    slurm: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    """Slurm may be upgraded while the agent runs."""
    caplog.set_level(logging.WARNING)
    by_text(slurm, RECORD.format(name="x", comment=""), whose("7", "alice"))
    controller = Controller()
    for _ in range(3):
        assert list(ask("7", controller=controller)) == ["7"]
    tries = [line for line in slurm.asked("squeue") if "--json" in line]
    assert len(tries) == 1
    assert len(caplog.records) == 1
    assert "field by field" in caplog.text
    controller._without_json = 60
    slurm.squeue(json=text_of("squeue-25.11.7-running.json"))
    assert list(ask("1", controller=controller)) == ["1"]


def test_a_controller_that_is_away_is_an_error_in_either_form(slurm: FakeSlurm) -> None:
    """Neither is taken for a Slurm without JSON."""
    slurm.says("squeue", code=1, error="Unable to contact slurm controller (connect failure)")
    controller = Controller()
    with pytest.raises(SlurmError, match="Unable to contact"):
        ask("7", controller=controller)
    slurm.squeue(json=text_of("squeue-25.11.7-running.json"))
    assert list(ask("1", controller=controller)) == ["1"]


def test_the_agents_own_environment_does_not_change_the_form(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQUEUE_FORMAT and its like are for people."""
    monkeypatch.setenv("SQUEUE_FORMAT", "%j")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    monkeypatch.setenv("SLURM_CLUSTERS", "all")
    slurm.script(
        "squeue", "env | grep -q -e SQUEUE_ -e SLURM_TIME -e SLURM_CLUSTERS && exit 9", "echo 12"
    )
    assert asyncio.run(Controller().running("n1")) == ["12"]


def test_the_captured_files_are_json_of_three_versions() -> None:
    """So that nobody takes one for another."""
    for version in VERSIONS:
        for kind in ("running", "het"):
            document = json.loads(text_of(f"squeue-{version}-{kind}.json"))
            meta = document["meta"]
            assert (meta.get("slurm") or meta.get("Slurm"))["release"] == version
