"""A real Slurm gives odd GPUs to hostile jobs: each is booked on the device that it can open.

With its hooks and without; with the JSON of its commands and without. The truth is what a job
finds out itself by opening all devices (task/cgroup); on machines without that cgroup it is the
controller's word, mapped by hand.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import ROOT, wait_for
from tests.support.slurm import Devices, Slurm, can_constrain, run_slurm

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

HOSTILE = "x JobId=77 Account=other UserId=mallory(7)"
FORGED = "array\n     Nodes=n1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7)\nJobId=1 JobName=z"
COMMENT = "Nodes=n1 GRES=gpu:8(IDX:0-7)"

TRY_ALL = (
    "srun -n 1 sh -c 'for n in 0 1 2 3 4 5; do head -c 1 /etc/slurm/nvidia$n; done' 2>{out}; "
    "touch {out}.done; sleep 600"
)
"""What each job does: one that may open a device learns that there is no driver (ENXIO).

In a step: the batch script of this Slurm may open the devices of one type only."""

NO_JSON = r"""#!/bin/sh
case " $* " in *" --json "*) echo "squeue: unrecognized option '--json'" >&2; exit 1;; esac
exec {squeue} "$@"
"""

TWO_TYPES = Devices(
    node="gpu:h200:1,gpu:a100:5,lscratch:20,shard:12",
    conf="NodeName=n1 Name = gpu Type=a100 \\\n  File=/etc/slurm/nvidia[5,4,3,2,1]\n"
    "NodeName=r[1-2]n[1-4],n1 name=gpu type=h200 FILE=/etc/slurm/nvidia0\nName=shard Count=12\n",
    types="gpu,lscratch,shard",
    constrained=can_constrain(),
)
"""slurm.conf's order of types is another than that of gres.conf, and it is the one that holds.

So Slurm's number 0 is device 0, and 1 to 5 are devices 5 to 1."""

MIG = """\
NodeName=n1 Name=gpu Type=1g \\
   MultipleFiles=/etc/slurm/nvidia0,/etc/slurm/nvidia-cap21,/etc/slurm/nvidia-cap22
NodeName=n1 Name=gpu Type=1g \\
   MultipleFiles=/etc/slurm/nvidia1,/etc/slurm/nvidia-cap156,/etc/slurm/nvidia-cap157
NodeName=n1 Name=gpu Type=h200 File=/etc/slurm/nvidia[5,4,3,2]"""

FOUND = "\n".join(
    f"h200{mig}|2|0-1|(null)|/etc/slurm/nvidia{n}|{uuid}|nvidia_gpu_env"
    for n, mig, uuid in (
        *((n, "", "(null)") for n in (5, 4, 3, 2, 0)),
        (1, "_1g.18gb", "MIG-GPU-1/2/0"),
    )
)
"""What Slurm finds itself, by its own fake_gpus.conf: type, CPUs, which, links, file, UUID."""


class Node:
    """The node, with what gpumon says of its jobs."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        """Talk to a Slurm whose jobs write into a folder."""
        self._slurm = slurm
        self._folder = folder
        self._jobs = folder / "jobs"

    def submit(self, *jobs: tuple[str, str]) -> list[str]:
        """Start jobs of some resources and names, and return their numbers once they have tried.

        One that begins with ``array`` is an array of two: its last task comes first.
        """
        numbers = []
        for gres, name in jobs:
            command = ["sbatch", "-D", str(self._folder), "-o", "/dev/null", "--parsable"]
            command += [f"--gres={gres}", f"--job-name={name}", f"--comment={COMMENT}"]
            command += ["--account=physics", "--requeue"]
            command += ["--array=0-1"] if name.startswith("array") else []
            # A word of the shell inside may have a newline only as an escape.
            words = " ".join(_quoted(word) for word in command)
            out = f"{self._folder}/job-$SLURM_JOB_ID"
            said = self._slurm.run(f"{words} --wrap {shlex.quote(TRY_ALL.format(out=out))}")
            numbers.append((said.split()[-1], 1 + name.startswith("array")))
        ids = []
        for number, count in numbers:
            ids += wait_for(
                lambda of=number, n=count: (found := self.running(of))[n - 1 :] and found,
                30,
                f"job {number}",
            )
        for job in ids:
            wait_for((self._folder / f"job-{job}.done").exists, 30, f"job {job} to have tried")
        return ids

    def requeue(self, number: str) -> None:
        """Have a job start again, which Slurm would let wait for two minutes."""
        before = self._began(number)
        self._slurm.run(f"scontrol requeue {number}")
        # Slurm may set the time itself once more, after the job's end.
        now = f"scontrol update jobid={number} starttime=now >/dev/null 2>&1 || true"
        wait_for(
            lambda: self._slurm.run(now) or self._began(number) > before,
            60,
            "the job to begin again",
            every=3,
        )

    def _began(self, number: str) -> float:
        """Return when a job's prolog ran last."""
        return float(json.loads((self._jobs / f"{number}.json").read_text())["began"])

    def running(self, number: str) -> list[str]:
        """Return the numbers of what runs of a job."""
        said = self._slurm.run(f"squeue -h -t R -j {number} -o %A || true").split()
        return sorted((word for word in said if word.isdigit()), key=int)

    def truth(self, job: str) -> list[str] | None:
        """Return the devices that a job could open; None if any job may open all."""
        if not TWO_TYPES.constrained:
            return None
        lines = (self._folder / f"job-{job}").read_text().splitlines()
        return [
            str(n)
            for n in range(6)
            if any(f"nvidia{n}'" in line and "No such device" in line for line in lines)
        ]

    def told(self, *, hooks: bool, text: bool = False, mig: bool = False) -> dict[str, Any]:
        """Return what gpumon says of all jobs."""
        folder = self._jobs if hooks else self._folder / "none"
        path = f"{self._folder}/no-json:$PATH" if text else "$PATH"
        said = self._slurm.run(
            f"cd {ROOT} && PATH={path} {sys.executable} -m tests.support.slurmask {folder}"
            f"{' --mig' if mig else ''} 2>&1; cd - >/dev/null"
        )
        document: dict[str, Any] = json.loads(said[said.index("{") :].splitlines()[0])
        assert document["stale"] == ""
        return document

    @contextlib.contextmanager
    def agent(self) -> Iterator[list[dict[str, Any]]]:
        """Run an agent without hooks beside Slurm, and yield the jobs that it shows."""
        gpumon = f"{sys.executable} -m gpumon"
        state = f"GPUMON_STATE_DIR={self._folder}/state"
        self._slurm.run(
            f"{state} {gpumon} agent --source sim:6xH200 --workload-manager slurm "
            f"--jobs-dir {self._folder}/none --web.listen-address 127.0.0.1:9842 "
            f">{self._folder}/agent.log 2>&1 & echo $! >{self._folder}/agent.pid"
        )
        file = self._folder / "status.json"
        asked = f"{gpumon} status 127.0.0.1:9842 -o json >{file} 2>/dev/null || true"
        try:
            yield wait_for(
                lambda: self._slurm.run(asked) or _jobs_in(file), 30, "the agent's jobs", every=0.5
            )
        finally:
            self._slurm.run(f"kill $(cat {self._folder}/agent.pid)")

    def begin(self, node: str, conf: str) -> None:
        """Begin again with other devices."""
        file = self._folder / "gres.conf"
        file.write_text(conf + "\n")
        self._slurm.run(f"cp {file} /etc/slurm/gres.conf && begin {node}")
        for old in (*self._folder.glob("job-*"), *self._jobs.iterdir()):
            old.unlink()

    def run(self, command: str) -> str:
        """Run a command beside Slurm."""
        return self._slurm.run(command)


def _jobs_in(file: Path) -> list[dict[str, Any]]:
    """Return the jobs that a status shows; none while there is no agent, or it knows of none."""
    try:
        jobs: list[dict[str, Any]] = json.loads(file.read_text()).get("jobs", [])
    except ValueError:
        return []
    return jobs


def _quoted(word: str) -> str:
    return "$'" + word.replace("'", "\\'").replace("\n", "\\n") + "'"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Run one Slurm for all of this file: it begins again with other devices in between."""
    folder = tmp_path_factory.mktemp("slurm-gpus")
    (folder / "jobs").mkdir()
    (folder / "no-json").mkdir()
    with run_slurm(folder, folder / "jobs", devices=TWO_TYPES) as slurm:
        program = folder / "no-json" / "squeue"
        program.write_text(NO_JSON.format(squeue=slurm.run("command -v squeue").strip()))
        program.chmod(0o755)
        yield Node(slurm, folder)


def gpus_of(document: dict[str, Any]) -> dict[str, list[str]]:
    """Return the GPUs of each job."""
    return {job_id: job["gpus"] for job_id, job in document["jobs"].items()}


def test_hostile_jobs_on_two_types_are_booked_where_they_are(node: Node) -> None:
    """One that has both types, an array whose name forges lines, and one with part of a GPU.

    By whatever way is asked; a job's number counts over all types.
    """
    both, last, first, part = node.submit(
        ("lscratch:3,gpu:h200:1,gpu:a100:1", HOSTILE),
        ("gpu:a100:1", FORGED),
        ("shard:2", "part"),
    )
    expected = {both: ["0", "5"], first: ["4"], last: ["3"], part: ["2"]}
    if node.truth(both) is not None:
        expected = {job: node.truth(job) or [] for job in expected}
        assert expected[both] == ["0", "5"]
        assert all(len(gpus) == 1 for job, gpus in expected.items() if job != both)
    for hooks in (True, False):
        document = node.told(hooks=hooks)
        assert gpus_of(document) == expected, f"hooks={hooks}"
        assert document["problems"] == {}
        assert document["order"] == "slurmd -G"
        for job, name in ((both, HOSTILE), (first, FORGED), (last, FORGED)):
            facts = document["jobs"][job]
            assert (facts["user"], facts["account"]) == ("root", "physics")
            assert facts["name"] == name.replace("\n", " ")[:64]
            assert facts["cluster"] == "test"
    # Without JSON a name of several lines hides its own job's GPUs, and costs nobody else any.
    document = node.told(hooks=False, text=True)
    assert gpus_of(document) == {**expected, first: [], last: []}
    assert document["jobs"][both]["name"] == HOSTILE
    assert document["jobs"][both]["account"] == "physics"
    assert set(document["problems"]) == {first, last}
    document = node.told(hooks=True, text=True)
    assert gpus_of(document) == expected
    assert set(document["problems"]) == {first, last}
    # The same by an agent that runs there, of which simulated GPUs have no number but their index.
    with node.agent() as jobs:
        assert {job["job_id"]: [str(gpu["gpu"]) for gpu in job["gpus"]] for job in jobs} == expected
        assert {job["user"] for job in jobs} == {"root"}
        said = node.run(f"{sys.executable} -m gpumon doctor --agent http://127.0.0.1:9842 || true")
    assert "slurm reports which job holds which GPU" in said
    assert "6 by slurmd -G" in said
    assert "writes JSON" in said


def test_instances_by_several_files(node: Node) -> None:
    """MIG by MultipleFiles: the number of the record is not that of the GPU."""
    node.run("sed -i 's/^GresTypes=.*/GresTypes=gpu/' /etc/slurm/slurm.conf")
    node.begin("gpu:1g:2,gpu:h200:4", MIG)
    mixed, instance, whole = node.submit(
        ("gpu:1g:1,gpu:h200:1", "mixed"), ("gpu:1g:1", "instance"), ("gpu:h200:1", "whole")
    )
    expected = {mixed: ["0/2", "5"], instance: ["1/2"], whole: ["4"]}
    for job, gpus in expected.items():
        assert node.truth(job) in ([name[0] for name in gpus], None)
    for hooks, text in ((True, False), (False, True)):
        document = node.told(hooks=hooks, text=text, mig=True)
        assert gpus_of(document) == expected, f"hooks={hooks}"
        assert document["problems"] == {}


def test_devices_that_slurm_finds_itself_and_a_job_that_is_requeued(node: Node) -> None:
    """AutoDetect: Slurm's own order, and a UUID where its prolog has one; two runs of one job."""
    node.run(f"printf '%s\\n' {_quoted(FOUND)} >/etc/slurm/fake_gpus.conf")
    node.begin("gpu:h200:5,gpu:h200_1g.18gb:1", "AutoDetect=nvml")
    instance, whole = node.submit(("gpu:h200_1g.18gb:1", "instance"), ("gpu:h200:1", "whole"))
    asked, hooked = (node.told(hooks=hooks, mig=True) for hooks in (False, True))
    assert (asked["problems"], asked["order"]) == ({}, "slurmd -G")
    for job in (instance, whole):
        for document in (asked, hooked):
            gpus = [name[0] for name in document["jobs"][job]["gpus"]]
            assert node.truth(job) in (gpus, None)
    assert gpus_of(hooked)[instance] == ["1/2"]
    (before,) = hooked["starts"][whole]
    node.requeue(whole)
    document = node.told(hooks=True, mig=True)
    assert document["starts"][whole][0] > before
    assert len(gpus_of(document)[whole]) == 1
