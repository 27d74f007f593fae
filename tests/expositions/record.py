"""Write what this checkout's agent exposes on eight idle H100s, two of them held by a job.

Run ``python -m tests.expositions.record FILE MANAGER`` in a checkout of the release, once for each
release; MANAGER reads job files (``jobfiles``; ``slurm`` before 0.2). The file stays as it is.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from tests.fakenvml import FakeDriver, build_library, profiles
from tests.support.servers import run_agent, wait_for

JOB = "4711"
HELD = (2, 3)
BUSY = 2
"""The GPU that the job uses; it leaves the other idle."""


def record(folder: Path, manager: str) -> str:
    """Return the exposition of the standard tier."""
    driver = FakeDriver(
        folder / "driver", profiles.h100(8), library=build_library(folder / "library")
    )
    driver.set(BUSY, "gpm.2", 87.5)
    driver.set(BUSY, "utilization.gpu", 97)
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
        return agent.metrics()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        Path(sys.argv[1]).write_text(record(Path(folder), sys.argv[2]), "utf-8")
