"""The JSON Schema of all that ``-o json`` prints: ``documents.json`` with the metrics in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpumon.documents.snapshot import METRICS
from gpumon.model import Kind, Metric


def schema() -> dict[str, Any]:
    """Return the schema; a metric's property has its help for a description."""
    whole: dict[str, Any] = json.loads(
        Path(__file__).with_name("documents.json").read_text("utf-8")
    )
    definitions = whole["$defs"]
    node = definitions["node"]["properties"]
    places = {
        "gpu": definitions["gpu"],
        "mig": definitions["mig"],
        "job": definitions["job"],
        "node_power": node["node_power"],
        "node_totals": node["node_totals"],
        "host": node["host"],
    }
    for name, place in places.items():
        place.setdefault("properties", {}).update(
            {metric.field: _property(metric) for metric in METRICS[name]}
        )
    return whole


def _property(metric: Metric) -> dict[str, Any]:
    # A condition that holds or not is true or false; on /metrics it is 1 or 0.
    condition = metric.kind is Kind.GAUGE and not metric.unit
    shape: dict[str, Any] = {"type": ["number", "null", *["boolean"] * condition]}
    if metric.kind is Kind.INFO:
        shape = {"type": ["object", "null"]}
    elif metric.states and len(metric.labels) == 1:
        shape = {"type": ["array", "string", "null"], "items": {"enum": sorted(metric.states)}}
    elif metric.labels:
        # By the value of each label, the first one outermost.
        inner: dict[str, Any] = {"type": ["number", "null", *["boolean"] * condition]}
        for _ in metric.labels:
            inner = {"type": "object", "additionalProperties": inner}
        shape = {**inner, "type": ["object", "null"]}
    return {**shape, "description": metric.help}
