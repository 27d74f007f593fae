"""The alerts for people: ``gpumon rules list`` and ``docs/alerts.md``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from gpumon.documents.write import json_text
from gpumon.rules.deaf import Deafness
from gpumon.rules.fit import Fit
from gpumon.rules.model import Alert
from gpumon.rules.noise import Noise
from gpumon.rules.own import differences
from gpumon.views.console import make_console, text_of

_INTRODUCTION = """\
# Alerts

Written by `gpumon rules list -o markdown`; do not edit. Each name leads to its runbook. Severity is
what a person must do: `critical` wakes somebody, `warning` is a ticket for today, `info` is for who
looks. Thresholds are in [thresholds.toml](../agent/gpumon/thresholds.toml); a site's own, and what
it sets of its alerts, go into a file for `gpumon rules export --thresholds`
([alerting.md](alerting.md#a-sites-own-alerts)). How each was provoked:
[alert-drills.md](alert-drills.md).

| alert | severity | whose | after | why so |
|---|---|---|---|---|
"""


def render_alerts(alerts: Sequence[Alert], form: str, shipped: Mapping[str, Alert]) -> str:
    """Return alerts as ``table``, ``json`` or ``markdown``.

    ``shipped`` are the alerts as they ship, by name: what of one differs from them is shown.
    """
    return {"table": _table, "json": _json, "markdown": _markdown}[form](alerts, shipped)


def _table(alerts: Sequence[Alert], shipped: Mapping[str, Alert]) -> str:
    table = Table("alert", "severity", "whose", "after", "why so", box=box.SIMPLE_HEAD)
    for alert in alerts:
        why = "\n".join([*own_lines(alert, shipped[alert.alert]), alert.why])
        severity = alert.severity if alert.enabled else "not enabled"
        table.add_row(alert.alert, severity, alert.team, alert.hold or "at once", why)
    return text_of(make_console(), table)


def own_lines(alert: Alert, shipped: Alert) -> list[str]:
    """Return a line for each thing of an alert that is a site's own, with what ships."""
    return [
        "a site's own expression (its thresholds)"
        if one.key == "expr"
        else f"a site's own {one.key}: {one.own}; it ships as {one.shipped}"
        for one in differences(alert, shipped)
    ]


def _json(alerts: Sequence[Alert], shipped: Mapping[str, Alert]) -> str:
    return json_text(
        {
            "rules": [
                {
                    **dataclasses.asdict(alert),
                    "labels": dict(alert.labels),
                    "shipped": {
                        one.key: one.shipped for one in differences(alert, shipped[alert.alert])
                    },
                }
                for alert in alerts
            ]
        }
    )


def _markdown(alerts: Sequence[Alert], _: Mapping[str, Alert]) -> str:
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


def fit_lines(found: Fit) -> list[str]:
    """Return a line for each thing that is not as the rules assume, with the next step."""
    return [f"{one.what}. Next: {one.next_step}" for one in found.found]


def noise_lines(found: Noise, top: int) -> list[str]:
    """Return the noisiest alerts, then the noisiest nodes, a line each under a header."""
    lines = []
    for title, all_ in (("alert", found.alerts), ("node", found.nodes)):
        if all_:
            lines.append(f"{title:<32} {'fires':>8} {'pages':>8}")
        lines += [f"{one.name:<32} {one.fires:>8} {one.pages:>8}" for one in all_[:top]]
    return lines
