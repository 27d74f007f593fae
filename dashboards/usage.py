"""The dashboard "GPU usage and cost": what is paid for, held and used, and what it costs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame, usage_now, usage_trust, usage_who
from dashboards.frame import Row


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU usage and cost")
        .uid("gpumon-usage")
        .description(
            "What is paid for, held and used, by whom, and what it costs in energy, money and "
            "carbon. Cost is indicative, at the price of each moment: gpumon report makes the bill."
        )
        .time("now-6h", "now")
        .variables(frame.fleet_variables())
    )
    return frame.assemble(
        built,
        (
            Row("Now, and over the time shown", usage_now.now()),
            Row("What the GPUs are at", usage_now.over_time()),
            Row("Who uses what, over the time shown", usage_who.owners()),
            Row("Jobs", usage_who.jobs()),
            Row("By account over time", usage_who.over_time()),
            Row("By model", usage_trust.models()),
            Row("How far these numbers can be trusted", usage_trust.trust()),
        ),
        frame.FLEET_SOURCE,
        refresh="5m",
    )
