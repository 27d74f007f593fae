"""What is found of a Prometheus and a Grafana."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from gpumon.checks import Level
from gpumon.doctor import Finding, judge_servers, servers
from gpumon.doctor.facts import Grafana, Own, Prometheus, ServerReport
from gpumon.rules.fit import Fit, Problem

URL = "http://p:9090"
OWN = Own(frozenset({"n17"}), frozenset({"10.0.0.7", "fd00::7"}), 9842)


def target(url: str, health: str = "up", **labels: str) -> dict[str, Any]:
    """Return a target as Prometheus tells it."""
    return {"scrapeUrl": url, "health": health, "lastError": "", "labels": labels}


def group(name: str, *rules: str, **more: str) -> dict[str, Any]:
    """Return a group of rules as Prometheus tells it."""
    return {"name": name, "rules": [{"name": rule, "health": "ok"} | more for rule in rules]}


WELL = Prometheus(
    URL,
    OWN,
    {"ours": frozenset({"a", "b"}), "second": frozenset({"c"})},
    targets=ServerReport([target("http://n17:9842/metrics")]),
    rules=ServerReport([group("ours", "a", "b"), group("second", "c")]),
    alertmanagers=ServerReport([{"url": "http://am/api/v2/alerts"}]),
    skew_seconds=0.4,
)


def found(**changed: Any) -> dict[str, Finding]:
    """Return what is found of a Prometheus that is well but for what is changed."""
    facts = dataclasses.replace(WELL, **changed)
    return {finding.item: finding for finding in judge_servers.prometheus(facts)}


def test_a_prometheus_that_has_everything_is_well() -> None:
    """Six items, each with what shows it."""
    findings = found()
    assert {item: f.level for item, f in findings.items()} == {
        "prometheus": Level.PASS,
        "prometheus-scrape": Level.PASS,
        "prometheus-clock": Level.PASS,
        "prometheus-rules": Level.PASS,
        "prometheus-series": Level.PASS,
        "prometheus-alerts": Level.PASS,
    }
    assert findings["prometheus-alerts"].evidence == "sent to http://am/api/v2/alerts"


@pytest.mark.parametrize(
    ("targets", "level"),
    [
        ([target("http://10.0.0.7:9842/metrics")], Level.PASS),
        ([target("http://[fd00::7]:9842/metrics")], Level.PASS),
        ([target("http://n17.cluster.example.org:9842/metrics")], Level.PASS),
        ([target("http://proxy:9842/metrics", instance="n17:9842")], Level.PASS),
        ([target("http://proxy:9842/metrics", node="n17")], Level.PASS),
        ([target("http://n17:9842/metrics", instance="[gpu rack")], Level.PASS),
        ([target("http://n17:9100/metrics")], Level.FAIL),
        ([target("http://n18:9842/metrics")], Level.FAIL),
        ([target("http://127.0.0.1:9842/metrics")], Level.FAIL),
        ([target("http://n17:9842/metrics", health="down")], Level.FAIL),
        (
            [target("http://n17:9842/metrics"), target("http://10.0.0.7:9842/x", health="down")],
            Level.FAIL,
        ),
        ([target("http://n17:9842/metrics", health="unknown")], Level.WARN),
        ([], Level.FAIL),
    ],
)
def test_a_target_is_this_nodes_by_its_host_and_port(
    targets: Sequence[Mapping[str, Any]], level: Level
) -> None:
    """By URL, address or label; not another's port, nor what is 127.0.0.1 to somebody else."""
    assert found(targets=ServerReport(targets))["prometheus-scrape"].level is level


def test_a_node_that_knows_its_domain_is_not_its_namesake_of_another() -> None:
    """Prometheus may scrape two clusters, each with an n17."""
    own = dataclasses.replace(OWN, names=frozenset({"n17", "n17.a.example.org"}))
    for host, level in {"n17.a.example.org": Level.PASS, "n17.b.example.org": Level.FAIL}.items():
        targets = ServerReport([target(f"http://{host}:9842/metrics")])
        assert found(own=own, targets=targets)["prometheus-scrape"].level is level


def test_127_0_0_1_is_this_machine_for_its_own_prometheus_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One elsewhere means itself by it."""
    monkeypatch.setattr(socket, "gethostname", lambda: "n17.example.org")
    here = servers.own("http://127.0.0.1:9842", "http://localhost:9090")
    away = servers.own("http://127.0.0.1:9842", "http://prometheus.example.org:9090")
    assert {"127.0.0.1", "localhost"} <= here.addresses
    assert not {"127.0.0.1", "localhost", "::1"} & away.addresses
    assert here.names == away.names == {"n17", "n17.example.org"}
    assert here.port == 9842


def test_why_a_scrape_fails_is_said() -> None:
    """In Prometheus' own words."""
    sick = target("http://n17:9842/metrics", health="down") | {"lastError": "connection refused"}
    finding = found(targets=ServerReport([sick]))["prometheus-scrape"]
    assert finding.evidence == "http://n17:9842/metrics: connection refused"


@pytest.mark.parametrize(
    ("skew", "level", "words"),
    [
        (4.0, Level.PASS, "the same time"),
        (90.0, Level.FAIL, "90 s ahead of"),
        (-90.0, Level.FAIL, "90 s behind"),
        (None, Level.SKIP, "does not say"),
    ],
)
def test_two_clocks_must_agree(skew: float | None, level: Level, words: str) -> None:
    """Within some seconds, as far as the server says its time."""
    finding = found(skew_seconds=skew)["prometheus-clock"]
    assert (finding.level, words in finding.evidence) == (level, True), finding


@pytest.mark.parametrize(
    ("groups", "level", "evidence"),
    [
        ([], Level.FAIL, f"none of gpumon's rules is in {URL}"),
        ([group("theirs", "x")], Level.FAIL, f"none of gpumon's rules is in {URL}"),
        ([group("ours", "a", "b")], Level.WARN, f"1 of 2 groups are not in {URL}: second …"),
        (
            [group("ours", "a"), group("second", "c")],
            Level.WARN,
            f"1 rules of this version are not in {URL}, such as b",
        ),
        (
            [group("ours", "a", "b", health="err", lastError="no"), group("second", "c")],
            Level.FAIL,
            "a: no",
        ),
    ],
)
def test_rules_that_are_missing_old_or_ailing_are_named(
    groups: Sequence[Mapping[str, Any]], level: Level, evidence: str
) -> None:
    """A site may leave a group out, but not all of them."""
    finding = found(rules=ServerReport(groups))["prometheus-rules"]
    assert (finding.level, finding.evidence) == (level, evidence)


def test_others_rules_are_nobodys_business_here() -> None:
    """Even where they fail."""
    groups = [*WELL.rules.rows, group("theirs", "x", health="err", lastError="no")]
    assert found(rules=ServerReport(groups))["prometheus-rules"].level is Level.PASS


def test_what_is_not_as_the_rules_assume_is_said_with_what_to_do() -> None:
    """It is wrong if numbers are; what could not be asked is missed."""
    split = Problem("1 node has several targets", "scrape it once")
    replica = Problem("2 nodes are scraped several times", "remove duplicates", wrong=False)
    facts = dataclasses.replace(WELL, fit=Fit((split, replica)))
    findings = [f for f in judge_servers.prometheus(facts) if f.item == "prometheus-series"]
    assert [(f.level, f.evidence, f.next_step) for f in findings] == [
        (Level.FAIL, "1 node has several targets", "scrape it once"),
        (Level.WARN, "2 nodes are scraped several times", "remove duplicates"),
    ]
    silent = found(fit=ServerReport((), "no answer", "is it up?"))["prometheus-series"]
    assert (silent.level, silent.missed, silent.evidence) == (Level.SKIP, True, "no answer")


def test_alerts_that_reach_nobody_are_said() -> None:
    """It is a warning: perhaps somebody looks at Grafana."""
    assert found(alertmanagers=ServerReport())["prometheus-alerts"].level is Level.WARN


def test_what_a_server_does_not_tell_is_missed_and_one_that_tells_nothing_is_wrong() -> None:
    """A Mimir has no targets, but rules."""
    silent = ServerReport((), "no targets (404)", "is it a Prometheus?")
    finding = found(targets=silent)["prometheus-scrape"]
    assert (finding.level, finding.missed) == (Level.SKIP, True)
    findings = found(targets=silent, rules=silent, alertmanagers=silent)
    assert [(f.item, f.level, f.evidence) for f in findings.values()] == [
        ("prometheus", Level.FAIL, "no targets (404)")
    ]


def test_dashboards_that_differ_are_counted_by_how() -> None:
    """All that are as they ship are well."""
    (well,) = judge_servers.grafana(Grafana(URL, ("unchanged",) * 3))
    assert well.level is Level.PASS
    (old,) = judge_servers.grafana(Grafana(URL, ("unchanged", "updated", "created", "updated")))
    assert old.level is Level.WARN
    assert old.evidence == f"3 of 4 dashboards differ in {URL} (2 outdated, 1 missing)"


def test_what_was_not_asked_says_how_to_ask() -> None:
    """And is no reason to exit with anything but 0."""
    finding = judge_servers.not_asked("grafana")
    assert (finding.level, finding.missed) == (Level.SKIP, False)
    assert finding.next_step == "gpumon doctor --grafana URL"
