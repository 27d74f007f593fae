"""The site's metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.model.agent import ThresholdsInfo
from gpumon.model.metric import gauge, info, metric_group


@dataclasses.dataclass(frozen=True, slots=True)
class NodePlace:
    """Where a node stands and what the scheduler says of it; empty where that is not known."""

    rack: str
    row: str
    hall: str
    node_partition: str
    state: str


@metric_group(prefix="gpumon_site", labels=("node",))
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SiteNodeReading:
    """One node."""

    node: str
    node_info: NodePlace | None = info(
        "A node of the site, drained and down ones too.",
        labels=("rack", "row", "hall", "node_partition", "state"),
        name="node",
    )
    expected_gpus: int | None = gauge("GPUs that a node should have.")

    @property
    def label_values(self) -> tuple[str, ...]:
        """The node's name."""
        return (self.node,)


@metric_group(prefix="gpumon_site")
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SiteReading:
    """What holds now."""

    power_budget_watts: Mapping[tuple[str, str], float] | None = gauge(
        "Power that may be drawn, by level (site, hall, row, rack) and its name.",
        labels=["level", "name"],
    )
    pue_ratio: float | None = gauge("Facility over node energy, now.")
    energy_price_per_kilowatt_hour: Mapping[str, float] | None = gauge(
        "Price of electricity, now.", labels=["currency"]
    )
    carbon_intensity_grams_per_kilowatt_hour: Mapping[tuple[str, str], float] | None = gauge(
        "Emissions of electricity in CO2 equivalent, now.", labels=["zone", "source"]
    )
    fact_age_seconds: Mapping[str, float] | None = gauge(
        "How old a fact is: since the hour, file, year or answer that it is from.",
        labels=["fact"],
    )
    fact_lifetime_seconds: Mapping[str, float] | None = gauge(
        "How old such a fact may be before it is out of date: an hour's value two hours, a "
        "contract or a year's mean more than a year.",
        labels=["fact"],
    )
    thresholds_info: ThresholdsInfo | None = info(
        "The site's thresholds, as a digest of their values; agents with another have others.",
        labels=("digest",),
        name="thresholds",
    )
    collector_success: Mapping[str, int] | None = gauge(
        "1 where a source of facts could be read last time; what it said before holds meanwhile.",
        labels=["collector"],
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """No labels: there is one site to a service."""
        return ()
