"""The dashboard "GPU node": everything about one node's GPUs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.kit import frame
from dashboards.kit.frame import Row
from dashboards.kit.promql import node
from dashboards.node import activity, health, jobs, overview


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU node")
        .uid("gpumon-node")
        .description("Power, heat, activity and health of one node's GPUs.")
        .time("now-1h", "now")
        .variables(frame.node_variables())
    )
    return frame.assemble(
        built,
        (
            Row("Now", overview.now()),
            Row("Jobs and troubles", jobs.jobs()),
            Row("Power and energy", overview.power()),
            Row("Heat", overview.heat()),
            Row("Activity", activity.activity()),
            Row("What holds the clocks down", activity.throttling()),
            Row("Links", activity.links()),
            Row("Health", health.health()),
            Row("Measuring", health.measuring()),
            Row("The GPUs", health.inventory()),
        ),
        frame.NODE_SOURCE,
        frame.xids(node("gpumon_gpu_xid_last_timestamp_seconds")),
    )
