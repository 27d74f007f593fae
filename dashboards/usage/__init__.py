"""The dashboard "GPU usage and cost": what is paid for, held and used, and what it costs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.kit import frame
from dashboards.kit.frame import Row
from dashboards.usage import now, trust, who


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
            Row("Now, and over the time shown", now.now()),
            Row("What the GPUs are at", now.over_time()),
            Row("Who uses what, over the time shown", who.owners()),
            Row("Jobs", who.jobs()),
            Row("By account over time", who.over_time()),
            Row("By model", trust.models()),
            Row("How far these numbers can be trusted", trust.trust()),
        ),
        frame.FLEET_SOURCE,
        refresh="5m",
    )
