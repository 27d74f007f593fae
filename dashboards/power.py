"""The dashboard "GPU power and heat": what is drawn against budgets, and how hot it gets."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU power and heat")
        .uid("gpumon-power")
        .description(
            "Power of site, halls, rows and racks against their budgets, caps in force, and how near GPUs are to slowing down."
        )
        .time("now-6h", "now")
        .variables(frame.fleet_variables())
    )
    return frame.assemble(built, (), frame.FLEET_SOURCE)
