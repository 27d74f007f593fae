"""The dashboards as they are committed: what Grafana would load."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from tests.support.servers import ROOT

FOLDER = ROOT / "dashboards" / "json"

Json = dict[str, Any]


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
        return set(re.findall(r"[A-Za-z_:][\w:]*(?=\{)", self.expr))

    def filled(self, instance: str, *, cluster: str = ".*", window: str = "10s") -> str:
        """Return it with Grafana's variables filled in."""
        text = self.expr.replace("$cluster", cluster).replace("$instance", instance)
        return text.replace("$__rate_interval", window).replace("$__range", window)


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
