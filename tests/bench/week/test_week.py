"""The simulated week: its draw, its recording, and who hears of what fires."""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

import pytest

from gpumon.rules import load
from gpumon.thresholds import shipped
from tests.bench.week import evaluate, report
from tests.bench.week.kinds import BEGIN_MINUTES, DAYS, KINDS, RATES, draw
from tests.bench.week.notify import Message, messages, routed
from tests.bench.week.record import packed
from tests.support.alerting import SHIPPED
from tests.support.servers import ROOT, require

CONFIG = evaluate.config(ROOT)


def alert(name: str, severity: str, team: str = "hardware", **labels: str) -> dict[str, str]:
    """Return a firing alert of node n1."""
    place = {"cluster": "c", "instance": "n1:9842", "node": "n1", "hall": "h"}
    return {"alertname": name, "severity": severity, "team": team, **place, **labels}


def test_a_seed_is_a_week_at_the_published_rate() -> None:
    """The kinds are all of the 419; over many weeks there are as many faults as published."""
    assert sum(kind.share for kind in KINDS) == 419
    for rate in RATES.values():
        assert draw(rate, 7) == draw(rate, 7)
        mean = statistics.mean(len(draw(rate, seed)) for seed in range(100))
        assert mean == pytest.approx(DAYS * rate, rel=0.05)


def test_values_are_packed_as_promtool_takes_them() -> None:
    """Runs in short; what ends is stale at once, what has not begun is missing."""
    assert packed(["1", "1", "1", "2"]) == "1+0x2 2"
    assert packed([None, None, "5", None, None, None, "6"]) == "_x2 5 stale _x2 6"
    assert packed(["1", None]) == "1 stale"


def test_alerts_of_one_node_are_one_ticket_for_as_long_as_any_fires() -> None:
    """What a greater trouble implies is in none, and what comes again is another ticket."""
    lost, xid = alert("GpuLost", "warning", uuid="a"), alert("GpuXidReboot", "warning", uuid="a")
    ecc = alert("GpuEccUncorrectable", "warning", uuid="b")
    firing: evaluate.Firing = [[xid], [lost, xid], [lost, ecc], [ecc], [], [xid], []]
    first, second = messages(CONFIG, firing)
    assert first == Message(
        "hardware", frozenset({"GpuXidReboot", "GpuLost", "GpuEccUncorrectable"}), 0, 4
    )
    assert (second.begin, second.end) == (5, 6)


def test_pages_are_those_of_the_pager() -> None:
    """Information is neither a page nor a ticket, and the Watchdog is nobody's."""
    page = alert("GpuSickButSchedulable", "critical", "operations")
    quiet: list[evaluate.Labels] = [
        alert("DriverDrift", "info"),
        alert("Watchdog", "none", "operations"),
    ]
    both: list[evaluate.Labels] = [page, *quiet]
    assert [m.receiver for m in messages(CONFIG, [both])] == ["pager"]
    assert messages(CONFIG, [quiet]) == []


@pytest.mark.e2e
def test_routes_are_those_of_alertmanager() -> None:
    """For every alert that ships, by amtool."""
    for group in load(shipped()):
        for rule in group.alerts:
            labels = {"alertname": rule.alert, "severity": rule.severity, "team": rule.team}
            words = [f"{name}={value}" for name, value in labels.items()]
            done = subprocess.run(
                [require("amtool"), "config", "routes", "test", f"--config.file={SHIPPED}", *words],
                capture_output=True,
                text=True,
                check=True,
            )
            assert routed(CONFIG["route"], labels)[0] == done.stdout.strip(), rule.alert


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_a_lost_gpu_is_a_ticket_and_no_page(tmp_path: Path) -> None:
    """As this release's simulator serves it, and its rules and routes make of it."""
    found = messages(CONFIG, evaluate.firing(ROOT, KINDS[0], tmp_path, BEGIN_MINUTES + 20))
    (ticket,) = found
    assert ticket.receiver == "hardware"
    assert ticket.begin <= BEGIN_MINUTES + 5
    assert {"GpuLost"} <= ticket.alerts


def test_the_page_has_a_table_of_every_kind() -> None:
    """The bench has written it, and writes it over."""
    page = (ROOT / "docs" / "alerting.md").read_text("utf-8")
    for kind in KINDS:
        assert f"| {kind.name} |" in page, kind.name
    again = report.put(page, "new")
    assert f"{report.BEGIN}\nnew\n{report.END}" in again
    assert len(again) < len(page)
