"""GPU monitoring itself: the numbers that matter, and who is not heard."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import fleet_series, limits, panels, style
from dashboards.kit.fleet_series import total
from dashboards.kit.limits import STALE, limit
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import ANYWHERE, FLEET, Expr, aggregate, fleet, select, where
from dashboards.kit.style import State

NO_SELF_SCRAPE = "absent: Prometheus does not scrape itself"

SLOW = limit("monitor.slow_seconds")

UP = total("gpumon_agents_up:sum")
AGENTS = total("gpumon_agents:count")
SAMPLES = total("gpumon_scrape_samples:sum")
CPU = where("{0}", fleet("instance:gpumon_agent_cpu:rate5m"), unit=units.PercentUnit)
MEMORY = fleet("instance:gpumon_agent_memory_bytes:sum")


def share_of_interval() -> Expr:
    """Return how much of its interval each group of gpumon's rules takes, by ``group``."""
    groups = f'{ANYWHERE},rule_group=~".*gpumon.*"'
    share = where(
        "{0} / {1}",
        select("prometheus_rule_group_last_duration_seconds", groups),
        select("prometheus_rule_group_interval_seconds", groups),
        unit=units.PercentUnit,
    )
    named = where('label_replace({0}, "group", "${1}", "rule_group", ".*;gpumon-(.*)")', share)
    return aggregate("max", named, "group")


def numbers() -> tuple[Panel, ...]:
    """Return the numbers to look at first."""
    return (*_coverage(), *_freshness(), *_trust(), *_cost())


def _coverage() -> tuple[Panel, ...]:
    watchdog = select("ALERTS", f'{ANYWHERE},alertname="Watchdog",alertstate="firing"')
    listed = where("count(max by (cluster, node) ({0}))", select("gpumon_site_node_info", FLEET))
    return (
        panels.value(
            Text(
                "Alerting",
                "The alert Watchdog fires all the time. Where it does not, no alert is evaluated: "
                "look at Prometheus's rules. Whether alerts arrive, only who receives them knows.",
            ),
            Size(3, 4),
            {"watchdog": where("clamp_max(count({0}), 1) or vector(0)", watchdog)},
            states={0: State("stands still", style.BAD), 1: State("works", style.WELL)},
        ),
        panels.value(
            Text(
                "Agents that answer",
                "Of the targets that Prometheus has. Silent: what is being repaired, and nothing "
                "else. What is silent is not known, and is in no sum.",
            ),
            Size(4, 4),
            {"answer": UP, "silent": where("{0} - {1}", AGENTS, UP)},
            each={"silent": style.ANY_BAD},
        ),
        panels.value(
            Text(
                "GPUs that answer",
                "Missing: expected, and neither answering nor released on purpose, with those "
                "behind silent agents (as many as there were). Normal: 0; GPU health says what is "
                "wrong with the others.",
            ),
            Size(4, 4),
            {"answer": fleet_series.UP, "missing": fleet_series.MISSING},
            each={"missing": style.ANY_WARNING},
        ),
        panels.value(
            Text(
                "Nodes of the site's list",
                "Nodes that gpumon site lists, and targets that Prometheus has. Normal: equal. "
                "The table below names those that are in one of the two only.",
            ),
            Size(4, 4),
            {"listed": listed, "scraped": AGENTS},
            absent="no list: see gpumon site",
        ),
    )


def _freshness() -> tuple[Panel, ...]:
    return (
        panels.value(
            Text(
                "Oldest reading",
                f"Of any GPU. Normal: a second or two. From {STALE} s on it is not the "
                "present, and somebody is told.",
            ),
            Size(3, 4),
            {"age": aggregate("max", fleet("cluster:gpumon_gpu_sample_age_seconds:max"))},
            thresholds=style.worsening(STALE / 4, STALE),
        ),
        panels.value(
            Text(
                "Slowest scrape",
                "Normal: below 0.1 s, for an agent serves what it has and reads nothing. From "
                f"{SLOW} s on its node has no CPU time left, or the network is slow.",
            ),
            Size(3, 4),
            {"scrape": aggregate("max", fleet("cluster:gpumon_scrape_duration_seconds:max"))},
            thresholds=style.worsening(SLOW / 4, SLOW),
        ),
        panels.value(
            Text(
                "Collectors failing",
                "On all nodes. Normal: 0. What a collector that fails would tell is absent; "
                "everything else goes on.",
            ),
            Size(3, 4),
            {"failing": aggregate("sum", fleet("cluster:gpumon_collectors_failing:count"))},
            thresholds=style.ANY_WARNING,
        ),
    )


def _trust() -> tuple[Panel, ...]:
    return (
        panels.value(
            Text(
                "Readers replaced",
                "In the last hour. Normal: 0. Each is a process that died in the driver or stood "
                "still in it; its node's readings have a hole of seconds.",
            ),
            Size(3, 4),
            {
                "readers": where(
                    "round(sum({0}))", fleet("cluster:gpumon_reader_restarts:increase1h")
                )
            },
            thresholds=style.ANY_WARNING,
        ),
        panels.value(
            Text(
                "Energy counters in doubt",
                "GPUs whose counter may be wrong. Normal: 0. Their joules are "
                "flagged and go on; compare with their power.",
            ),
            Size(3, 4),
            {"in doubt": total("gpumon_gpus_energy_suspect:count")},
            thresholds=style.ANY_WARNING,
        ),
        panels.value(
            Text(
                "Error of the joules",
                f"{limits.JOULES_ERROR} A mean over the chosen clusters.",
            ),
            Size(3, 4),
            {"error": aggregate("avg", fleet("cluster:gpumon_gpu_energy_error_ratio:avg"))},
            thresholds=limits.joules_error(),
        ),
    )


def _cost() -> tuple[Panel, ...]:
    return (
        panels.value(
            Text(
                "Series",
                "Samples that Prometheus keeps of each round of scrapes: of all agents together, "
                "and of one. About 800 a node of eight GPUs are normal, with some for its jobs.",
            ),
            Size(5, 4),
            {"all agents": SAMPLES, "one": where("round({0} / {1})", SAMPLES, UP)},
        ),
        panels.value(
            Text(
                "Agent's CPU",
                "Share of one core, both processes, as a mean over the nodes. Normal: a few per "
                "cent, of one core of many.",
            ),
            Size(3, 4),
            {"cpu": aggregate("avg", CPU)},
            thresholds=style.worsening(0.1, 0.5),
        ),
        panels.value(
            Text(
                "Agent's memory",
                "Resident memory of both processes, as a mean over the nodes. Pages that they "
                "share are counted twice. Normal: below 150 MiB.",
            ),
            Size(3, 4),
            {"memory": aggregate("avg", MEMORY)},
        ),
        panels.value(
            Text(
                "Dearest rules",
                "How much of its interval the dearest group of gpumon's rules takes. Normal: "
                "below a fifth. At 100 % evaluations are left out, and graphs and alerts have "
                "holes. Absent where Prometheus does not scrape itself.",
            ),
            Size(4, 4),
            {"share": aggregate("max", share_of_interval())},
            thresholds=style.worsening(0.5, 0.9),
            absent=NO_SELF_SCRAPE,
        ),
    )
