"""What PBS and Flux do when a job begins and ends, without PBS and without Flux."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.servers import ROOT

DEPLOY = ROOT / "deploy"

FLUX_JOB = "f2oLkTLb"

FLUX = """
import json, sys
words = sys.argv[1:]
job = json.load(open({facts!r}))
if words == ["getattr", "rank"]:
    print(job["rank"])
elif words[:2] == ["job", "info"] and words[3:] == ["R"]:
    print(json.dumps(job["R"]))
elif words[:3] == ["R", "decode", "--include"] and words[4:] == ["--short"]:
    rank, found = int(words[3]), []
    for group in json.load(sys.stdin)["execution"]["R_lite"]:
        first, _, last = group["rank"].partition("-")
        if int(first) <= rank <= int(last or first):
            parts = []
            for kind, ids in group["children"].items():
                single = ids.isdecimal()
                parts.append(kind + (ids if single else f"[{{ids}}]"))
            found.append(f"rank{{rank}}/" + ",".join(parts))
    print(" ".join(found))
elif words[:3] == ["jobs", "-n", "-o"]:
    print(words[3].format(**job))
else:
    sys.exit(f"flux: unknown: {{words}}")
"""
"""The commands of Flux that the prolog uses; the form of ``--short`` is that of its own tests
(t/t0026-flux-R.t): rank0/core[0-43],gpu[0-3]."""

R = {
    "version": 1,
    "execution": {
        "R_lite": [
            {"rank": "0-1", "children": {"core": "0-43", "gpu": "0-3"}},
            {"rank": "2", "children": {"core": "7", "gpu": "5"}},
            {"rank": "3", "children": {"core": "0-1", "gpu": "0,2"}},
            {"rank": "4", "children": {"core": "0-1"}},
        ],
        "nodelist": ["node[0-4]"],
        "starttime": 1780000000.0,
        "expiration": 1780003600.0,
    },
}
"""A job's resource set, as Flux's RFC 20 describes it."""


def run_hook(command: Sequence[str], env: Mapping[str, str]) -> str:
    """Run a hook, which must never fail nor write to stdout; return what it complains of."""
    done = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **env},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert done.stdout == ""
    return done.stderr


class Pbs:
    """A MoM that runs our prologue and epilogue."""

    def __init__(self, folder: Path, jobs: Path | None = None) -> None:
        """Make its home."""
        self.jobs = jobs or folder / "jobs"
        self.home = folder / "pbs"
        (self.home / "aux").mkdir(parents=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "PBS_HOME": str(self.home),
            "PBS_CONF_FILE": str(folder / "none.conf"),
            "GPUMON_JOBS_DIR": str(self.jobs),
            "GPUMON_JOB_WRITER": str(DEPLOY / "jobs" / "gpumon-job.sh"),
        }

    def assigns(self, job: str, gpus: str) -> None:
        """Write what the hook pbs_cgroups writes at execjob_begin (write_job_env_file)."""
        lines = [f"CUDA_VISIBLE_DEVICES={gpus}", "CUDA_DEVICE_ORDER=PCI_BUS_ID"]
        (self.home / "aux" / f"{job}.env").write_text("\n".join(lines))

    def prologue(self, *words: str) -> str:
        """Run the prologue with its arguments."""
        return run_hook([str(DEPLOY / "pbs" / "prologue.sh"), *words], self.env)

    def epilogue(self, *words: str) -> str:
        """Run the epilogue with its arguments."""
        return run_hook([str(DEPLOY / "pbs" / "epilogue.sh"), *words], self.env)


class Flux:
    """A broker that runs our prolog and epilog for one job."""

    def __init__(
        self,
        folder: Path,
        *,
        rank: int = 0,
        name: str = "train",
        bank: str = "physics",
        jobs: Path | None = None,
    ) -> None:
        """Make a program flux that knows the job."""
        self.jobs = jobs or folder / "jobs"
        self._bin = folder / "bin"
        self._bin.mkdir(exist_ok=True)
        facts = folder / "flux.json"
        facts.write_text(
            json.dumps({"rank": rank, "R": R, "name": name, "queue": "pbatch", "bank": bank})
        )
        program = folder / "flux.py"
        program.write_text(FLUX.format(facts=str(facts)))
        self._write(f'exec {shlex.quote(sys.executable)} -I {shlex.quote(str(program))} "$@"')
        self.env = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "FLUX_JOB_ID": FLUX_JOB,
            "FLUX_JOB_USERID": "0",
            "GPUMON_JOBS_DIR": str(self.jobs),
            "GPUMON_JOB_WRITER": str(DEPLOY / "jobs" / "gpumon-job.sh"),
        }

    def _write(self, text: str) -> None:
        (self._bin / "flux").write_text(f"#!/bin/sh\n{text}\n")
        (self._bin / "flux").chmod(0o755)

    def breaks(self) -> None:
        """Answer nothing from now on."""
        self._write("exit 1")

    def prolog(self) -> str:
        """Run the prolog."""
        return run_hook([str(DEPLOY / "flux" / "prolog.d-gpumon.sh")], self.env)

    def epilog(self) -> str:
        """Run the epilog."""
        return run_hook([str(DEPLOY / "flux" / "epilog.d-gpumon.sh")], self.env)
