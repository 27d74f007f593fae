"""GPU monitoring itself: whether Prometheus is as the rules assume."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import panels, style, tables
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import ANYWHERE, aggregate, fleet, select, where
from dashboards.kit.tables import Column, Key

RULES = select("rules:gpumon_build:info", ANYWHERE)
"""The rules' own release and thresholds, of no cluster; without it nothing can be compared."""


def fit() -> tuple[Panel, ...]:
    """Return what is there several times, and nodes of other thresholds and versions."""
    return (_several_times(), _other_thresholds(), _other_versions())


def _several_times() -> Panel:
    doubled = select("level:gpumon_members_doubled:count", ANYWHERE)
    return tables.listing(
        Text(
            "There several times",
            "How many members of a level have more than one series. Target: a node is scraped "
            "several times, which the rules count once if the place and cluster of its targets are "
            "the same. Any other level: its sums are too high, since two servers record it, or "
            "older rules are loaded too. gpumon rules check prom:URL names the label that differs. "
            "Empty when all is well.",
        ),
        Size(8, 9),
        (Key("level", "Level"),),
        (Column("Members", aggregate("max", doubled, "level"), style.thresholds(style.WARNING)),),
        sort="Members",
        absent=panels.WELL,
    )


def _other_thresholds() -> Panel:
    nodes = fleet("cluster:gpumon_nodes_by_thresholds:count")
    return tables.listing(
        Text(
            "Nodes with other thresholds than the rules",
            "By the digest of their thresholds. Their checks and the alerts judge the same value "
            "differently. Export the rules with the nodes' file (gpumon rules export "
            "--thresholds), or give all nodes the same. Empty when all is well.",
        ),
        Size(8, 9),
        (Key("digest", "Digest"),),
        (
            Column(
                "Nodes",
                where("sum by (digest) ({0} unless on (digest) {1} and on () {1})", nodes, RULES),
                style.thresholds(style.WARNING),
            ),
        ),
        sort="Nodes",
        absent=panels.WELL,
    )


def _other_versions() -> Panel:
    agents = fleet("cluster:gpumon_agents_by_version:count")
    return panels.value(
        Text(
            "Agents of another version than the rules",
            "Normal: 0, but for the time of a roll-out. The rules add up themselves what an older "
            "agent does not, at a higher cost; alerts on metrics that are new do not fire there.",
        ),
        Size(8, 9),
        {
            "agents": where(
                "sum({0} unless on (version) {1} and on () {1}) or 0 * sum({0} and on () {1})",
                agents,
                RULES,
            )
        },
        thresholds=style.ANY_WARNING,
    )
