"""Checks and alerts are one table: each names the other, or says why there is none."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import pytest

from gpumon.checks import CHECKS, Level, Observation, Verdict, judge
from gpumon.documents.snapshot import from_document, to_document
from gpumon.model import Snapshot
from gpumon.rules import Alert, load
from gpumon.rules.source import RuleError, load_text
from gpumon.simulate.clock import SteppedClock
from gpumon.simulate.fleet import SimFleet
from gpumon.simulate.fleetplan import plan_fleet
from gpumon.thresholds import shipped
from tests.e2e.drills import SITE, Drill, drills

ALERTS = {alert.alert: alert for group in load(shipped()) for alert in group.alerts}
DRILLS = {drill.alert: drill for drill in drills()}
JUDGED = [alert for alert in ALERTS.values() if alert.check]

STEP_SECONDS = 5.0
WINDOW_STEPS = 6
"""A rate is that of half a minute."""

SHORT, FINE_STEPS = "t16", 10
"""A GPU that the hardware slows down for its heat has cooled within seconds: looked at as often."""

STEPS = 72
"""Six minutes: an energy counter is compared with the power over minutes."""


def test_both_lists_say_the_same() -> None:
    """What an alert calls its check is what that check calls its alert, in both directions."""
    by_alerts = {(alert.check, alert.alert) for alert in JUDGED}
    by_checks = {(check.name, alert) for check in CHECKS for alert in check.alerts}
    assert by_alerts == by_checks


def test_every_check_has_an_alert() -> None:
    """What is worth a verdict is worth knowing before somebody asks."""
    assert [check.name for check in CHECKS if not check.alerts] == []


def test_an_alert_without_a_check_says_why() -> None:
    """In a sentence; and an alert has not both."""
    for alert in ALERTS.values():
        assert bool(alert.check) is not bool(alert.no_check), alert.alert
        assert not alert.no_check or alert.no_check.endswith("."), alert.alert


@pytest.mark.parametrize("line", ["", "\n    check: a\n    no_check: b."])
def test_a_source_that_says_neither_or_both_is_refused(line: str) -> None:
    """So that a new alert cannot be without."""
    texts = "".join(f"\n    {t}: x" for t in ("summary", "description", "action", "why", "expr"))
    entry = f"{texts}\n    severity: info\n    team: hardware{line}"
    with pytest.raises(RuleError, match="Odd: either its check, or why there is none"):
        load_text("odd", f"groups:\n- name: odd\n  rules:\n  - alert: Odd{entry}\n", shipped())


class Node:
    """A node of the drills' fleet, and what its checks have found since the faults began."""

    def __init__(self, fleet: SimFleet, name: str) -> None:
        """Have seen nothing."""
        self._node = fleet.nodes[name]
        self._fleet = fleet
        self._seen: list[Snapshot] = []
        self.found: set[Verdict] = set()

    def look(self) -> None:
        """Judge what the agent serves now, as whoever asks it over HTTP does."""
        now = self._fleet.clock.monotonic()
        snapshot = self._node.look()
        assert snapshot is not None
        # An age is one of this clock: it is carried over as it stands.
        document = to_document(snapshot, monotonic=now)
        self._seen.append(from_document(document))
        earlier = self._seen[-1 - WINDOW_STEPS] if len(self._seen) > WINDOW_STEPS else None
        seen = Observation(snapshot=self._seen[-1], earlier=earlier, thresholds=shipped())
        report = judge(seen, CHECKS)
        self.found |= {
            dataclasses.replace(verdict, evidence="", next_step="")
            for verdict in report.verdicts
            if verdict.level in (Level.FAIL, Level.WARN)
        }


@functools.cache
def healthy_and_broken() -> tuple[set[Verdict], Mapping[str, set[Verdict]]]:
    """Return what checks find of the drills' nodes before their faults, and of each after them."""
    clock = SteppedClock(1_800_000_000.0)
    plan = plan_fleet(nodes=None, gpus=4, model="H100", seed=7, site=SITE)
    fleet = SimFleet(plan, clock)
    names = sorted({drill.labels["node"] for drill in DRILLS.values() if "node" in drill.labels})
    nodes = {name: Node(fleet, name) for name in names}
    for _ in range(WINDOW_STEPS + 2):
        clock.step(STEP_SECONDS)
        for node in nodes.values():
            node.look()
    healthy = {verdict for node in nodes.values() for verdict in node.found}
    fleet.add_faults([fault for drill in DRILLS.values() for fault in drill.faults])
    for _ in range(STEPS):
        for _ in range(FINE_STEPS):
            clock.step(STEP_SECONDS / FINE_STEPS)
            nodes[SHORT].look()
        for node in nodes.values():
            node.look()
    return healthy, {name: node.found for name, node in nodes.items()}


def test_a_healthy_node_has_no_finding() -> None:
    """Otherwise what follows would prove nothing."""
    healthy, _ = healthy_and_broken()
    assert healthy == set()


@pytest.mark.parametrize("alert", JUDGED, ids=lambda alert: alert.alert)
def test_the_fault_that_provokes_the_alert_is_found_by_its_check(alert: Alert) -> None:
    """The same fault on the same GPU, through the agent's own code and its document.

    That the alert fires is shown by the drills (tests/e2e/test_alerts.py).
    """
    drill: Drill = DRILLS[alert.alert]
    _, broken = healthy_and_broken()
    found = [v for v in broken[drill.labels["node"]] if v.alert == alert.alert]
    assert {verdict.check for verdict in found} == {alert.check}
    if "gpu" in drill.labels:
        assert int(drill.labels["gpu"]) in {verdict.gpu for verdict in found}
