"""Alerts that fire, as a table: worst first, with the node to go to."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards import panels, style
from dashboards.panels import Column, Key, Size, Text
from dashboards.promql import aggregate, select
from dashboards.style import State

SEVERITIES = {
    3: State("critical", style.BAD),
    2: State("warning", style.WARNING),
    1: State("info", style.FINE),
}
"""How bad an alert is, as numbers that sort."""


def firing(text: Text, size: Size, matchers: str, keys: tuple[Key, ...]) -> Panel:
    """Return the alerts that some matchers choose; ``keys`` are labels besides the name."""
    keys = (Key("alertname", "Alert", width=200), *keys)
    first, *rest = (
        number * select("ALERTS", matchers, alertstate="firing", severity=state.text)
        for number, state in SEVERITIES.items()
    )
    every = first
    for one in rest:
        every = every | one
    worst = aggregate("max", every, *(key.label for key in keys))
    return panels.listing(
        text,
        size,
        keys,
        (Column("Severity", worst, states=SEVERITIES),),
        sort="Severity",
        absent=panels.WELL,
    )
