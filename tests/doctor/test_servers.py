"""What is found of a Prometheus and a Grafana."""

from __future__ import annotations

from typing import Any

import pytest

from gpumon.checks import Level
from gpumon.doctor import servers

URL = "http://p:9090"


def target(url: str, health: str = "up", **labels: str) -> dict[str, Any]:
    """Return a target as Prometheus tells it."""
    return {"scrapeUrl": url, "health": health, "lastError": "", "labels": labels}


@pytest.mark.parametrize(
    ("targets", "level"),
    [
        ([target("http://n17:9842/metrics")], Level.PASS),
        ([target("http://10.0.0.7:9842/metrics", instance="n17:9842")], Level.PASS),
        ([target("http://10.0.0.7:9842/metrics", node="n17")], Level.PASS),
        ([target("http://n17:9100/metrics")], Level.FAIL),
        ([target("http://n18:9842/metrics")], Level.FAIL),
        ([target("http://n17:9842/metrics", health="down")], Level.FAIL),
        ([], Level.FAIL),
    ],
)
def test_a_target_is_this_nodes_by_its_host_and_port(
    targets: list[dict[str, Any]], level: Level
) -> None:
    """By the URL, or by the labels that it was given; another exporter's port is not ours."""
    assert servers.scraped(targets, {"n17"}, 9842, URL).level is level


def test_why_a_scrape_fails_is_said() -> None:
    """In Prometheus' own words."""
    sick = target("http://n17:9842/metrics", health="down") | {"lastError": "connection refused"}
    found = servers.scraped([sick], {"n17"}, 9842, URL)
    assert found.evidence == "http://n17:9842/metrics: connection refused"


@pytest.mark.parametrize(
    ("theirs", "level"), [(1000.0, Level.PASS), (900.0, Level.FAIL), (None, Level.SKIP)]
)
def test_two_clocks_must_agree(theirs: float | None, level: Level) -> None:
    """Within some seconds, as far as the server says its time."""
    assert servers.clocks(1001.0, theirs, URL).level is level


def test_a_group_that_is_missing_or_ails_is_named() -> None:
    """Others' groups are nobody's business here."""
    groups = [
        {"name": "ours", "rules": [{"name": "a", "health": "ok"}]},
        {"name": "theirs", "rules": [{"name": "b", "health": "err", "lastError": "no"}]},
    ]
    assert servers.rules(groups, {"ours"}, URL).level is Level.PASS
    missing = servers.rules(groups, {"ours", "second"}, URL)
    assert missing.evidence == f"1 of 2 groups are not in {URL}, such as second"
    ailing = servers.rules(groups, {"ours", "theirs"}, URL)
    assert (ailing.level, ailing.evidence) == (Level.FAIL, "b: no")


def test_alerts_that_reach_nobody_are_said() -> None:
    """And where they go, otherwise."""
    assert servers.alertmanagers([], URL).level is Level.WARN
    found = servers.alertmanagers([{"url": "http://am/api/v2/alerts"}], URL)
    assert found.evidence == "told to http://am/api/v2/alerts"


def test_dashboards_that_differ_are_counted_by_how() -> None:
    """All that are as they ship are well."""
    assert servers.dashboards(["unchanged"] * 3, "unchanged", URL).level is Level.PASS
    found = servers.dashboards(["unchanged", "updated", "created", "updated"], "unchanged", URL)
    assert found.level is Level.WARN
    assert found.evidence == f"3 of 4 dashboards differ in {URL} (2 updated, 1 created)"
