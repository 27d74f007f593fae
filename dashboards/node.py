"""The dashboard "GPU node": everything about one node's GPUs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame, node_activity, node_health, node_jobs, node_overview
from dashboards.frame import Row
from dashboards.promql import node


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
            Row("Now", node_overview.now()),
            Row("Jobs and troubles", node_jobs.jobs()),
            Row("Power and energy", node_overview.power()),
            Row("Heat", node_overview.heat()),
            Row("Activity", node_activity.activity()),
            Row("What holds the clocks down", node_activity.throttling()),
            Row("Links", node_activity.links()),
            Row("Health", node_health.health()),
            Row("Measuring", node_health.measuring()),
            Row("The GPUs", node_health.inventory()),
        ),
        frame.NODE_SOURCE,
        frame.xids(node("gpumon_gpu_xid_last_timestamp_seconds")),
    )
