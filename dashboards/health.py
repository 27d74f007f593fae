"""The dashboard "GPU health": errors and repairs of the fleet."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU health")
        .uid("gpumon-health")
        .description("Xids, memory errors, links, repairs and repeat offenders of the fleet.")
        .time("now-6h", "now")
        .variables(frame.fleet_variables())
    )
    return frame.assemble(built, (), frame.FLEET_SOURCE)
