"""GPU usage: the numbers that count, and what the GPUs are at over time."""

from __future__ import annotations

import dataclasses

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import keys, limits, panels, style, tables
from dashboards.kit.fleet_series import ACTIVE, BY_USE, EXPECTED, HELD, UP, total
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import Expr, aggregate, fleet, increase, kilowatt_hours, where, worst
from dashboards.kit.tables import Column, Key

GRAMS_AN_HOUR = "si:g/h"

NO_PRICE = "no price: see gpumon site"

COST = fleet("cluster:gpumon_cost:rate_per_hour")
CARBON = dataclasses.replace(fleet("cluster:gpumon_carbon_grams:rate_per_hour"), unit=GRAMS_AN_HOUR)
IDLE = fleet("job_id:gpumon_job_idle_gpus:count")

IDLE_JOULES = fleet("instance_job_id:gpumon_job_idle_energy_joules:sum")
JOB_JOULES = fleet("instance_job_id:gpumon_job_gpu_energy_joules:sum")

JOB_FACTS = where(
    "topk by (cluster, job_id) (1, last_over_time({0}[$__range]))",
    fleet("job_id:gpumon_job_info:group"),
)
"""Who each job of the time shown is, also of those that have ended."""

WASTE = style.worsening(0.05, 0.15)


def energy(watts: Expr) -> Expr:
    """Return the energy over the time shown; while power is absent nothing is drawn."""
    return where("sum_over_time(({0})[$__range:1m]) / 60000", watts, unit=units.KiloWattHour)


def amount(an_hour: Expr, unit: str) -> Expr:
    """Return what a rate by the hour comes to over the time shown."""
    return where("sum_over_time(({0})[$__range:1m]) / 60", an_hour, unit=unit)


def now() -> tuple[Panel, ...]:
    """Return the numbers to look at first."""
    gpus = total("gpumon_gpu_power_watts:sum")
    facility = total("gpumon_facility_power_watts:sum")
    cost = aggregate("sum", COST, "currency")
    carbon = aggregate("sum", CARBON)
    return (
        _gpus(),
        _active(),
        _idle_now(),
        _energy(gpus, facility),
        _waste(),
        _cost_of_energy(cost),
        _carbon(carbon),
    )


def _gpus() -> Panel:
    return panels.value(
        Text(
            "GPUs",
            "Expected: what is paid for, also behind silent agents. Up: answering. Held: "
            "a job has it, a lost one too. "
            f"Active: and it works, at {limits.IDLE_WORDS} activity or more. Each gap to the "
            "number before is money.",
        ),
        Size(6, 4),
        {"expected": EXPECTED, "up": UP, "held": HELD, "active": ACTIVE},
    )


def _active() -> Panel:
    return panels.value(
        Text(
            "Active",
            "The share of the GPUs expected that works at this moment. Normal: above 70 % in a "
            "cluster that is in demand.",
        ),
        Size(2, 4),
        {"active": where("{0} / ({1} > 0)", ACTIVE, EXPECTED, unit=units.PercentUnit)},
        thresholds=style.thresholds(style.BAD, (0.4, style.WARNING), (0.7, style.WELL)),
    )


def _idle_now() -> Panel:
    return panels.value(
        Text(
            "Idle",
            f"Of the held GPUs, those that have done nothing {limits.IDLE_FOR}. Normal: "
            "below 5 %. The table below says whose.",
        ),
        Size(2, 4),
        {
            "idle": where(
                "sum({0}) / (sum({1}) > 0)",
                IDLE,
                fleet("job_id:gpumon_job_gpus:count"),
                unit=units.PercentUnit,
            )
        },
        thresholds=WASTE,
        absent="no jobs",
    )


def _energy(gpus: Expr, facility: Expr) -> Panel:
    return panels.value(
        Text(
            "Energy",
            "Over the time shown. The facility is whole nodes times PUE, and has the GPUs in "
            "it; it is absent where gpumon site tells no PUE.",
        ),
        Size(4, 4),
        {"GPUs": energy(gpus), "facility": energy(facility)},
    )


def _waste() -> Panel:
    return panels.value(
        Text(
            "Waste",
            "Share of the jobs' energy that went into GPUs they held and left idle, over the "
            "time shown, by the ledger's joules; each second counts. Normal: below 5 %.",
        ),
        Size(2, 4),
        {
            "waste": where(
                "sum({0}) / (sum({1}) > 0)",
                increase(IDLE_JOULES),
                increase(JOB_JOULES),
                unit=units.PercentUnit,
            )
        },
        thresholds=WASTE,
        absent="too short a time",
    )


def _cost_of_energy(cost: Expr) -> Panel:
    return panels.value(
        Text(
            "Cost of energy",
            "Of the facility's energy: now by the hour, and over the time shown, at the price "
            "of each moment. Indicative: gpumon report makes the bill.",
        ),
        Size(5, 4),
        {
            "{{currency}} an hour": cost,
            "{{currency}} in all": amount(cost, units.Short),
        },
        absent=NO_PRICE,
    )


def _carbon(carbon: Expr) -> Panel:
    return panels.value(
        Text(
            "Carbon",
            "CO2 equivalent of the facility's energy over the time shown, at the grid's "
            "factor of each moment. Indicative, as the cost is.",
        ),
        Size(3, 4),
        {"carbon": amount(carbon, units.Gram)},
        absent="no factor: see gpumon site",
    )


def over_time() -> tuple[Panel, ...]:
    """Return GPUs by what they do, and the jobs that let theirs idle."""
    return (
        panels.lines(
            Text(
                "GPUs by what they do",
                "Active and idle ones are held by jobs; idle is of this moment, so a pause shows "
                "too, and a lost GPU that its job still holds. Free: nobody holds it. The gap to "
                "the dashed line (expected) does not answer, is behind a silent agent, or is "
                "released on purpose.",
            ),
            Size(12, 9),
            {**BY_USE, LIMIT: EXPECTED},
            stacked=True,
            colors=style.BY_USE,
        ),
        _idle(),
    )


def _idle() -> Panel:
    most = worst(10, where("sum by (cluster, job_id) ({0}) > 0", IDLE))
    whose = where(
        "{0} * on (cluster, job_id) group_left (user, account, name) {1}", most, JOB_FACTS
    )

    def too(name: str) -> Expr:
        found = aggregate("sum", fleet(name), "cluster", "job_id")
        return where("{0} and on (cluster, job_id) {1}", found, most)

    wasted = aggregate("sum", increase(IDLE_JOULES), "cluster", "job_id")
    return tables.listing(
        Text(
            "Jobs with idle GPUs",
            "GPUs that a job holds and has not used for ten minutes on end: ask its owner. Waste: "
            "what they drew meanwhile, over the time shown. Empty when all is well.",
        ),
        Size(12, 9),
        (
            keys.JOB,
            Key("name", "Name"),
            Key("user", "User"),
            Key("account", "Account"),
            keys.CLUSTER,
        ),
        (
            Column("Idle", whose, style.thresholds(style.WARNING)),
            Column("Held", too("job_id:gpumon_job_gpus:count")),
            Column("Activity", too("job_id:gpumon_job_activity_ratio:avg")),
            Column(
                "Waste",
                kilowatt_hours(where("({0} and on (cluster, job_id) {1})", wasted, most)),
            ),
        ),
        sort="Idle",
        absent=panels.WELL,
    )
