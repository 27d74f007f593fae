"""The alerts for people: ``gpumon rules list`` and ``docs/alerts.md``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich import box
from rich.table import Table

from gpumon.documents.write import json_text
from gpumon.rules.deaf import Deafness
from gpumon.rules.model import Alert
from gpumon.views.console import make_console, text_of

_INTRODUCTION = """\
# Alerts

Written by `gpumon rules list -o markdown`; do not edit. Each name leads to its runbook. Severity is
what a person must do: `critical` wakes somebody, `warning` is a ticket for today, `info` is for who
looks. Thresholds are in [thresholds.toml](../agent/gpumon/thresholds.toml); a site's own go into a
file for `gpumon rules export --thresholds`. How each
was provoked: [alert-drills.md](alert-drills.md).

| alert | severity | whose | after | why so |
|---|---|---|---|---|
"""


def render_alerts(alerts: Sequence[Alert], form: str) -> str:
    """Return alerts as ``table``, ``json`` or ``markdown``."""
    return {"table": _table, "json": _json, "markdown": _markdown}[form](alerts)


def _table(alerts: Sequence[Alert]) -> str:
    table = Table("alert", "severity", "whose", "after", "why so", box=box.SIMPLE_HEAD)
    for alert in alerts:
        table.add_row(alert.alert, alert.severity, alert.team, alert.hold or "at once", alert.why)
    return text_of(make_console(), table)


def _json(alerts: Sequence[Alert]) -> str:
    return json_text({"rules": [dataclasses.asdict(alert) for alert in alerts]})


def _markdown(alerts: Sequence[Alert]) -> str:
    lines = [
        f"| [{a.alert}](runbooks/{a.alert}.md) | {a.severity} | {a.team} "
        f"| {a.hold or 'at once'} | {a.why} |\n"
        for a in alerts
    ]
    return _INTRODUCTION + "".join(lines)


def deaf_lines(found: Deafness) -> list[str]:
    """Return a line for each alert that cannot fire on some nodes."""
    return [
        f"{one.alert} cannot fire on {one.nodes} of {found.nodes} nodes: it needs {one.needs}"
        for one in found.found
    ]
