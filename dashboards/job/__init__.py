"""The dashboard "GPU job": one job, its GPUs side by side."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.job import gpus, overview
from dashboards.job.series import BY_GPU, JOB, RECENT, here
from dashboards.kit import frame
from dashboards.kit.frame import Row, Source
from dashboards.kit.promql import CLUSTER, FLEET, aggregate, where

INFO = "gpumon_source_info"
SOURCE = Source(
    of=lambda word: where("({0} > bool 0)", aggregate("count", here(INFO, source=word))),
    every=aggregate("count", here(INFO)),
    marks=aggregate("max", here(INFO, source="sim")),
)
"""Where the numbers of the job's nodes come from: one simulated node is enough to say so."""


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU job")
        .uid("gpumon-job")
        .description("One job: its GPUs side by side, stragglers, joules, waste and Xids.")
        .time("now-3h", "now")
        .variables(
            [
                *frame.fleet_variables(places=False),
                frame.choose("job_id", f"job_id:gpumon_job_info:group{{{FLEET}}}", "Job"),
                frame.behind(
                    "nodes", "instance", f"gpumon_job_gpu_share{{{CLUSTER},{JOB}}}", "Nodes"
                ),
            ]
        )
    )
    return frame.assemble(
        built,
        (
            Row("The job", overview.now()),
            Row("What it has cost", overview.cost()),
            Row("Over time", overview.over_time()),
            Row("What is wrong", gpus.troubles()),
            Row("Its GPUs side by side", gpus.side_by_side()),
            Row("What holds them back, and what they exchange", gpus.held_back()),
            Row("All of them", gpus.every_gpu()),
        ),
        SOURCE,
        frame.xids(
            where(f"{{0}} {BY_GPU} {{1}}", here("gpumon_gpu_xid_last_timestamp_seconds"), RECENT)
        ),
    )
