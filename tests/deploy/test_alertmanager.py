"""Who is told what: the configuration of Alertmanager that ships."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from gpumon.rules import load
from gpumon.thresholds import shipped
from tests.support.alerting import (
    PAGER,
    SHIPPED,
    Operator,
    at_a_pace,
    post_alerts,
    run_alertmanager,
    run_operator,
)
from tests.support.servers import get, require, wait_for

CONFIG = yaml.safe_load(SHIPPED.read_text())
ALERTS = {alert.alert: alert for group in load(shipped()) for alert in group.alerts}


def amtool(*arguments: str) -> str:
    """Run amtool and return what it prints; fail where it does not like something."""
    done = subprocess.run(
        [require("amtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_amtool_accepts_it() -> None:
    """Alertmanager would start with it."""
    amtool("check-config", str(SHIPPED))


def test_it_holds_no_secret_and_tells_nobody() -> None:
    """Whom to tell is the site's decision, and secrets are kept in files of their own."""
    assert all(receiver.keys() == {"name"} for receiver in CONFIG["receivers"])
    settings = re.sub("#.*", "", SHIPPED.read_text())
    assert not re.search("password|token|secret|://", settings)


@pytest.mark.parametrize(
    ("alert", "receiver"),
    [
        ("Watchdog", "watchdog"),
        ("RackHot", "pager"),
        ("GpuSickButSchedulable", "pager"),
        ("GpuLost", "hardware"),
        ("GpuMarginLow", "facility"),
        ("AgentDown", "operations"),
        ("NodeNotScraped", "operations"),
        ("NvswitchFatalError", "hardware"),
        ("TelemetryLostInHall", "pager"),
        ("DriverDrift", "information"),
        ("GpuXidApplication", "job-owners"),
        ("JobStalled", "job-owners"),
    ],
)
def test_each_kind_has_its_receiver(alert: str, receiver: str) -> None:
    """Critical wakes somebody, tickets go to whose they are, a job's trouble to its owner."""
    labels = [f"severity={ALERTS[alert].severity}", f"team={ALERTS[alert].team}"]
    found = amtool(
        "config", "routes", "test", f"--config.file={SHIPPED}", f"alertname={alert}", *labels
    )
    assert found == receiver


def test_alerts_on_trial_wake_nobody() -> None:
    """Whatever their severity and team; and none of them holds back a live alert."""
    for alert in ("RackHot", "JobIdle", "AgentDown", "NodeNotScraped"):
        labels = [f"severity={ALERTS[alert].severity}", f"team={ALERTS[alert].team}"]
        test = ("config", "routes", "test", f"--config.file={SHIPPED}", "shadow=true")
        assert amtool(*test, f"alertname={alert}", *labels) == "shadow"
    assert all("shadow" in rule["equal"] for rule in CONFIG["inhibit_rules"])


def test_no_job_owners_alert_pages() -> None:
    """A program's fault is never for the pager, whatever its severity."""
    assert not [a for a in ALERTS.values() if a.team == "job_owner" and a.severity == "critical"]


def test_inhibitions_name_alerts_that_exist() -> None:
    """A renamed alert cannot leave an inhibition without effect."""
    named = re.findall(r'alertname!?=~?"([^"]+)"', SHIPPED.read_text())
    for name in {name for names in named for name in names.split("|")}:
        assert any(re.fullmatch(name, alert) for alert in ALERTS), name


RANK = {"critical": 3, "warning": 2, "info": 1, "none": 0}


def _fits(matchers: list[str], labels: dict[str, str]) -> bool:
    """Return whether all matchers of an inhibition fit an alert's labels."""
    for matcher in matchers:
        found = re.fullmatch(r'(\w+)(=~|!=|!~|=)"(.*)"', matcher)
        assert found, matcher
        name, sign, wanted = found.groups()
        value = labels.get(name, "")
        same = re.fullmatch(wanted, value) is not None if "~" in sign else value == wanted
        if same is sign.startswith("!"):
            return False
    return True


def _labels(alert: str, severity: str) -> dict[str, str]:
    """Return labels of which each matcher for a label that is there fits."""
    there = dict.fromkeys(("cluster", "instance", "uuid", "rack", "hall", "job_id", "xid"), "x")
    return {**there, "alertname": alert, "severity": severity, "team": ALERTS[alert].team}


def _inhibited(source: dict[str, str], target: dict[str, str]) -> bool:
    return any(
        _fits(rule["source_matchers"], source) and _fits(rule["target_matchers"], target)
        for rule in CONFIG["inhibit_rules"]
    )


def test_no_lower_severity_holds_back_a_higher_one() -> None:
    """Over all pairs of alerts, with any severity that a site may give to each of the two."""
    wrong = [
        (one, s, other, t)
        for one in ALERTS
        for other in ALERTS
        for s in RANK
        for t in RANK
        if RANK[s] < RANK[t] and _inhibited(_labels(one, s), _labels(other, t))
    ]
    assert not wrong


def test_a_node_that_is_down_does_not_silence_what_is_critical() -> None:
    """GpuSickButSchedulable pages beside AgentDown; a ticket of the same node does not come."""
    down = _labels("AgentDown", ALERTS["AgentDown"].severity)
    sick = _labels("GpuSickButSchedulable", ALERTS["GpuSickButSchedulable"].severity)
    assert not _inhibited(down, sick)
    assert _inhibited(down, _labels("GpuLost", ALERTS["GpuLost"].severity))
    assert _inhibited(down, _labels("TelemetryLost", ALERTS["TelemetryLost"].severity))


def test_each_inhibition_works_as_it_ships() -> None:
    """With the severities that ship each has a source and a target, and no alert is both."""
    labels = {name: _labels(name, alert.severity) for name, alert in ALERTS.items()}
    for rule in CONFIG["inhibit_rules"]:
        sources = {n for n, each in labels.items() if _fits(rule["source_matchers"], each)}
        targets = {n for n, each in labels.items() if _fits(rule["target_matchers"], each)}
        assert sources, rule
        assert targets, rule
        assert not sources & targets


@pytest.mark.e2e
def test_one_trouble_of_one_node_is_one_group(tmp_path: Path) -> None:
    """Two GPUs of a node with the same trouble are one message, another node's is a second."""
    alerts = [
        {"alertname": "Hot", "cluster": "a", "node": node, "gpu": gpu}
        for node, gpu in (("n1", "0"), ("n1", "1"), ("n2", "0"))
    ]
    with run_alertmanager(tmp_path, SHIPPED.read_text()) as address:
        post_alerts(address, alerts)
        groups = wait_for(
            lambda: get(f"http://{address}/api/v2/alerts/groups").json(), 30, "groups"
        )
    counts = {group["labels"]["node"]: len(group["alerts"]) for group in groups}
    assert counts == {"n1": 2, "n2": 1}


PACE = 900
"""A quarter of an hour in a second."""


def of(alert: str, **labels: str) -> dict[str, str]:
    """Return an alert's labels, as the rules ship them."""
    rule = ALERTS[alert]
    return {"alertname": alert, "severity": rule.severity, "team": rule.team, **labels}


@pytest.mark.e2e
def test_a_roll_out_is_one_message(tmp_path: Path) -> None:
    """Nodes lose their target in waves over hours, longer than a group waits: their list grows."""
    nodes = [of("NodeNotScraped", cluster="a", node=f"n{number}") for number in range(60)]
    with (
        run_operator() as (operator, webhook),
        run_alertmanager(tmp_path, at_a_pace(webhook, PACE)) as address,
    ):
        for begin in range(0, 60, 20):
            post_alerts(address, nodes[begin : begin + 20])
            # The first wave is reported before the second comes: an hour later, or more.
            wait_for(lambda: operator.messages("operations"), 30, "the message")
            time.sleep(4)
        (message,) = operator.messages("operations")
        (group,) = get(f"http://{address}/api/v2/alerts/groups").json()
    assert (message["status"], len(message["alerts"])) == ("firing", 20)
    assert len(group["alerts"]) == 60


@pytest.mark.parametrize("kind", ["webhook", "pagerduty", "opsgenie"])
def test_amtool_accepts_each_receiver_of_the_pagers_example(tmp_path: Path, kind: str) -> None:
    """In place of the empty receiver; each ends what it began, and reads its key from a file."""
    example = yaml.safe_load(PAGER.read_text())["receivers"]
    (one,) = (receiver for receiver in example if receiver["name"] == f"pager-{kind}")
    (settings,) = one[f"{kind}_configs"]
    assert settings["send_resolved"] is True
    assert not re.search("password|token|secret|_key:", re.sub("#.*", "", PAGER.read_text()))
    config = yaml.safe_load(SHIPPED.read_text())
    others = [receiver for receiver in config["receivers"] if receiver["name"] != "pager"]
    config["receivers"] = [*others, {**one, "name": "pager"}]
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    amtool("check-config", str(file))


STORM = [
    of("GpuSickButSchedulable", site="s", cluster="a", hall=f"h{number % 2}", node=f"n{number}")
    for number in range(200)
]


@pytest.mark.e2e
def test_a_storm_is_a_page_for_each_hall_and_ends(tmp_path: Path) -> None:
    """However many nodes, and whenever they come; the page ends with the last of them."""
    with (
        run_operator() as (operator, webhook),
        run_alertmanager(tmp_path, at_a_pace(webhook, 60)) as address,
    ):
        post_alerts(address, STORM[:50])
        wait_for(lambda: len(operator.messages("pager")) >= 2, 30, "two pages")
        post_alerts(address, STORM[50:])
        wait_for(lambda: len(operator.messages("pager")) >= 4, 30, "their growth")
        post_alerts(address, STORM[:199], over=True)
        wait_for(lambda: _ended(operator) == ["h0"], 60, "the end of the first")
        post_alerts(address, STORM[199:], over=True)
        wait_for(lambda: _ended(operator) == ["h0", "h1"], 60, "the end of the second")
        pages = operator.messages("pager")
    assert len({page["groupKey"] for page in pages}) == 2
    # The one that is left is not lost among those that are over.
    assert max(len(page["alerts"]) for page in pages) == 100
    assert {page["groupLabels"]["hall"] for page in pages[:2]} == {"h0", "h1"}


def _ended(operator: Operator) -> list[str]:
    ended = [m for m in operator.messages("pager") if m["status"] == "resolved"]
    # Alertmanager sends again if a receiver was too slow to reply.
    return sorted({message["groupLabels"]["hall"] for message in ended})


@pytest.mark.e2e
def test_a_page_is_known_again_over_replicas_and_restarts(tmp_path: Path) -> None:
    """Its key is the same from another Alertmanager, and from one that was started again.

    That one sends nothing twice, and ends what the one before began.
    """
    alert = [of("RackHot", site="s", hall="h1", rack="r1")]
    keys: list[str] = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        with run_operator() as (operator, webhook):
            config = at_a_pace(webhook, 60)
            with run_alertmanager(tmp_path / name, config) as address:
                post_alerts(address, alert)
                wait_for(lambda: operator.messages("pager"), 30, "the page")
            with run_alertmanager(tmp_path / name, config) as address:
                post_alerts(address, alert)
                time.sleep(3)
                assert [m["status"] for m in operator.messages("pager")] == ["firing"]
                post_alerts(address, alert, over=True)
                wait_for(lambda: len(operator.messages("pager")) == 2, 30, "the end")
            begin, end = operator.messages("pager")
        assert (begin["status"], end["status"]) == ("firing", "resolved")
        keys += [begin["groupKey"], end["groupKey"]]
    assert len(set(keys)) == 1
