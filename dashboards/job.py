"""The dashboard "GPU job": one job, its GPUs side by side."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame, job_gpus, job_overview
from dashboards.frame import Row, Source
from dashboards.job_series import BY_GPU, JOB, RECENT, here
from dashboards.promql import CLUSTER, FLEET, aggregate, where

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
                *frame.fleet_variables(),
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
            Row("The job", job_overview.now()),
            Row("What it has cost", job_overview.cost()),
            Row("Over time", job_overview.over_time()),
            Row("What is wrong", job_gpus.troubles()),
            Row("Its GPUs side by side", job_gpus.side_by_side()),
            Row("What holds them back, and what they exchange", job_gpus.held_back()),
            Row("All of them", job_gpus.every_gpu()),
        ),
        SOURCE,
        frame.xids(
            where(f"{{0}} {BY_GPU} {{1}}", here("gpumon_gpu_xid_last_timestamp_seconds"), RECENT)
        ),
    )
