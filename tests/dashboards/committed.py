"""The dashboards as they are committed: what Grafana would load."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.support.servers import ROOT

FOLDER = ROOT / "dashboards" / "json"

Json = dict[str, Any]


NAME = r"[A-Za-z_:][\w:]*"

BUILT_IN = {"__rate_interval": "10s", "__range": "300s", "__interval": "5s"}
"""Grafana's own variables over a short time, as these tests can wait for."""


@dataclasses.dataclass(frozen=True)
class Query:
    """A query of a panel, of a variable or of an annotation."""

    dashboard: str
    where: str
    expr: str
    instant: bool = False

    @property
    def metrics(self) -> set[str]:
        """The names of the series that it selects."""
        return set(re.findall(rf"{NAME}(?=\{{)", self.expr))

    @property
    def selected(self) -> list[tuple[str, str]]:
        """The series that it selects: each name, and what stands between its braces."""
        return re.findall(rf"({NAME})\{{([^}}]*)\}}", self.expr)

    @property
    def variables(self) -> set[str]:
        """The variables of the dashboard that it reads."""
        return set(re.findall(r"\$(\w+)", self.expr)) - BUILT_IN.keys()

    def filled(self, values: Mapping[str, str]) -> str:
        """Return it with variables filled in; KeyError for one without a value."""
        return re.sub(r"\$(\w+)", lambda found: {**BUILT_IN, **values}[found[1]], self.expr)


def dashboards() -> list[Json]:
    """Return every dashboard."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))]


def panels(dashboard: Json) -> list[Json]:
    """Return a dashboard's panels, without the headings of its rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel_queries() -> list[Query]:
    """Return the queries of all panels, and those that mark the graphs."""
    queries = []
    for dashboard in dashboards():
        uid = dashboard["uid"]
        for panel in panels(dashboard):
            for target in panel["targets"]:
                where = f"{panel['title']} {target['refId']}"
                queries.append(Query(uid, where, target["expr"], target["instant"]))
        marks = dashboard["annotations"]["list"]
        queries += [Query(uid, f"mark {mark['name']}", mark["expr"]) for mark in marks]
    return queries


def variable_queries() -> list[Query]:
    """Return the queries of the variables: ``label_values(SELECTOR, LABEL)``."""
    return [
        Query(dashboard["uid"], variable["name"], variable["query"]["query"])
        for dashboard in dashboards()
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
