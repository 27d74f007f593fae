"""The dashboard "GPU monitoring itself": can the numbers be relied upon, and what do they cost."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import (
    frame,
    monitor_cost,
    monitor_coverage,
    monitor_now,
    monitor_silent,
    monitor_trust,
)
from dashboards.frame import Row


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU monitoring itself")
        .uid("gpumon-monitor")
        .description(
            "Can the numbers be relied upon: coverage, age, errors, trust in joules; and what "
            "gpumon costs its nodes and its Prometheus."
        )
        .time("now-6h", "now")
        .variables(frame.fleet_variables())
    )
    return frame.assemble(
        built,
        (
            Row("Can the numbers be relied upon", monitor_now.numbers()),
            Row("Who is not heard", monitor_silent.silent()),
            Row("Coverage", monitor_coverage.coverage()),
            Row("Age and scrapes", monitor_coverage.age()),
            Row("What fails", monitor_coverage.failing()),
            Row("What the agents cost", monitor_cost.agents()),
            Row("What the rules cost Prometheus", monitor_cost.prometheus()),
            Row("How far joules can be trusted", monitor_trust.joules()),
            Row("Versions, and facts of the site", monitor_trust.versions()),
        ),
        frame.FLEET_SOURCE,
    )
