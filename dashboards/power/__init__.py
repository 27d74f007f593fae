"""The dashboard "GPU power and heat": what is drawn against budgets, and how hot it gets."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.kit import frame
from dashboards.kit.frame import Row
from dashboards.kit.promql import SITE
from dashboards.power import budget, heat, nodes
from dashboards.power.series import HALLS


def dashboard() -> Dashboard:
    """Return the dashboard."""
    halls = f"hall:gpumon_known_power_watts:sum{{{SITE}}}"
    racks = f"rack:gpumon_known_power_watts:sum{{{HALLS}}}"
    built = (
        builders.Dashboard("GPU power and heat")
        .uid("gpumon-power")
        .description(
            "Power of site, halls, rows and racks against their budgets, caps in force, and how "
            "near GPUs are to slowing down. Choose sites and halls at the top; racks and "
            "clusters narrow the tables of nodes at the end."
        )
        .time("now-6h", "now")
        .variables(
            [
                *frame.fleet_variables(),
                frame.choose("hall", halls, "Hall", several=True),
                frame.choose("rack", racks, "Rack", several=True),
            ]
        )
    )
    return frame.assemble(
        built,
        (
            Row("Now", (*budget.now(), *heat.now())),
            Row("Power against budgets", budget.budgets()),
            Row("Heat", heat.heat()),
            Row("Swings, limits and peaks", budget.swings()),
            Row("Racks and the facility", (*budget.facility(), *heat.racks())),
            Row("Nodes of the chosen racks", nodes.nodes()),
        ),
        frame.FLEET_SOURCE,
    )
