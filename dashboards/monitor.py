"""The dashboard "GPU monitoring itself": whether the numbers can be relied upon, and what they cost."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU monitoring itself")
        .uid("gpumon-monitor")
        .description("Whether gpumon itself is well: coverage, age, errors, and what it costs.")
        .time("now-6h", "now")
        .variables(frame.fleet_variables())
    )
    return frame.assemble(built, (), frame.FLEET_SOURCE)
