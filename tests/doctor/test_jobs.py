"""Whether it is known which job holds which GPU: the agent's word, and Slurm's on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.checks import Level
from gpumon.doctor import agent
from gpumon.doctor.facts import Jobs, SlurmHere
from gpumon.doctor.jobs import jobs, slurm
from gpumon.doctor.judge_jobs import jobs as judge
from gpumon.workloads.slurm.gresindex import ASSUMED, GresIndex
from tests.workloads.fakeslurm import FakeSlurm

KNOWN = GresIndex(((0,), (1,)), 1, "gres.conf")
WELL = SlurmHere(node="n1", version="23.11.10", devices=KNOWN)


def test_a_folder_of_job_files_that_is_not_there_is_said() -> None:
    """It may be misspelt in the agent's configuration, or in the prolog."""
    (finding,) = judge(
        Jobs(manager="jobfiles", success=True, folder_problem="there is no folder /x")
    )
    assert (finding.item, finding.level) == ("jobs", Level.WARN)
    assert finding.evidence.startswith("there is no folder /x: no prolog")
    assert "--jobs-dir" in finding.next_step


@pytest.mark.parametrize(
    ("name", "says"), [("jobs", ""), ("none", "there is no folder"), ("file", "is not a folder")]
)
def test_the_folder_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    """If job files are what the agent reads, and else never."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("gpumon.doctor.jobs._agents_word", lambda *_: WORD)
    assert says in jobs("http://x", "/metrics", tmp_path / name).folder_problem
    assert bool(jobs("http://x", "/metrics", tmp_path / name).folder_problem) is bool(says)


WORD = {("workload_manager_info", "jobfiles"): 1, ("collector_success", "jobfiles"): 1}


def test_a_manager_that_reports_is_well() -> None:
    """Nothing is looked at that is not there."""
    (finding,) = judge(Jobs(manager="kubernetes", success=True, unresolved=0))
    assert (finding.item, finding.level) == ("jobs", Level.PASS)
    assert finding.evidence == "kubernetes reports which job holds which GPU"


@pytest.mark.parametrize(
    ("facts", "level", "says"),
    [
        (Jobs(), Level.SKIP, "no agent says"),
        (Jobs(manager="slurm", success=False), Level.WARN, "could not be read last time"),
        (
            Jobs(manager="slurm", success=True, unresolved=2),
            Level.WARN,
            "2 jobs whose GPUs are not all known",
        ),
    ],
)
def test_what_the_agent_cannot_know_is_said(facts: Jobs, level: Level, says: str) -> None:
    """With a next step, if there is something to do."""
    finding = next(judge(facts))
    assert finding.level is level
    assert says in finding.evidence
    assert bool(finding.next_step) is (level is Level.WARN)


@pytest.mark.parametrize(
    ("here", "item", "level", "says", "step"),
    [
        (WELL, "slurm", Level.PASS, "23.11.10 writes JSON", ""),
        (WELL, "slurm-gpus", Level.PASS, "2 by gres.conf, of 1 kind", ""),
        (
            SlurmHere(node="n1", version="20.11.9", devices=KNOWN, json_problem="no such option"),
            "slurm",
            Level.WARN,
            "a name of several lines",
            "json-c",
        ),
        (
            SlurmHere(node="n1", version="", devices=KNOWN, problem="squeue is not installed"),
            "slurm",
            Level.WARN,
            "squeue is not installed",
            "slurmctld",
        ),
        (
            SlurmHere(node="n1", version="25.11.7", devices=KNOWN, hides_jobs=True),
            "slurm",
            Level.WARN,
            "PrivateData=jobs",
            "operator",
        ),
        (
            SlurmHere(node="n1", version="25.11.7", devices=GresIndex(problem="AutoDetect")),
            "slurm-gpus",
            Level.FAIL,
            "not known: AutoDetect",
            "slurmd -G -N n1",
        ),
        (
            SlurmHere(node="n1", version="25.11.7", devices=ASSUMED),
            "slurm-gpus",
            Level.WARN,
            "taken for N of /dev/nvidiaN",
            "SLURM_CONF",
        ),
    ],
)
def test_what_slurm_cannot_say_here_is_said(
    here: SlurmHere, item: str, level: Level, says: str, step: str
) -> None:
    """Each with a next step."""
    findings = {finding.item: finding for finding in judge(Jobs(manager="slurm", slurm=here))}
    assert findings[item].level is level
    assert says in findings[item].evidence
    assert step in findings[item].next_step


METRICS = """# HELP gpumon_workload_manager_info x
gpumon_workload_manager_info{manager="slurm"} 1
gpumon_collector_success{collector="host"} 0
gpumon_collector_success{collector="slurm"} 1
gpumon_workload_manager_unresolved_jobs 3
"""


def test_the_agents_metrics_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which manager, whether it could be read, and of how many jobs it is not known."""
    FakeSlurm(tmp_path, monkeypatch)
    monkeypatch.setattr("gpumon.doctor.jobs.ask", lambda url, path: agent.Answer(url, 200, METRICS))
    found = jobs("http://127.0.0.1:9", "/metrics")
    assert (found.manager, found.success, found.unresolved) == ("slurm", True, 3)
    assert found.slurm is not None
    assert found.slurm.problem == "scontrol: no such thing here"


def test_without_an_agent_slurm_is_looked_at_if_it_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its configuration; the installation may be of tomorrow."""
    commands = FakeSlurm(tmp_path, monkeypatch)
    assert jobs("http://127.0.0.1:9", "/metrics").slurm is not None
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "none" / "slurm.conf"))
    assert jobs("http://127.0.0.1:9", "/metrics") == Jobs()
    assert len(commands.asked("sinfo")) == 1


def test_slurms_own_words_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version, JSON after a warning, what it hides from users, and the devices."""
    commands = FakeSlurm(tmp_path, monkeypatch)
    commands.says("squeue", "slurm 25.11.7\n")
    commands.says("sinfo", 'sinfo: warning: old\n{"sinfo": []}\n')
    commands.says("scontrol", "Configuration data\nPrivateData             = accounts,jobs\n")
    commands.gres_conf("Name=gpu File=/dev/nvidia[3,2]\n")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = slurm()
    assert (found.version, found.problem, found.json_problem) == ("25.11.7", "", "")
    assert found.hides_jobs
    assert found.devices.names == ((3,), (2,))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    commands.says("sinfo", "n1\n")
    found = slurm()
    assert not found.hides_jobs
    assert found.json_problem == "it prints something else"
