"""Write what this checkout's agent exposes on eight idle H100s, two of them held by a job.

Run ``python -m tests.expositions.record NAME MANAGER`` in a checkout of the release, once for each
release; MANAGER reads job files (``jobfiles``; ``slurm`` before 0.2). It writes ``NAME.prom``,
``NAME-sick.prom`` with four GPUs that are not well, and ``NAME.metrics``, the names of all metrics
of the standard tier, be they served or not. The files stay as they are.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.fakenvml import FakeDriver, build_library, profiles
from tests.support.servers import ROOT, run_agent, wait_for

JOB = "4711"
HELD = (2, 3)
BUSY = 2
"""The GPU that the job uses; it leaves the other idle."""


LOST, RESET, HOT, UNJOINED = 4, 5, 6, 7
"""GPUs of a sick node: off the bus; the driver asks for a reset; too hot; not in its fabric yet."""


def record(folder: Path, manager: str, *, sick: bool = False) -> str:
    """Return the exposition of the standard tier, of a node that is well, or sick."""
    driver = FakeDriver(
        folder / "driver", profiles.h100(8), library=build_library(folder / "library")
    )
    driver.set(BUSY, "gpm.2", 87.5)
    driver.set(BUSY, "utilization.gpu", 97)
    driver.set("*", "fabric.state", 3)
    if sick:
        driver.set(RESET, "field.230", 1)
        driver.set(HOT, "clocks_event_reasons", 0x40 | 0x20 | 0x8)
        driver.set(UNJOINED, "fabric.state", 2)
    jobs = folder / "jobs"
    jobs.mkdir()
    job = {
        "schema": 1,
        "job_id": JOB,
        "user": "ada",
        "account": "ml",
        "partition": "train",
        "name": "llm",
        "manager": "pbs",
        "gpus": ",".join(map(str, HELD)),
        "began": time.time() - 60,
    }
    (jobs / f"{JOB}.json").write_text(json.dumps(job), "utf-8")
    args = ("--workload-manager", manager, "--jobs-dir", str(jobs))
    wanted = ("gpumon_gpu_sm_active_ratio{", "gpumon_job_gpu_share{")
    with run_agent(folder, "nvml", *args, env=driver.env()) as agent:
        wait_for(lambda: all(name in agent.metrics() for name in wanted), 20, "the job's GPUs")
        if sick:
            driver.lose(LOST)
            wait_for(lambda: _LOST.search(agent.metrics()), 20, "the GPU that is lost")
        return agent.metrics()


_LOST = re.compile(rf'gpumon_gpu_state\{{gpu="{LOST}".*state="lost"\}} 1')


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for sick, ending in ((False, ".prom"), (True, "-sick.prom")):
            of = Path(folder, ending)
            of.mkdir()
            name = Path(sys.argv[1] + ending)
            name.write_text(record(of, sys.argv[2], sick=sick), "utf-8")
    listed = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    names = sorted(set(re.findall(r"(?m)^\| `(\w+)` \| \w+ \| (?:core|standard) \|", listed)))
    Path(sys.argv[1] + ".metrics").write_text("\n".join([*names, ""]), "utf-8")
