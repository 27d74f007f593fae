"""GPU monitoring itself: how much is seen, how fresh it is, and what fails."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import fleet_series, keys, links, panels, style, tables
from dashboards.kit.fleet_series import BY_NODE
from dashboards.kit.limits import STALE, limit
from dashboards.kit.panels import LIMIT, Size, Text
from dashboards.kit.promql import Expr, aggregate, fleet, where, worst
from dashboards.kit.tables import Column, Key
from dashboards.monitor.now import AGENTS, SLOW, UP
from dashboards.monitor.silent import away

RESTARTS = limit("monitor.restarts")
"""Of readers within an hour: from so many on an alert is given."""


def coverage() -> tuple[Panel, ...]:
    """Return how many agents and GPUs answer over time, and who is often away."""
    was_away = where("topk(20, {0} > 0)", away(fleet("instance:gpumon_agents_up:sum"), *BY_NODE))
    return (
        panels.lines(
            Text(
                "Agents that answer over time",
                "Against all targets (dashed). A step down is a rack, a switch or a roll-out; "
                "single ones are nodes that reboot.",
            ),
            Size(8),
            {"answer": UP, LIMIT: AGENTS},
            colors={"answer": style.WELL},
        ),
        panels.lines(
            Text(
                "GPUs that answer over time",
                "Against those expected (dashed), with those behind silent agents, as many as "
                "there were. The gap is lost, hung, released or behind a silent agent; GPU health "
                "says which.",
            ),
            Size(8),
            {
                "answer": fleet_series.UP,
                LIMIT: fleet_series.EXPECTED,
            },
            colors={"answer": style.WELL},
        ),
        tables.listing(
            Text(
                "Nodes that were away",
                "For how much of the time shown, those that are back too: the twenty that were "
                "away longest. Some reboots are normal. Empty when all is well.",
            ),
            Size(8),
            (keys.NODE, keys.CLUSTER),
            (Column("Away", was_away, style.worsening(0.01, 0.1)),),
            sort="Away",
            absent=panels.WELL,
        ),
    )


def age() -> tuple[Panel, ...]:
    """Return how old readings are and how long scrapes take, over time and by node."""
    ages = aggregate("max", fleet("instance:gpumon_gpu_sample_age_seconds:max"), *BY_NODE)
    durations = aggregate("max", fleet("instance:gpumon_scrape_duration_seconds:max"), *BY_NODE)
    return (
        panels.lines(
            Text(
                "Age of the oldest reading",
                "Of any GPU, by hall. Normal: a second or two. A line that rises by a second a "
                "second is a GPU that stopped answering.",
            ),
            Size(6, 9),
            {"{{hall}}": _by_hall("gpumon_gpu_sample_age_seconds:max")},
            thresholds=style.thresholds(style.WELL, (STALE, style.BAD)),
        ),
        panels.bars(
            Text(
                "Nodes with the oldest readings",
                "The ten with the oldest reading of a GPU. Normal: a second or two on all of them.",
            ),
            Size(6, 9),
            "{{instance}}",
            worst(10, ages),
            style.worsening(STALE / 4, STALE),
            link=links.NODE,
        ),
        panels.lines(
            Text(
                "Time of a scrape",
                "The slowest by hall. Normal: below 0.1 s. All of them at once: Prometheus or the "
                "network; one of them: its node.",
            ),
            Size(6, 9),
            {"{{hall}}": _by_hall("gpumon_scrape_duration_seconds:max")},
            thresholds=style.thresholds(style.WELL, (SLOW, style.BAD)),
        ),
        panels.bars(
            Text(
                "Nodes with the slowest scrapes",
                "The ten whose last scrape took longest. Normal: below 0.1 s on all of them.",
            ),
            Size(6, 9),
            "{{instance}}",
            worst(10, durations),
            style.worsening(SLOW / 4, SLOW),
            link=links.NODE,
        ),
    )


def _by_hall(name: str) -> Expr:
    return aggregate("max", fleet(f"hall:{name}"), "hall")


def alerts() -> tuple[Panel, ...]:
    """Return the alerts that cannot fire, and on how many nodes."""
    deaf = fleet("alert:gpumon_nodes_deaf:count")
    return (
        tables.listing(
            Text(
                "Alerts that cannot fire",
                "On how many nodes: their agents do not export what the alert reads. That is "
                "right for hardware that is not there (no NVLink, no HBM); else the driver is "
                "too old, a right or a workload manager is missing, or the tier is too low. "
                "gpumon doctor on a node says what is missing. Looked at twice an hour. "
                "Normal: none but for such hardware.",
            ),
            Size(24, 9),
            (Key("alert", "Alert"), keys.CLUSTER),
            (
                Column(
                    "Nodes",
                    # Recorded twice an hour, and Prometheus forgets a sample after five minutes.
                    where("sum by (cluster, alert) (last_over_time({0}[40m])) > 0", deaf),
                    style.thresholds(style.FINE),
                ),
            ),
            sort="Nodes",
            absent=panels.WELL,
        ),
    )


def failing() -> tuple[Panel, ...]:
    """Return collectors that fail and readers that were replaced."""
    failing = fleet("instance:gpumon_collectors_failing:count")
    restarts = fleet("instance:gpumon_reader_restarts:increase1h")
    return (
        _collectors_failing_by_collector(),
        _where_collectors_fail(failing),
        _readers_replaced_in_an_hour(),
        _where_readers_are_replaced(restarts),
    )


def _collectors_failing_by_collector() -> Panel:
    return panels.lines(
        Text(
            "Collectors failing, by collector",
            "On how many nodes; those that fail nowhere are left out. Normal: none. One on all "
            "nodes: its service (slurm, the BMCs' network). One on one node: that node.",
        ),
        Size(8),
        {
            "{{collector}}": where(
                "sum by (collector) ({0}) > 0", fleet("cluster:gpumon_collectors_failing:count")
            )
        },
        absent=panels.WELL,
    )


def _where_collectors_fail(failing: Expr) -> Panel:
    return tables.listing(
        Text(
            "Where collectors fail",
            "The agent's log on the node says why, once: journalctl -u gpumon-agent. At most a "
            "hundred lines. Empty when all is well.",
        ),
        Size(6),
        (keys.NODE, keys.CLUSTER, Key("collector", "Collector")),
        (
            Column(
                "Failing",
                where("topk(100, sum by (cluster, instance, collector) ({0}) > 0)", failing),
                style.thresholds(style.WARNING),
            ),
        ),
        absent=panels.WELL,
    )


def _readers_replaced_in_an_hour() -> Panel:
    return panels.lines(
        Text(
            "Readers replaced in an hour",
            "On all nodes. Normal: 0. A driver that crashes its reader does so again and "
            "again; after a driver's update it is the driver.",
        ),
        Size(5),
        {"readers": where("round(sum({0}))", fleet("cluster:gpumon_reader_restarts:increase1h"))},
        colors={"readers": style.WARNING},
    )


def _where_readers_are_replaced(restarts: Expr) -> Panel:
    return tables.listing(
        Text(
            "Where readers are replaced",
            "In the last hour, the hundred with most. Look at the kernel's log for the crash, "
            "or the Xid, before it. Empty when all is well.",
        ),
        Size(5),
        (keys.NODE, keys.CLUSTER),
        (
            Column(
                "Replaced",
                where("topk(100, round(sum by (cluster, instance) ({0})) > 0)", restarts),
                style.thresholds(style.WARNING, (RESTARTS, style.BAD)),
            ),
        ),
        sort="Replaced",
        absent=panels.WELL,
    )
