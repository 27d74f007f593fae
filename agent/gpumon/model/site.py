"""The site's metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.model.agent import ThresholdsInfo
from gpumon.model.metric import gauge, info, metric_group


@dataclasses.dataclass(frozen=True, slots=True)
class NodePlace:
    """Where a node stands and its state in the scheduler; empty if that is not known."""

    rack: str
    row: str
    hall: str
    node_partition: str
    state: str


@metric_group(prefix="gpumon_site", labels=("cluster", "node"))
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SiteNodeReading:
    """One node; ``cluster`` is empty unless the site has several."""

    node: str
    cluster: str = ""
    node_info: NodePlace | None = info(
        "A node of the site; drained and down ones are listed too.",
        labels=("rack", "row", "hall", "node_partition", "state"),
        name="node",
    )
    expected_gpus: int | None = gauge("GPUs that a node should have.")

    @property
    def label_values(self) -> tuple[str, ...]:
        """The node's cluster and name."""
        return self.cluster, self.node


@metric_group(prefix="gpumon_site")
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SiteReading:
    """What is in force now."""

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
        "Age of a fact: since the hour, file, year or reply that it came from.",
        labels=["fact"],
    )
    fact_lifetime_seconds: Mapping[str, float] | None = gauge(
        "Age at which a fact is out of date: two hours for an hourly value, more than a year for "
        "a contract or a yearly mean.",
        labels=["fact"],
    )
    thresholds_info: ThresholdsInfo | None = info(
        "Digest of the site's thresholds; an agent with another digest has other thresholds.",
        labels=("digest",),
        name="thresholds",
    )
    collector_success: Mapping[str, int] | None = gauge(
        "1 if the last read of a source of facts succeeded; until the next success its earlier "
        "facts stay in force.",
        labels=["collector"],
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """No labels: there is one site to a service."""
        return ()
