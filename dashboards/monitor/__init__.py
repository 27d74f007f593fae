"""The dashboard "GPU monitoring itself": can the numbers be relied upon, and what do they cost."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.kit import frame
from dashboards.kit.frame import Row
from dashboards.monitor import cost, coverage, fit, now, silent, trust


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
            Row("Can the numbers be relied upon", now.numbers()),
            Row("Who is not heard", silent.silent()),
            Row("Coverage", coverage.coverage()),
            Row("Age and scrapes", coverage.age()),
            Row("What fails", coverage.failing()),
            Row("Alerts that cannot fire", coverage.alerts()),
            Row("Whether Prometheus is as the rules assume", fit.fit()),
            Row("What the agents cost", cost.agents()),
            Row("What the rules cost Prometheus", cost.prometheus()),
            Row("How far joules can be trusted", trust.joules()),
            Row("Versions, and facts of the site", trust.versions()),
        ),
        frame.FLEET_SOURCE,
    )
