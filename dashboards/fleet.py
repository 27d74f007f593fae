"""The dashboard "Fleet": is anything wrong, where, and what do we draw and use."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards.kit import alerts, frame, keys, limits, links, panels, style, troubles
from dashboards.kit.fleet_series import (
    ACTIVE,
    BY_USE,
    EXPECTED,
    HELD,
    MISSING,
    SICK,
    UP,
)
from dashboards.kit.frame import Row
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import FLEET, SITE, Expr, aggregate, fleet, select, where, worst
from dashboards.kit.tables import Key

DRAWN = aggregate("sum", fleet("site:gpumon_known_power_watts:sum"))
BUDGET = where(
    "sum(max by (site, level, name) ({0}))",
    select("gpumon_site_power_budget_watts", SITE, level="site"),
)
USED = aggregate("max", fleet("budget:gpumon_power_used:ratio"), "level", "name")


def dashboard() -> Dashboard:
    """Return the dashboard."""
    built = (
        builders.Dashboard("GPU fleet")
        .uid("gpumon-fleet")
        .description(
            "Is anything wrong, where, and what do we draw and use. Click on a name to open it."
        )
        .time("now-3h", "now")
        .variables(frame.fleet_variables())
    )
    return frame.assemble(
        built,
        (
            Row("Is anything wrong", _now()),
            Row("Where", _where()),
            Row("Power", _power()),
            Row("What the GPUs do", _use()),
            Row("Health over time", _health()),
        ),
        frame.FLEET_SOURCE,
        frame.fleet_xids(),
    )


def _alerts(severity: str) -> Panel:
    words = {
        "critical": ("Critical", "Somebody must come now. Normal: 0.", style.BAD),
        "warning": ("Warning", "Somebody must see to it today. Normal: few.", style.WARNING),
        "info": ("Info", "Nobody need do anything now. Normal: some.", style.FINE),
    }
    title, reading, color = words[severity]
    return panels.value(
        Text(
            title,
            f"Alerts that fire. {reading} The table below says which. While rules are not "
            "evaluated (no Watchdog) it says so, for nobody knows.",
        ),
        Size(2, 4),
        {"alerts": alerts.number(FLEET, severity)},
        thresholds=style.thresholds(style.WELL, (1, color)),
        absent=alerts.NOT_EVALUATED,
    )


def _now() -> tuple[Panel, ...]:
    """Return the numbers to look at first."""
    return (
        _alerts("critical"),
        _alerts("warning"),
        _alerts("info"),
        _gpus_that_answer(),
        _gpus_missing(),
        _held_and_active(),
        _power_now(),
        _nearest_budget(),
        _agents(),
    )


def _gpus_that_answer() -> Panel:
    return panels.value(
        Text(
            "GPUs that answer",
            "Of those expected, with those behind silent agents, as many as there were. "
            "Normal: all of them, but for what is being repaired.",
        ),
        Size(4, 4),
        {"answer": UP, "expected": EXPECTED},
    )


def _gpus_missing() -> Panel:
    return panels.value(
        Text(
            "GPUs missing",
            "Expected, but not answering, and not released on purpose; also those behind a "
            "silent agent. Normal: 0.",
        ),
        Size(2, 4),
        {"missing": MISSING},
        thresholds=style.ANY_BAD,
    )


def _held_and_active() -> Panel:
    return panels.value(
        Text(
            "Held and active",
            f"Held: a job has it. Active: and it works, at {limits.IDLE_WORDS} SM activity or "
            "more. Held but not active is wasted. Of the GPUs expected; a lost GPU that its "
            "job still holds counts as held.",
        ),
        Size(4, 4),
        {
            "held": where("{0} / {1}", HELD, EXPECTED, unit=units.PercentUnit),
            "active": where("{0} / {1}", ACTIVE, EXPECTED, unit=units.PercentUnit),
        },
    )


def _power_now() -> Panel:
    return panels.value(
        Text(
            "Power",
            "Whole nodes where that is known, else their GPUs: a lower bound. The budget is "
            "the site's; absent where gpumon site tells none.",
        ),
        Size(4, 4),
        {"now": DRAWN, "budget": BUDGET},
    )


def _nearest_budget() -> Panel:
    return panels.value(
        Text(
            "Nearest budget",
            "The site, hall, row or rack that uses most of its own. From "
            f"{limits.percent(limits.BUDGET_NEAR)} on somebody is told; at 100 % something "
            "may trip.",
        ),
        Size(2, 4),
        {"{{level}} {{name}}": worst(1, USED)},
        thresholds=limits.budget(),
        named=True,
        absent="no budget: see gpumon site",
    )


def _agents() -> Panel:
    return panels.value(
        Text(
            "Agents",
            "Nodes whose agent answers Prometheus, of all. What is silent is not known. "
            f"Vermilion: {limits.percent(limits.MANY_AGENTS_DOWN)} of them or more are silent.",
        ),
        Size(2, 4),
        {
            "up": where(
                "sum({0}) / sum({1})",
                fleet("cluster:gpumon_agents_up:sum"),
                fleet("cluster:gpumon_agents:count"),
                unit=units.PercentUnit,
            )
        },
        thresholds=style.thresholds(
            style.BAD, (1 - limits.MANY_AGENTS_DOWN, style.WARNING), (0.999, style.WELL)
        ),
    )


def _where() -> tuple[Panel, ...]:
    """Return what fires, and the nodes and racks that are worst off."""
    return (
        alerts.firing(
            Text(
                "Alerts that fire",
                "Everything but the Watchdog; empty when all is well. gpumon explain ALERT shows "
                "what each means and what to do, and so does its runbook.",
            ),
            Size(13, 10),
            FLEET,
            (
                Key("rack", "Rack", width=58),
                keys.NARROW_NODE,
                keys.NARROW_CLUSTER,
                keys.NARROW_GPU,
                keys.NARROW_JOB,
                alerts.ABOUT,
            ),
        ),
        troubles.nodes(
            Text(
                "The ten nodes worst off",
                "The score counts a missing GPU a hundredfold, one that asks for a reset or "
                "reboot tenfold, and once each of heat, links that are down or narrow, kinds of "
                f"Xids {limits.XIDS_LAST} that are no program's own, and memory rows to replace. "
                "Where the agent is silent all its GPUs are missing, and the rest is not known. "
                "Empty when all is well.",
            ),
            Size(11, 10),
            (
                troubles.MISSING,
                troubles.REPAIR,
                troubles.HOT,
                troubles.LINKS,
                troubles.XIDS,
                troubles.ROWS,
            ),
            most=10,
        ),
    )


def _power() -> tuple[Panel, ...]:
    """Return power against budgets."""
    return (
        panels.lines(
            Text(
                "Power against budget",
                "Whole nodes where that is known, else their GPUs. The dashed line is the site's "
                f"budget. A healthy fleet stays below {limits.percent(limits.BUDGET_NEAR)} of it.",
            ),
            Size(10),
            {"drawn": DRAWN, LIMIT: BUDGET},
        ),
        panels.lines(
            Text(
                "Power by hall",
                "Stacked. Targets without the label hall are one series without a name.",
            ),
            Size(8),
            {"{{hall}}": aggregate("sum", fleet("hall:gpumon_known_power_watts:sum"), "hall")},
            stacked=True,
            link=links.POWER,
        ),
        panels.bars(
            Text(
                "Nearest to their budget",
                "The ten sites, halls, rows and racks that use most of theirs. From "
                f"{limits.percent(limits.BUDGET_NEAR)} on somebody is told.",
            ),
            Size(6),
            "{{level}} {{name}}",
            worst(10, USED),
            limits.budget(),
            most=1,
            absent="no budget: see gpumon site",
        ),
    )


def _use() -> tuple[Panel, ...]:
    """Return what the GPUs are at."""
    return (
        panels.lines(
            Text(
                "GPUs by what they do",
                "Active and idle ones are held by jobs; a lost GPU that its job still holds "
                "counts as held. Free: nobody holds it. The gap to the dashed line (expected) "
                "does not answer, is behind a silent agent, or is released on purpose.",
            ),
            Size(14),
            {**BY_USE, LIMIT: EXPECTED},
            stacked=True,
            colors=style.BY_USE,
        ),
        panels.lines(
            Text(
                "Activity and utilisation",
                "Means over all GPUs. Utilisation says that some kernel was there, activity (SM) "
                "how much of the GPU worked: a wide gap is work that is done badly.",
            ),
            Size(10),
            {
                "SM activity": _mean("activity"),
                "utilisation": _mean("utilization"),
            },
            axis=(0, 1),
        ),
    )


def _mean(what: str) -> Expr:
    """Return a mean over the GPUs of all chosen clusters."""
    return where(
        "sum({0} * {1}) / sum({1} and {0})",
        fleet(f"cluster:gpumon_gpu_{what}_ratio:avg"),
        where("({0} > 0)", fleet("cluster:gpumon_gpus_up:sum")),
    )


def _health() -> tuple[Panel, ...]:
    """Return what went wrong over time."""
    return (
        panels.lines(
            Text(
                "GPUs that do not answer, by state",
                "Normal: none. Lost: it has left the bus. Hung: a call to the driver does not "
                "return. Released: on purpose, for a repair.",
            ),
            Size(8),
            {
                "{{state}}": aggregate(
                    "sum",
                    fleet("cluster:gpumon_gpus_in_state:count", state=(*SICK, "released")),
                    "state",
                )
            },
        ),
        panels.lines(
            Text(
                "Xids in an hour, by class",
                "Application: a program's own doing. Hardware and driver: ours to see to. Marks "
                f"on the graphs are codes that a node has not had {limits.XIDS_FOR}.",
            ),
            Size(8),
            {
                "{{class}}": aggregate(
                    "sum", fleet("cluster:gpumon_gpu_xid_errors:increase1h"), "class"
                )
            },
        ),
        panels.lines(
            Text(
                "Lowest temperature margin",
                "Of the GPU nearest to its own slowdown. Normal: above "
                f"{limits.LOW_MARGIN} degrees.",
            ),
            Size(8),
            {
                "{{hall}}": aggregate(
                    "min", fleet("hall:gpumon_gpu_temperature_margin_celsius:min"), "hall"
                )
            },
            axis=(None, None),
            low=True,
            thresholds=limits.margin(),
            link=links.POWER,
        ),
    )
