"""The dashboard "Fleet": is anything wrong, where, and what do we draw and use."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards import alerts, frame, links, panels, style
from dashboards.frame import Row
from dashboards.panels import LIMIT, Column, Key, Size, Text
from dashboards.promql import FLEET, Expr, aggregate, fleet, select, where, worst

NODE = Key("instance", "Node", links.NODE)

UP = aggregate("sum", fleet("cluster:gpumon_gpus_up:sum"))
EXPECTED = aggregate("sum", fleet("cluster:gpumon_gpus_expected:sum"))
HELD = aggregate("sum", fleet("cluster:gpumon_gpus_held:count"))
ACTIVE = aggregate("sum", fleet("cluster:gpumon_gpus_active:count"))
RELEASED = aggregate("sum", fleet("cluster:gpumon_gpus_released:sum"))
DRAWN = aggregate("sum", fleet("cluster:gpumon_known_power_watts:sum"))
BUDGET = aggregate("sum", select("gpumon_site_power_budget_watts", FLEET, level="site"))


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
    firing = select("ALERTS", FLEET, alertstate="firing", severity=severity)
    return panels.value(
        Text(title, f"Alerts that fire. {reading} The table below says which."),
        Size(2, 4),
        {"alerts": where("count({0}) or vector(0)", firing)},
        thresholds=style.thresholds(style.WELL, (1, color)),
    )


def _now() -> tuple[Panel, ...]:
    """Return the numbers to look at first."""
    return (
        _alerts("critical"),
        _alerts("warning"),
        _alerts("info"),
        panels.value(
            Text(
                "GPUs that answer",
                "Of those expected. Normal: all of them, but for what is being repaired.",
            ),
            Size(4, 4),
            {"answer": UP, "expected": EXPECTED},
        ),
        panels.value(
            Text(
                "GPUs missing",
                "Expected, but not answering, and not released on purpose. Normal: 0.",
            ),
            Size(2, 4),
            {
                "missing": where(
                    "clamp_min({0} - {1} - ({2} or vector(0)), 0)", EXPECTED, UP, RELEASED
                )
            },
            thresholds=style.thresholds(style.WELL, (1, style.BAD)),
        ),
        panels.value(
            Text(
                "Held and active",
                "Held: a job has it. Active: and it works, at 5 % SM activity or more. Held but "
                "not active is paid for and wasted.",
            ),
            Size(4, 4),
            {
                "held": where("{0} / {1}", HELD, EXPECTED, unit=units.PercentUnit),
                "active": where("{0} / {1}", ACTIVE, EXPECTED, unit=units.PercentUnit),
            },
        ),
        panels.value(
            Text(
                "Power",
                "Whole nodes where that is known, else their GPUs: a lower bound. The budget is "
                "the site's; absent where gpumon site tells none.",
            ),
            Size(4, 4),
            {"now": DRAWN, "budget": BUDGET},
        ),
        panels.value(
            Text(
                "Of the budget",
                "Of the site, hall, row or rack that is nearest to its budget. From 90 % on "
                "somebody is told; at 100 % something may trip.",
            ),
            Size(2, 4),
            {"used": aggregate("max", fleet("budget:gpumon_power_used:ratio"))},
            thresholds=style.thresholds(style.WELL, (0.9, style.WARNING), (1, style.BAD)),
            absent="no budget: see gpumon site",
        ),
        panels.value(
            Text(
                "Agents",
                "Nodes whose agent answers Prometheus, of all. What does not answer is not known.",
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
            thresholds=style.thresholds(style.BAD, (0.95, style.WARNING), (0.999, style.WELL)),
        ),
    )


def _where() -> tuple[Panel, ...]:
    """Return what fires, and the nodes and racks that are worst off."""
    missing = where(
        "sum by (instance) ({0} - {1} > 0)",
        fleet("instance:gpumon_gpus_expected:sum"),
        fleet("instance:gpumon_gpus_up:sum"),
    )
    hot = aggregate("sum", fleet("instance:gpumon_gpus_hot:count"), "instance")
    xids = aggregate("sum", fleet("instance:gpumon_gpus_with_xid:count1d"), "instance")
    down = aggregate("sum", fleet("instance:gpumon_gpu_nvlinks_down:sum"), "instance")
    repair = aggregate("sum", fleet("instance:gpumon_gpus_to_repair:count"), "instance")
    # One order for all columns: missing GPUs weigh most, then those that ask for a repair.
    ill = where(
        "topk(10, 100 * ({0} or 0 * {1}) + 10 * ({2} or 0 * {1}) + {1} + ({3} or 0 * {1})"
        " + ({4} or 0 * {1}) > 0)",
        missing,
        hot,
        repair,
        down,
        xids,
    )
    return (
        alerts.firing(
            Text(
                "Alerts that fire",
                "Everything but the Watchdog; empty when all is well. gpumon explain ALERT shows "
                "what each means and what to do, and so does its runbook.",
            ),
            Size(14, 10),
            FLEET,
            (
                Key("rack", "Rack", width=80),
                NODE,
                Key("gpu", "GPU", width=60),
                Key("job_id", "Job", links.JOB),
                Key("name", "Budget", width=80),
                Key("team", "Whose"),
            ),
        ),
        panels.listing(
            Text(
                "The ten nodes worst off",
                "By GPUs missing, then GPUs that ask for a reset or reboot, then heat, links and "
                "Xids, as weighted in the first column. Empty when all is well.",
            ),
            Size(10, 10),
            (NODE,),
            (
                Column("Badness", ill),
                Column("Missing", where("{0} and {1}", missing, ill), _any(style.BAD)),
                Column("To repair", where("{0} and {1}", repair, ill), _any(style.BAD)),
                Column("Hot", where("{0} and {1}", hot, ill), _any(style.WARNING)),
                Column("Links down", where("{0} and {1}", down, ill), _any(style.WARNING)),
                Column("With Xids", where("{0} and {1}", xids, ill), _any(style.WARNING)),
            ),
            sort="Badness",
            absent=panels.WELL,
        ),
    )


def _any(color: str) -> builders.ThresholdsConfig:
    """Colour what is more than none."""
    return style.thresholds(style.NEUTRAL, (1, color))


def _power() -> tuple[Panel, ...]:
    """Return power against budgets."""
    return (
        panels.lines(
            Text(
                "Power against budget",
                "Whole nodes where that is known, else their GPUs. The dashed line is the site's "
                "budget. A healthy fleet stays below nine tenths of it.",
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
                "The ten sites, halls, rows and racks that use most of theirs. From 90 % on "
                "somebody is told.",
            ),
            Size(6),
            "{{level}} {{name}}",
            worst(10, aggregate("max", fleet("budget:gpumon_power_used:ratio"), "level", "name")),
            style.thresholds(style.WELL, (0.9, style.WARNING), (1, style.BAD)),
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
                "Active and idle ones are held by jobs. Free: nobody holds it. The gap to the "
                "dashed line (expected) does not answer, or is released on purpose.",
            ),
            Size(14),
            {
                "active": ACTIVE,
                "held, idle": where("{0} - {1}", HELD, ACTIVE),
                "free": where("{0} - {1}", UP, HELD),
                LIMIT: EXPECTED,
            },
            stacked=True,
            colors={"active": style.WELL, "held, idle": style.WARNING, "free": style.FINE},
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
                    "sum", fleet("cluster:gpumon_gpus_in_state:count", state=_ILL), "state"
                )
            },
        ),
        panels.lines(
            Text(
                "Xids in an hour, by class",
                "Application: a program's own doing. Hardware and driver: ours to see to. Marks "
                "on the graphs are codes that a node has not had for a day.",
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
                "Of the GPU nearest to its own slowdown. Normal: above 10 degrees.",
            ),
            Size(8),
            {
                "{{hall}}": aggregate(
                    "min", fleet("hall:gpumon_gpu_temperature_margin_celsius:min"), "hall"
                )
            },
            axis=(None, None),
            thresholds=style.thresholds(style.BAD, (5, style.WARNING), (10, style.WELL)),
            link=links.POWER,
        ),
    )


_ILL = ("lost", "hung", "reset_required", "error", "released")
