"""The catalogue as dashboards see it: metrics by name, and Grafana's words for their units."""

from __future__ import annotations

import dataclasses

from grafana_foundation_sdk.models import units

from gpumon.model import Metric, Tier
from gpumon.views.catalogue import rows

UNITS = {
    "": units.Short,
    "watts": units.Watt,
    "joules": units.Joule,
    "celsius": units.Celsius,
    "bytes": units.BytesIEC,
    "hertz": units.Hertz,
    "seconds": units.Seconds,
    "ratio": units.PercentUnit,
}
"""Grafana's unit for each base unit; ``hertz`` shows 1.98e9 as 1.98 GHz."""

RAMP = "si:W/s"
"""Grafana takes any unit behind ``si:`` and puts kilo and mega before it."""

PER_SECOND = {
    units.Joule: units.Watt,
    # Links are sold in powers of ten.
    units.BytesIEC: units.BytesPerSecondSI,
    # Seconds in a second: the share of the time.
    units.Seconds: units.PercentUnit,
}
"""The unit of a counter's rate, by the unit of the counter."""


@dataclasses.dataclass(frozen=True)
class Known:
    """What a panel needs to know of a metric."""

    name: str
    help: str
    unit: str
    labels: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()


OTHERS = {
    known.name: known
    for known in (
        Known("up", "1 while Prometheus gets an answer from the agent.", units.Short),
        Known(
            "process_cpu_seconds_total",
            "CPU time of the agent's server process.",
            units.Seconds,
        ),
        Known(
            "gpumon_reader_process_cpu_seconds_total",
            "CPU time of the agent's reader process.",
            units.Seconds,
        ),
    )
}
"""Series that are not the catalogue's: Prometheus's own, and what the agent itself costs."""


class UnknownMetricError(LookupError):
    """A dashboard asks for what the agent does not expose."""


def known(name: str) -> Known:
    """Return a metric of the default tier, or another series that a target always has."""
    if name in OTHERS:
        return OTHERS[name]
    for labels, metric in rows(Tier.STANDARD):
        if metric.name == name:
            return Known(name, metric.help, _unit(metric), frozenset(labels), _values(metric))
    raise UnknownMetricError(f"{name} is not exposed by default: see gpumon metrics")


def _unit(metric: Metric) -> str:
    return RAMP if metric.name.endswith("_watts_per_second") else UNITS[metric.unit]


def _values(metric: Metric) -> frozenset[str]:
    """Return the values that the metric's own labels can have, where the catalogue knows them."""
    return frozenset(metric.states) | {value for key in metric.nvml for value in key}
