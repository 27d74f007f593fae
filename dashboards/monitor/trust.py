"""GPU monitoring itself: how far joules can be trusted, what runs where, and how old facts are."""

from __future__ import annotations

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import keys, limits, panels, style, tables
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import FLEET, aggregate, fleet, select, where
from dashboards.kit.tables import Column, Key


def joules() -> tuple[Panel, ...]:
    """Return energy counters in doubt, and how far off joules may be."""
    suspect = fleet("instance:gpumon_gpus_energy_suspect:count")
    return (
        panels.lines(
            Text(
                "Energy counters in doubt, by reason",
                f"GPUs. Normal: 0. {limits.COUNTER_IN_DOUBT}",
            ),
            Size(8),
            {
                "{{reason}}": aggregate(
                    "sum", fleet("cluster:gpumon_gpus_energy_suspect:count"), "reason"
                )
            },
        ),
        tables.listing(
            Text(
                "Where energy counters are in doubt",
                "GPUs of the node, the hundred lines with most. Reports and bills of these joules "
                "want a second look, against the power of the same hours. Empty when all is well.",
            ),
            Size(8),
            (keys.NODE, keys.CLUSTER, Key("reason", "Reason")),
            (
                Column(
                    "GPUs",
                    where("topk(100, sum by (cluster, instance, reason) ({0}) > 0)", suspect),
                    style.thresholds(style.WARNING),
                ),
            ),
            sort="GPUs",
            absent=panels.WELL,
        ),
        panels.lines(
            Text(
                "Error of the joules by hall",
                f"{limits.JOULES_ERROR} A mean over the GPUs. A meter tells better: gpumon report "
                "--meter.",
            ),
            Size(8),
            {"{{hall}}": aggregate("avg", fleet("hall:gpumon_gpu_energy_error_ratio:avg"), "hall")},
            axis=(0, 0.2),
        ),
    )


def versions() -> tuple[Panel, ...]:
    """Return versions of agents and drivers, and the age of the site's facts."""
    return (
        tables.listing(
            Text(
                "Versions of agents",
                "Normal: one, or two during a roll-out. Metrics differ between versions; see the "
                "change log.",
            ),
            Size(6),
            (Key("version", "Agent"),),
            (
                Column(
                    "Nodes",
                    aggregate("sum", fleet("cluster:gpumon_agents_by_version:count"), "version"),
                ),
            ),
            sort="Nodes",
        ),
        tables.listing(
            Text(
                "Drivers and sources",
                "Normal: one driver, nvml only. The same job may be fast on one driver and fail "
                "on another. Sim and replay are no measurements.",
            ),
            Size(8),
            (Key("driver_version", "Driver"), Key("source", "Source")),
            (
                Column(
                    "Nodes",
                    aggregate(
                        "sum",
                        fleet("cluster:gpumon_agents_by_source:count"),
                        "driver_version",
                        "source",
                    ),
                ),
            ),
            sort="Nodes",
        ),
        _facts(),
    )


def _facts() -> Panel:
    age = select("gpumon_site_fact_age_seconds", FLEET)
    lifetime = select("gpumon_site_fact_lifetime_seconds", FLEET)
    return tables.listing(
        Text(
            "Facts of the site",
            "How old prices, factors and lists are, and how old they may be. Past 100 % what is "
            "computed with them (cost, carbon, coverage) may be wrong. Ages that are absent are "
            "not told, as of a constant in site.toml.",
        ),
        Size(10),
        (Key("fact", "Fact"),),
        (
            Column("May be", aggregate("min", lifetime, "fact")),
            Column("Age", aggregate("max", age, "fact")),
            Column(
                "Used up",
                where(
                    "max by (fact) ({0} / on (cluster, instance, fact) group_left () {1})",
                    age,
                    lifetime,
                    unit=units.PercentUnit,
                ),
                style.worsening(0.9, 1),
            ),
        ),
        sort="Used up",
        absent="no facts: see gpumon site",
    )
