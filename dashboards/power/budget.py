"""GPU power: what is drawn against budgets and limits, how fast it swings, and the facility."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import keys, limits, links, panels, style, tables
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import Expr, aggregate, fleet, where, worst
from dashboards.kit.tables import Column, Key
from dashboards.power.series import (
    AS_BUILT,
    BUDGET,
    DRAWN,
    FACILITY,
    GPUS,
    HEADROOM,
    LIMITS,
    PUE,
    RACK,
    TOP,
    WHOLE_NODES,
    of_halls,
)

NO_BUDGET = "no budget: see gpumon site"
NEAR = limits.budget()
NEAR_WORDS = limits.percent(limits.BUDGET_NEAR)

SWING = limits.limit("power.swing_ratio")
"""Of the budget within five minutes: what the alert on swings calls too much."""


def now() -> tuple[Panel, ...]:
    """Return the numbers of power to look at first."""
    used = of_halls("budget:gpumon_power_used:ratio")
    return (
        _power(),
        _headroom(),
        _nearest_budget(used),
        _capped(),
        _facility(),
        _pue(),
    )


def _power() -> Panel:
    return panels.value(
        Text(
            "Power",
            "Whole nodes where that is known, else their GPUs: a lower bound. The budget is "
            "the site's, or of the chosen halls; absent where gpumon site tells none.",
        ),
        Size(4, 4),
        {"now": DRAWN, "budget": BUDGET},
    )


def _headroom() -> Panel:
    return panels.value(
        Text(
            "Headroom",
            "What may still be drawn within the budget. Below 0 it is exceeded; plan new jobs "
            "by this number less the swing.",
        ),
        Size(3, 4),
        {"headroom": HEADROOM},
        thresholds=style.thresholds(style.BAD, (0, style.WELL)),
        absent=NO_BUDGET,
    )


def _nearest_budget(used: Expr) -> Panel:
    return panels.value(
        Text(
            "Nearest budget",
            f"The site, hall, row or rack that uses most of its own. From {NEAR_WORDS} on "
            "somebody is told; at 100 % something may trip.",
        ),
        Size(3, 4),
        {"{{level}} {{name}}": worst(1, aggregate("max", used, "level", "name"))},
        thresholds=NEAR,
        named=True,
        absent=NO_BUDGET,
    )


def _capped() -> Panel:
    return panels.value(
        Text(
            "Capped",
            "How far the limits in force are below those the GPUs were built with, on the "
            "whole. Normal: 0 %, unless somebody caps on purpose.",
        ),
        Size(2, 4),
        {"lowered": where("1 - {0} / {1}", LIMITS, AS_BUILT, unit=units.PercentUnit)},
        thresholds=style.thresholds(style.NEUTRAL, (0.001, style.WARNING)),
    )


def _facility() -> Panel:
    return panels.value(
        Text(
            "Facility",
            "Power of whole nodes times PUE (power usage effectiveness): what the meter of "
            "the building should show. Absent where no node's power, or no PUE, is known.",
        ),
        Size(2, 4),
        {"facility": FACILITY},
        absent="no PUE: see gpumon site",
    )


def _pue() -> Panel:
    return panels.value(
        Text(
            "PUE",
            "Facility over node power, as gpumon site tells it. Normal: 1.1 to 1.5; a site "
            "that is cooled well is near 1.1.",
        ),
        Size(2, 4),
        {"{{site}}": PUE},
        absent="no PUE",
    )


def budgets() -> tuple[Panel, ...]:
    """Return power over time against the budget, and who is near to one."""
    key = ("site", "level", "hall", "row", "rack")
    by = f"on ({', '.join(key)})"

    def of_budgets(name: str) -> Expr:
        return aggregate("max", of_halls(name), *key)

    near = worst(12, of_budgets("budget:gpumon_power_used:ratio"))
    top = of_halls("budget:gpumon_power_watts:swing5m", level=TOP)
    return (
        _power_against_budget(),
        tables.listing(
            Text(
                "Budgets by use",
                "The twelve sites, halls, rows and racks that use most of theirs. Left: what each "
                f"may still draw. Normal: below {NEAR_WORDS}. A click on a hall or a rack chooses "
                "it here.",
            ),
            Size(10, 9),
            (
                keys.SITE,
                Key("level", "Level"),
                Key("hall", "Hall", links.POWER),
                Key("row", "Row"),
                Key("rack", "Rack", RACK),
            ),
            (
                Column("Used", near, NEAR),
                *(
                    Column(heading, where(f"{{0}} and {by} {{1}}", of_budgets(name), near))
                    for heading, name in (
                        ("Power", "budget:gpumon_power_watts:sum"),
                        ("Left", "budget:gpumon_power_headroom_watts:difference"),
                    )
                ),
            ),
            sort="Used",
            absent=NO_BUDGET,
        ),
        panels.lines(
            Text(
                "Swing within five minutes",
                "Highest less lowest minute of the last five, of site and halls: what feeds and "
                f"generators must follow. Somebody is told from {limits.percent(SWING)} of a "
                "budget on (dashed: of the whole).",
            ),
            Size(6, 9),
            {
                "{{level}} {{name}}": aggregate("max", top, "level", "name"),
                LIMIT: where(f"{SWING} * ({{0}})", BUDGET),
            },
        ),
    )


def _power_against_budget() -> Panel:
    return panels.lines(
        Text(
            "Power against budget",
            "By hall, stacked, against the budget of all of them (dashed). Whole nodes where "
            f"that is known, else their GPUs. Normal: below {NEAR_WORDS} of it.",
        ),
        Size(8, 9),
        {"{{hall}}": _by_hall("sum", "hall:gpumon_known_power_watts:sum"), LIMIT: BUDGET},
        stacked=True,
        link=links.POWER,
    )


def _by_hall(function: str, name: str) -> Expr:
    return aggregate(function, of_halls(name), "hall")


def swings() -> tuple[Panel, ...]:
    """Return how fast power changes and where, and what limits and peaks add up to."""
    peaks = aggregate("sum", of_halls("hall:gpumon_gpu_power_peak_watts:sum"))
    ramp = of_halls("budget:gpumon_power_watts:ramp1m", level=TOP)
    swing = of_halls("budget:gpumon_power_watts:swing5m", level="rack")
    return (
        panels.lines(
            Text(
                "How fast power changes",
                "Over the last minute, up or down, of site and halls. A large job that starts or "
                "ends is a step; a row of steps is jobs in lockstep, or a feed that fails.",
            ),
            Size(8, 9),
            {"{{level}} {{name}}": aggregate("max", ramp, "level", "name")},
            axis=(None, None),
        ),
        panels.bars(
            Text(
                "Racks that swing most",
                "Highest less lowest minute of the last five. A rack that swings alone is a job "
                "that begins, ends or writes a checkpoint; all of them at once is the site's.",
            ),
            Size(7, 9),
            "{{rack}}",
            worst(10, aggregate("max", swing, "site", "hall", "row", "rack")),
            style.thresholds(style.FINE),
            link=RACK,
        ),
        panels.lines(
            Text(
                "GPUs: mean, peaks and limits",
                "Peaks are sub-second, the highest of half a minute. Added up above a node they "
                "are an upper bound: nodes do not peak at the same moment. Dashed: the limits as "
                "built; where those in force run below it, somebody caps.",
            ),
            Size(9, 9),
            {
                "mean": GPUS,
                "peaks, upper bound": peaks,
                "limits in force": LIMITS,
                LIMIT: AS_BUILT,
            },
            colors={"mean": style.WELL, "peaks, upper bound": style.WARNING},
        ),
    )


def facility() -> tuple[Panel, ...]:
    """Return what comes on top of the GPUs."""
    known = fleet("cluster:gpumon_facility_power_nodes:ratio")
    return (
        panels.lines(
            Text(
                "From GPUs to the facility",
                "GPUs, whole nodes where that is known, and these times PUE. Each is part of the "
                "next; do not add them. How many nodes are known is beside it.",
            ),
            Size(9),
            {"facility": FACILITY, "whole nodes": WHOLE_NODES, "GPUs": GPUS},
            colors={"facility": style.NEUTRAL, "whole nodes": style.FINE, "GPUs": style.WELL},
        ),
        panels.value(
            Text(
                "Nodes known",
                "Whose power is known, of all nodes of the chosen clusters, whatever the halls. "
                "Others are missing in whole nodes and facility, which are then too low.",
            ),
            Size(3),
            {"{{cluster}}": aggregate("min", known, "cluster")},
            thresholds=style.thresholds(style.BAD, (0.9, style.WARNING), (0.999, style.WELL)),
            absent="none, or no PUE",
        ),
    )
