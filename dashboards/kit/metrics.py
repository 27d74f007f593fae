"""The catalogue as dashboards see it: metrics by name, and Grafana's words for their units."""

from __future__ import annotations

import dataclasses
import functools
import re

from grafana_foundation_sdk.models import units

from gpumon.model import Metric, Tier
from gpumon.model.catalogue import rows
from gpumon.rules import RecordingRule, load
from gpumon.thresholds import shipped

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

GPUS = "suffix: GPUs"

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
    good: str = ""


OTHERS = {
    known.name: known
    for known in (
        Known("up", "1 while Prometheus gets an answer from the agent.", units.Short),
        Known(
            "ALERTS",
            "The alerts that are pending or firing, as Prometheus writes them down.",
            units.Short,
        ),
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
        Known(
            "process_resident_memory_bytes",
            "Memory of the agent's server process.",
            units.BytesIEC,
        ),
        Known(
            "gpumon_reader_process_resident_memory_bytes",
            "Memory of the agent's reader process.",
            units.BytesIEC,
        ),
        Known(
            "scrape_duration_seconds",
            "How long Prometheus waited for the agent's answer.",
            units.Seconds,
        ),
        Known(
            "scrape_samples_post_metric_relabeling",
            "Samples of the agent that Prometheus kept.",
            units.Short,
        ),
        Known(
            "prometheus_rule_group_last_duration_seconds",
            "How long Prometheus last took for a group of rules.",
            units.Seconds,
        ),
        Known(
            "prometheus_rule_group_interval_seconds",
            "How often a group of rules is to be evaluated.",
            units.Seconds,
        ),
        Known(
            "prometheus_rule_evaluation_failures_total",
            "Evaluations of a rule that failed.",
            units.Short,
        ),
        Known(
            "prometheus_rule_group_iterations_missed_total",
            "Evaluations of a group of rules left out, because the last one took too long.",
            units.Short,
        ),
        Known("prometheus_tsdb_head_series", "Series that Prometheus holds.", units.Short),
    )
}
"""Series that are not the catalogue's: Prometheus's own, and what the agent itself costs."""

_OPERATIONS = {
    "rate_per_hour": "per hour",
    "avg": "mean",
    "min": "lowest",
    "max": "highest",
    "sum": "sum",
    "count": "count",
}


class UnknownMetricError(LookupError):
    """A dashboard asks for what the agent does not expose."""


def known(name: str) -> Known:
    """Return a metric of the default tier, a recorded series, or one that a target always has."""
    if name in OTHERS:
        return OTHERS[name]
    if ":" in name:
        return _recorded(name)
    for labels, metric in rows(Tier.STANDARD):
        if metric.name == name:
            return Known(
                name, metric.help, _unit(metric), frozenset(labels), _values(metric), metric.good
            )
    raise UnknownMetricError(f"{name} is not exposed by default: see gpumon metrics")


@functools.cache
def recorded() -> frozenset[str]:
    """Return the names of all recorded series."""
    rules = [rule for group in load(shipped()) for rule in group.rules]
    return frozenset(rule.record for rule in rules if isinstance(rule, RecordingRule))


def _recorded(name: str) -> Known:
    """Return a recorded series; its labels are its rule's business, and not known here."""
    if name not in recorded():
        raise UnknownMetricError(f"{name} is not recorded: see gpumon rules export")
    level, metric, operation = name.split(":")
    words = _OPERATIONS.get(operation, operation)
    help_ = f"Recorded as {name} ({words} by {level.replace('_', ' ')})."
    return Known(name, help_, _recorded_unit(metric, operation))


def _recorded_unit(metric: str, operation: str) -> str:
    """Return the unit of a recorded series by its name: ``level:metric_unit:operation``."""
    if operation == "ratio":
        return units.PercentUnit
    if operation in ("count", "z", "bool10m", "per_1000_gpu_hours"):
        return units.Short
    unit = UNITS.get(metric.rpartition("_")[2], units.Short)
    if operation.startswith("ramp"):
        return RAMP
    if operation.startswith("rate") and re.search(r"[0-9]+[smhd]$", operation):
        # Lost seconds in a second, summed over GPUs, are so many GPUs.
        return GPUS if unit == units.Seconds else PER_SECOND.get(unit, unit)
    return unit


def _unit(metric: Metric) -> str:
    return RAMP if metric.name.endswith("_watts_per_second") else UNITS[metric.unit]


def _values(metric: Metric) -> frozenset[str]:
    """Return what the metric's own labels can be by default, where the catalogue knows that."""
    keys = [*((state,) for state in metric.states), *metric.keys]
    return frozenset(value for key in keys if key not in metric.full for value in key)
