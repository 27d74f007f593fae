"""The dashboard "GPU health": errors and repairs of the fleet."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import frame, health_errors, health_links, health_now, health_trends, health_which
from dashboards.frame import Row


def dashboard() -> Dashboard:
    """Return the dashboard, over the week in which a board that fails again is noticed."""
    built = (
        builders.Dashboard("GPU health")
        .uid("gpumon-health")
        .description(
            "Xids, memory errors, links, repairs and repeat offenders of the fleet. Numbers and "
            "tables are of now, graphs of the time shown."
        )
        .time("now-7d", "now")
        .variables(frame.fleet_variables())
    )
    return frame.assemble(
        built,
        (
            Row("Is anything broken", health_now.numbers()),
            Row("Which", health_which.which()),
            Row("Does it get better or worse", health_trends.states()),
            Row("Xids", health_errors.xids()),
            Row("Memory", health_errors.memory()),
            Row("Links", health_links.links()),
            Row("Boards that fail again", health_trends.offenders()),
        ),
        frame.FLEET_SOURCE,
        refresh="5m",
    )
