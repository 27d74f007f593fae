"""The dashboard "GPU health": errors and repairs of the fleet."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.health import errors, links, now, trends, which
from dashboards.kit import frame
from dashboards.kit.frame import Row


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
        .variables(frame.fleet_variables(places=False))
    )
    return frame.assemble(
        built,
        (
            Row("Is anything broken", now.numbers()),
            Row("Which", which.which()),
            Row("Does it get better or worse", trends.states()),
            Row("Xids", errors.xids()),
            Row("Memory", errors.memory()),
            Row("Links", links.links()),
            Row("Boards that fail again", trends.offenders()),
        ),
        frame.FLEET_SOURCE,
        refresh="5m",
    )
