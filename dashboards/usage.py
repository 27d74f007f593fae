"""The dashboard "GPU usage and cost": what is paid for, held and used, and what it costs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU usage and cost")
        .uid("gpumon-usage")
        .description(
            "What is paid for, held and used, by whom, and what it costs in energy, money and carbon."
        )
        .time("now-6h", "now")
        .variables(frame.fleet_variables())
    )
    return frame.assemble(built, (), frame.FLEET_SOURCE)
