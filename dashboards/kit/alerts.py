"""Alerts that fire: how many, and as a table, worst first, with the node to go to."""

from __future__ import annotations

import dataclasses

from grafana_foundation_sdk.models.dashboard import Panel

from dashboards.kit import panels, style, tables
from dashboards.kit.panels import Size, Text
from dashboards.kit.promql import ANYWHERE, Expr, aggregate, select, where
from dashboards.kit.style import State
from dashboards.kit.tables import Column, Key

SEVERITIES = {
    3: State("critical", style.BAD),
    2: State("warning", style.WARNING),
    1: State("info", style.FINE),
}
"""How bad an alert is, as numbers that sort."""

MOST = 100
"""Rows of a table: more than anybody reads, and few enough for a browser on a bad day."""

NOT_EVALUATED = "no rules run"
"""What a number of alerts says where Prometheus evaluates none: 0 would be a promise."""

ABOUT = Key("about", "About")
"""Whatever else names an alert: budget, model, Xid, board, fact, collector; without an instance,
node, rack or partition."""


@dataclasses.dataclass(frozen=True)
class Joined:
    """Alerts that some matchers choose, and of these a join leaves."""

    matchers: str
    join: str
    of: Expr


def number(matchers: str, severity: str) -> Expr:
    """Return how many fire: 0 only while the rules are evaluated, which the Watchdog shows."""
    return where(
        "count({0}) or 0 * count({1})",
        select("ALERTS", matchers, alertstate="firing", severity=severity),
        select("ALERTS", ANYWHERE, alertname="Watchdog", alertstate="firing"),
    )


def firing(
    text: Text,
    size: Size,
    chosen: str | Joined,
    keys: tuple[Key, ...],
    *,
    also: Joined | None = None,
) -> Panel:
    """Return the alerts that some matchers choose; ``keys`` are labels besides the name.

    Alerts alike in all of these are one row, which says how many they are.
    """
    keys = (Key("alertname", "Alert", width=150), *keys)
    by = tuple(key.label for key in keys)
    every = _named(_ranked(chosen))
    if also is not None:
        every = every | _named(_ranked(also))
    worst = where(f"topk({MOST}, {{0}})", aggregate("max", every, *by))
    count = where("{0} and {1}", aggregate("count", every, *by), worst)
    text = Text(text.title, f"{text.reading} At most the worst hundred; Count: how many alike.")
    return tables.listing(
        text,
        size,
        keys,
        (
            Column("Severity", worst, states=SEVERITIES, width=80),
            Column("Count", count, width=58),
        ),
        sort="Severity",
        absent=panels.WELL,
    )


def _ranked(chosen: str | Joined) -> Expr:
    """Return each alert as the number of its severity."""
    if isinstance(chosen, Joined):
        return where(f"({{0}}) {chosen.join} {{1}}", _ranked(chosen.matchers), chosen.of)
    first, *rest = (
        rank * select("ALERTS", chosen, alertstate="firing", severity=state.text)
        for rank, state in SEVERITIES.items()
    )
    every = first
    for one in rest:
        every = every | one
    return every


def _named(of: Expr) -> Expr:
    """Put into one label what else names an alert, and the place of one without an instance."""
    labels = '"instance", "node", "rack", "node_partition"'
    placed = f'label_join({of.text}, "placed", " ", {labels})'
    place = f'label_replace({placed}, "of", "${{1}}", "placed", " (.+)")'
    words = '"name", "xid", "serial", "fact", "collector", "of"'
    return dataclasses.replace(of, text=f'label_join({place}, "about", " ", {words})')
