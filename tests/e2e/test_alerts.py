"""Every alert, provoked by a fault of a simulated fleet, through real servers to who is told."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpumon.rules import load
from gpumon.thresholds import shipped
from tests.e2e.drills import (
    SITE,
    THRESHOLDS,
    TIME_SCALE,
    Drill,
    Silence,
    drills,
    silences,
    table,
    undrilled,
)
from tests.support.alerting import Told, at_a_drills_pace, run_alertmanager, run_operator
from tests.support.fleet import RunningFleet, fleet_config, run_fleet, scaled
from tests.support.servers import ROOT, Prometheus, run_prometheus, wait_for

DRILLS = drills()
CHECK_OF = {alert.alert: alert.check for group in load(shipped()) for alert in group.alerts}
CHECKED = [
    drill
    for drill in DRILLS
    if CHECK_OF[drill.alert] and not any("for=" in fault for fault in drill.faults)
]
"""Drills whose fault is still there when all have arrived, and is one that a check finds.

The others are in ``tests/checks/test_alerts.py``.
"""

HEALTHY_SECONDS = 20
"""A third of an hour of the fleet's times: more than most alerts wait."""

PATIENCE = 240

DASHBOARDS_ONLY = ("health.yml", "monitor.yml")
"""Rules that no alert reads: four times a second, at this pace, they would be most of the work."""

# The first test waits for all drills.
pytestmark = pytest.mark.timeout(900)


@dataclasses.dataclass
class Outcome:
    """What came of the drills."""

    healthy: list[Told]
    told: list[Told]
    firing: list[dict[str, str]]
    checked: dict[str, list[dict[str, Any]]]
    """What ``gpumon check`` found of each node while it was broken, by the node's name."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """A fleet, healthy for a while; then everything breaks at once, each on its own node."""
    folder = tmp_path_factory.mktemp("drill")
    export = [
        *(sys.executable, "-m", "gpumon", "rules", "export", "--to", str(folder / "rules")),
        *("--time-scale", str(TIME_SCALE), "--thresholds", str(THRESHOLDS)),
    ]
    subprocess.run(export, check=True, capture_output=True)
    for name in DASHBOARDS_ONLY:
        (folder / "rules" / name).unlink()
    with (
        run_operator() as (operator, webhook),
        run_alertmanager(folder, at_a_drills_pace(webhook)) as alertmanager,
        run_fleet(
            folder,
            *("--site", str(SITE), "--seed", "7", "--gpus", "4"),
            *("--thresholds", str(scaled(folder, TIME_SCALE))),
        ) as fleet,
        run_prometheus(
            folder,
            fleet_config(fleet, cluster="drill", rules=folder / "rules", alertmanager=alertmanager),
            # What fired before Alertmanager was found is told again at once.
            "--rules.alert.resend-delay=1s",
        ) as prometheus,
    ):
        wait_for(lambda: prometheus.value('count(up{job="gpumon"} == 1)') == 48, 180, "the nodes")
        time.sleep(HEALTHY_SECONDS)  # that nothing happens is seen by waiting
        healthy = operator.told()
        for last in (False, True):
            now = [drill for drill in DRILLS if drill.last is last]
            fleet.break_([fault for drill in now for fault in drill.faults])
            _await(now, operator.told)
        told, firing = operator.told(), _firing(prometheus)
        # Last, for it keeps the machine so busy that scrapes come late, and alerts resolve.
        yield Outcome(healthy, told, firing, _checked(fleet))


def _checked(fleet: RunningFleet) -> dict[str, list[dict[str, Any]]]:
    """Run ``gpumon check`` on each node that has a drill with a check, all at once."""
    nodes = sorted({drill.labels["node"] for drill in CHECKED})
    command = [sys.executable, "-m", "gpumon", "check", "--window", "15", "--timeout", "30"]
    running = {
        node: subprocess.Popen(
            [*command, "-o", "json", f"{fleet.url}/nodes/{node}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for node in nodes
    }
    return {
        node: json.loads(p.communicate(timeout=120)[0])["verdicts"] for node, p in running.items()
    }


def _await(expected: list[Drill], told: Callable[[], list[Told]]) -> None:
    """Wait until everything expected has arrived, or for as long as patience lasts."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        arrived = told()
        if all(any(t.alert == d.alert and t.has(d.labels) for t in arrived) for d in expected):
            return
        time.sleep(0.5)


def _firing(prometheus: Prometheus) -> list[dict[str, str]]:
    """Return the labels of every alert that fired at any time of the drills."""
    return [
        sample["metric"]
        for sample in prometheus.query('last_over_time(ALERTS{alertstate="firing"}[15m])')
    ]


@pytest.mark.e2e
@pytest.mark.timeout(700)
class TestDrills:
    """One fleet for all: alerts wait, and they wait side by side."""

    def test_a_healthy_fleet_is_silent(self, outcome: Outcome) -> None:
        """Before anything breaks, nobody hears of anything but the Watchdog."""
        assert {told.alert for told in outcome.healthy} == {"Watchdog"}

    @pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.alert)
    def test_it_arrives(self, outcome: Outcome, drill: Drill) -> None:
        """The fault's alert is told at the right place, with its labels, text and runbook."""
        arrived = [told for told in outcome.told if told.alert == drill.alert]
        assert arrived, "it did not arrive"
        (told, *_) = [told for told in arrived if told.has(drill.labels)] or [None]
        assert told is not None, [dict(told.labels) for told in arrived]
        assert told.receiver == drill.receiver
        assert drill.says in told.annotations["summary"]
        assert told.annotations["runbook_url"].endswith(f"/{drill.alert}.md")
        for text in ("summary", "description", "action"):
            assert told.annotations[text]
            assert "no value" not in told.annotations[text]
            assert "<error" not in told.annotations[text]

    @pytest.mark.parametrize("drill", CHECKED, ids=lambda drill: drill.alert)
    def test_its_check_finds_it_too(self, outcome: Outcome, drill: Drill) -> None:
        """``gpumon check`` of that node's agent names the alert, of the same GPU."""
        found = [v for v in outcome.checked[drill.labels["node"]] if v["alert"] == drill.alert]
        assert {v["check"] for v in found} == {CHECK_OF[drill.alert]}
        assert {v["level"] for v in found} <= {"fail", "warn"}
        if "gpu" in drill.labels:
            assert int(drill.labels["gpu"]) in {v["gpu"] for v in found}

    @pytest.mark.parametrize("silence", silences(), ids=lambda s: f"{s.alert}-{s.why[:20]}")
    def test_it_is_not_told(self, outcome: Outcome, silence: Silence) -> None:
        """What a greater trouble says already fires in Prometheus, and arrives nowhere."""
        arrived = [t for t in outcome.told if t.alert == silence.alert and t.has(silence.labels)]
        assert not arrived
        fired = any(
            labels["alertname"] == silence.alert and silence.labels.items() <= labels.items()
            for labels in outcome.firing
        )
        assert fired is not silence.never

    def test_nothing_of_a_healthy_node_is_told(self, outcome: Outcome) -> None:
        """A node on which nothing was broken is named by nobody, but for what its job suffers.

        How long a scrape takes is this machine's doing, and it is busy with all drills at once.
        """
        unbroken = {"t28", "t29", "t34"}
        told = [told for told in outcome.told if told.labels.get("node") in unbroken]
        assert not [t for t in told if t.alert != "AgentSlow"]


def test_every_alert_has_its_drill() -> None:
    """A new alert comes with the fault that provokes it, or why there is none."""
    alerts = [alert.alert for group in load(shipped()) for alert in group.alerts]
    assert sorted([*(drill.alert for drill in DRILLS), *undrilled()]) == sorted(alerts)


def test_the_table_is_fresh() -> None:
    """``docs/alert-drills.md`` is what these tests check: ``make docs`` writes it."""
    assert (ROOT / "docs" / "alert-drills.md").read_text("utf-8") == table()
