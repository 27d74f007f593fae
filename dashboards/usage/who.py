"""GPU usage: by account, user and job, in GPUs, energy, money and carbon."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import keys, limits, links, panels, style, tables
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import (
    Expr,
    aggregate,
    called,
    fleet,
    increase,
    kilowatt_hours,
    where,
    worst,
)
from dashboards.kit.tables import Column, Key
from dashboards.usage.now import (
    CARBON,
    COST,
    GRAMS_AN_HOUR,
    IDLE_JOULES,
    JOB_FACTS,
    NO_PRICE,
    amount,
    energy,
)

GPU_WATTS = where("(sum by (cluster) ({0}) > 0)", fleet("cluster:gpumon_gpu_power_watts:sum"))

JOB_WATTS = fleet("job_id:gpumon_job_power_watts:sum")
BY_JOB = ("cluster", "job_id")


def _cost(watts: Expr, *by: str) -> Expr:
    """Return the part of the clusters' cost by the hour that falls to somebody's GPU watts."""
    of_each = where(
        "{0} / on (cluster) group_left () {1} * on (cluster) group_left (currency) "
        "sum by (cluster, currency) ({2})",
        watts,
        GPU_WATTS,
        COST,
        unit=units.Short,
    )
    return aggregate("sum", of_each, *by, "currency")


def _carbon(watts: Expr, *by: str) -> Expr:
    """Return the part of the clusters' carbon by the hour, likewise."""
    of_each = where(
        "{0} / on (cluster) group_left () {1} * on (cluster) group_left () sum by (cluster) ({2})",
        watts,
        GPU_WATTS,
        CARBON,
        unit=GRAMS_AN_HOUR,
    )
    return aggregate("sum", of_each, *by)


def _wasted(owner: str) -> Expr:
    by_job = aggregate("sum", increase(IDLE_JOULES), *BY_JOB)
    owned = where(f"{{0}} * on (cluster, job_id) group_left ({owner}) {{1}}", by_job, JOB_FACTS)
    return kilowatt_hours(aggregate("sum", called(owner, owned), owner))


def _of_owners(owner: str, what: str) -> Expr:
    return called(owner, fleet(f"{owner}:gpumon_job_{what}"))


def owners() -> tuple[Panel, ...]:
    """Return tables of accounts and of users."""
    return (
        _owner(
            "account",
            "By account",
            "What each account holds now, and what it used over the time shown, also where its "
            "jobs have ended. Cost and carbon are its share of the clusters' by its GPUs' watts; "
            "indicative: gpumon report makes the bill.",
        ),
        _owner(
            "user",
            "By user",
            "As by account. Users are only there where the agents may show them to Prometheus "
            "(see the agent's --web.expose-users); else all are one line, (none).",
        ),
    )


def _owner(owner: str, title: str, reading: str) -> Panel:
    watts = _of_owners(owner, "power_watts:sum")
    carbon = _carbon(watts, owner)
    cost = _cost(watts, owner)
    return tables.listing(
        Text(title, reading),
        Size(12, 9),
        (Key(owner, owner.capitalize()), Key("currency", "Currency")),
        (
            Column("Energy", energy(aggregate("sum", watts, owner))),
            Column("GPUs", aggregate("sum", _of_owners(owner, "gpus:count"), owner)),
            Column(
                "Idle",
                aggregate("sum", _of_owners(owner, "idle_gpus:count"), owner),
                style.some(style.WARNING),
            ),
            Column("Waste", _wasted(owner)),
            Column("Cost/h", cost),
            Column("Cost", amount(cost, units.Short)),
            Column("Carbon", amount(carbon, units.Gram)),
        ),
        sort="Energy",
    )


def jobs() -> tuple[Panel, ...]:
    """Return the jobs that use most, and those that do least with what they hold."""
    activity = fleet("job_id:gpumon_job_activity_ratio:avg")
    return (
        _most(),
        panels.bars(
            Text(
                "Jobs of lowest activity",
                "Mean activity of each job's GPUs now, of the ten lowest. Training is above 50 %, "
                "serving often below 30 %; near 0 it holds and does not use. A click opens it.",
            ),
            Size(6, 11),
            "{{job_id}}",
            worst(10, aggregate("avg", activity, *BY_JOB), lowest=True),
            limits.activity(style.WELL),
            most=1,
            link=links.JOB,
            absent="no jobs",
        ),
    )


def _most() -> Panel:
    watts = aggregate("sum", JOB_WATTS, *BY_JOB)
    most = worst(25, energy(watts))
    cost = _cost(watts, *BY_JOB)

    def too(of: Expr) -> Expr:
        return where("({0}) and on (cluster, job_id) {1}", of, most)

    def now_of(name: str) -> Expr:
        return too(aggregate("max", fleet(name), *BY_JOB))

    whose = where(
        "{0} * on (cluster, job_id) group_left (user, account, name) {1}", most, JOB_FACTS
    )
    return tables.listing(
        Text(
            "Jobs by energy",
            "The 25 that drew most over the time shown. GPUs, activity and cost an hour are of "
            "now, and absent for a job that has ended. Cost and carbon are the job's share of "
            "the clusters' by its GPUs' watts: indicative.",
        ),
        Size(18, 11),
        (
            keys.JOB,
            Key("name", "Name"),
            Key("user", "User"),
            Key("account", "Account"),
            keys.CLUSTER,
            Key("currency", "Currency"),
        ),
        (
            Column("Energy", whose),
            Column("GPUs", now_of("job_id:gpumon_job_gpus:count")),
            Column(
                "Activity",
                now_of("job_id:gpumon_job_activity_ratio:avg"),
                limits.activity(style.NEUTRAL),
            ),
            Column(
                "Waste",
                kilowatt_hours(
                    where("({0})", too(aggregate("sum", increase(IDLE_JOULES), *BY_JOB)))
                ),
            ),
            Column("Cost/h", too(cost)),
            Column("Cost", too(amount(cost, units.Short))),
            Column("Carbon", too(amount(_carbon(watts, *BY_JOB), units.Gram))),
        ),
        sort="Energy",
    )


def over_time() -> tuple[Panel, ...]:
    """Return GPUs, cost and carbon of accounts over time."""
    watts = _of_owners("account", "power_watts:sum")
    cost, carbon = _cost(watts, "account"), _carbon(watts, "account")
    return (
        panels.lines(
            Text(
                "GPUs held, by account",
                "Stacked. Jobs that name no account are (none). What nobody holds is not in "
                "it: see the graph above.",
            ),
            Size(8, 10),
            {"{{account}}": aggregate("sum", _of_owners("account", "gpus:count"), "account")},
            stacked=True,
        ),
        panels.lines(
            Text(
                "Cost an hour, by account",
                "Stacked, in the currency that is named: what each account's watts cost at that "
                "moment, with cooling and the rest of the nodes. Nobody: what is not held.",
            ),
            Size(8, 10),
            {
                "{{account}} {{currency}}": cost,
                "nobody {{currency}}": where(
                    "clamp_min(sum by (currency) ({0}) - sum by (currency) ({1}), 0)", COST, cost
                ),
            },
            stacked=True,
            absent=NO_PRICE,
        ),
        panels.lines(
            Text(
                "Carbon an hour, by account",
                "Stacked: CO2 equivalent by the hour of each account's watts, at the grid's factor "
                "of that moment. It falls when the grid is clean, at the same work.",
            ),
            Size(8, 10),
            {
                "{{account}}": carbon,
                "nobody": where("clamp_min(sum({0}) - sum({1}), 0)", CARBON, carbon),
            },
            stacked=True,
            absent="no factor: see gpumon site",
        ),
    )
