"""The facts of a Prometheus and of a Grafana: what they have of ours, and of this node."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Mapping

from gpumon.doctor import here
from gpumon.doctor.facts import Grafana, Own, Prometheus, ServerReport
from gpumon.errors import UnavailableError
from gpumon.grafana.login import GrafanaLogin
from gpumon.prometheus.api import PrometheusApi
from gpumon.rules import Alert
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


def prometheus(api: PrometheusApi, ours: Own) -> Prometheus:
    """Ask a Prometheus for its targets, rules and Alertmanagers, and for its time."""
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
    )


def _told(api: PrometheusApi, path: str, key: str) -> tuple[ServerReport, float | None]:
    try:
        data, date = api.status(path)
    except UnavailableError as error:
        return ServerReport((), error.problem, error.next_step), None
    return ServerReport(tuple(data.get(key) or ())), date


def _shipped_rules() -> Mapping[str, frozenset[str]]:
    from gpumon.rules import load

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
    from gpumon.grafana.api import connect
    from gpumon.grafana.push import changes_in
    from gpumon.grafana.shipped import FOLDER, load

    with connect(access) as server:
        _, changes = changes_in(server, load((), thresholds), FOLDER, None)
    return Grafana(access.url, tuple(change.kind.value for change in changes))
