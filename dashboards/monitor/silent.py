"""GPU monitoring itself: who is not heard, and which alerts say so."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import alerts, keys, panels, style, tables
from dashboards.kit.fleet_series import BY_NODE
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import ANYWHERE, FLEET, Expr, fleet, select, where
from dashboards.kit.style import State
from dashboards.kit.tables import Column, Key
from gpumon.rules import load
from gpumon.thresholds import shipped


def silent() -> tuple[Panel, ...]:
    """Return silent nodes, nodes that nobody asks, and alerts about both."""
    return (_not_answering(), _not_in_both(), _alerts())


def away(of: Expr, *by: str) -> Expr:
    """Return for how much of the time shown nodes were silent."""
    return where(
        f"1 - avg by ({', '.join(by)}) (avg_over_time({{0}}[$__range]))",
        of,
        unit=units.PercentUnit,
    )


def _not_answering() -> Panel:
    answers = fleet("instance:gpumon_agents_up:sum")
    down = where("sum by (cluster, instance, rack) ({0}) == 0", answers)
    return tables.listing(
        Text(
            "Nodes whose agent is silent",
            "Away: for how much of the time shown; at 100 % look at Prometheus's list of targets "
            "first. Ping the node; if it is up, look at its service gpumon-agent. At most the "
            "hundred that were away longest. Empty when all is well.",
        ),
        Size(7, 9),
        (keys.NODE, keys.CLUSTER, Key("rack", "Rack")),
        (Column("Away", where("topk(100, ({0}) and {1})", away(answers, *BY_NODE, "rack"), down)),),
        sort="Away",
        absent=panels.WELL,
    )


def _not_in_both() -> Panel:
    listed = select("gpumon_site_node_info", FLEET)
    scraped = fleet("instance:gpumon_agents:count")
    return tables.listing(
        Text(
            "Nodes in one list only",
            "Listed by gpumon site, but not scraped: install the agent, and let Prometheus take "
            "its targets from gpumon site. Scraped, but not listed: no budget and no rack is "
            "known. Nodes without GPUs are left out. At most a hundred, first those that are only "
            "listed. Empty when all is well.",
        ),
        Size(7, 9),
        (Key("node", "Name"), keys.NODE, keys.CLUSTER),
        (
            Column(
                "Where",
                where(
                    "topk(100, max by (cluster, node, instance) ("
                    "2 * max by (cluster, node) ({0})"
                    " unless on (cluster, node) {1}"
                    " unless on (cluster, node) {2} == 0"
                    " and on (cluster) {3}"
                    " or max by (cluster, node, instance) ({1})"
                    " unless on (cluster, node) {0}"
                    " and on (cluster) {0}))",
                    listed,
                    scraped,
                    select("gpumon_site_expected_gpus", FLEET),
                    select("instance:gpumon_agents:count", f'{FLEET},node!=""'),
                ),
                states={
                    1: State("only scraped", style.WARNING),
                    2: State("only listed", style.BAD),
                },
            ),
        ),
        sort="Where",
        absent=panels.WELL,
    )


def _alerts() -> Panel:
    about = [
        alert.alert
        for group in load(shipped())
        if group.file == "alerts-monitor"
        for alert in group.alerts
        if alert.team == "operations" and alert.alert != "Watchdog"
    ]
    names = "|".join((*about, "EnergyCounterSuspect", "XidUnattributed"))
    return alerts.firing(
        Text(
            "Alerts about the monitor",
            "Those of the team operations that fire, worst first. gpumon explain ALERT shows "
            "what each means and what to do. Empty when all is well.",
        ),
        Size(10, 9),
        f'{ANYWHERE},alertname=~"{names}"',
        (
            keys.NARROW_NODE,
            keys.NARROW_CLUSTER,
            alerts.ABOUT,
        ),
    )
