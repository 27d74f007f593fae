"""The dashboard "GPU": everything known of one GPU."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU")
        .uid("gpumon-gpu")
        .description("Everything that is known of one GPU.")
        .time("now-6h", "now")
        .variables(frame.fleet_variables())
    )
    return frame.assemble(built, (), frame.FLEET_SOURCE)
