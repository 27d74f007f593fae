"""The facts of a Prometheus and of a Grafana: what they have of ours, and of this node."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from gpumon.doctor import here
from gpumon.doctor.facts import Grafana, Own, Prometheus, ServerReport
from gpumon.errors import UnavailableError
from gpumon.grafana.login import GrafanaLogin
from gpumon.prometheus.api import PrometheusApi
from gpumon.rules import Alert, load
from gpumon.rules.fit import Fit, fit
from gpumon.rules.levels import Levels
from gpumon.thresholds import Thresholds, shipped


def own(agent_url: str, prometheus_url: str) -> Own:
    """Return how this machine's agent may be named among a Prometheus' targets.

    127.0.0.1 is this machine for its own Prometheus only; elsewhere it is that one's.
    """
    port = urllib.parse.urlsplit(agent_url).port or 0
    addresses, names = here.addresses(), here.names()
    local = frozenset({"localhost", *filter(here.is_loopback, addresses)})
    asked = urllib.parse.urlsplit(prometheus_url).hostname or ""
    if asked in addresses | names | local:
        return Own(names, addresses | local, port)
    return Own(names, addresses - local, port)


def prometheus(api: PrometheusApi, ours: Own, thresholds: Thresholds) -> Prometheus:
    """Ask a Prometheus for its targets, rules and Alertmanagers, its time, and how it fits ours."""
    targets, date = _told(api, "targets?state=active", "activeTargets")
    now = time.time()
    rules, _ = _told(api, "rules", "groups")
    alertmanagers, _ = _told(api, "alertmanagers", "activeAlertmanagers")
    return Prometheus(
        api.url,
        ours,
        _shipped_rules(),
        targets,
        rules,
        alertmanagers,
        None if date is None else now - date,
        _fit(api, rules, thresholds),
    )


def _fit(api: PrometheusApi, rules: ServerReport, thresholds: Thresholds) -> Fit | ServerReport:
    """Ask whether a Prometheus is as the rules assume, by its series and the rules it has."""
    now = time.time()

    def loaded() -> Sequence[Mapping[str, Any]]:
        if rules.problem:
            raise UnavailableError(rules.problem, rules.next_step)
        return rules.rows

    try:
        return fit(
            load(thresholds),
            Levels(thresholds.levels),
            lambda query: api.instant(query, now),
            loaded,
        )
    except UnavailableError as error:
        return ServerReport((), error.problem, error.next_step)


def _told(api: PrometheusApi, path: str, key: str) -> tuple[ServerReport, float | None]:
    try:
        data, date = api.status(path)
    except UnavailableError as error:
        return ServerReport((), error.problem, error.next_step), None
    return ServerReport(tuple(data.get(key) or ())), date


def _shipped_rules() -> Mapping[str, frozenset[str]]:
    return {
        group.name: frozenset(
            rule.alert if isinstance(rule, Alert) else rule.record for rule in group.rules
        )
        for group in load(shipped())
    }


def grafana(access: GrafanaLogin, thresholds: Thresholds) -> Grafana:
    """Ask a Grafana what a push of the dashboards would do; nothing is pushed.

    They would be pushed with a site's thresholds in them.
    """
    from gpumon.grafana import shipped as dashboards
    from gpumon.grafana.api import connect
    from gpumon.grafana.push import changes_in

    with connect(access) as server:
        ours = dashboards.load((), thresholds)
        _, changes = changes_in(server, ours, dashboards.FOLDER, None)
    return Grafana(access.url, tuple(change.kind.value for change in changes))
