"""What a word means, for whoever was just woken up by it."""

from __future__ import annotations

import pytest

from gpumon.errors import UsageError
from gpumon.model import Tier
from gpumon.model.catalogue import rows
from gpumon.model.terms import RECOVERY_ACTIONS, THROTTLE_REASONS
from gpumon.rules import load
from gpumon.thresholds import shipped
from gpumon.views.explain import REASONS, explain
from gpumon.xids import xids

ALERTS = {alert.alert: alert for group in load(shipped()) for alert in group.alerts}


@pytest.mark.parametrize("words", [("xid", "79"), ("Xid", "79"), ("79",), ("xid 79",)])
def test_an_xid_is_explained(words: tuple[str, ...]) -> None:
    """Its meaning, what to do, and the alert that tells of it, however it is written."""
    text = explain(words, shipped())
    assert text.startswith("Xid 79: The GPU has fallen off the bus")
    assert "Drain the node and reboot it" in text
    assert "GpuXidReboot" in text


def test_every_xid_can_be_explained() -> None:
    """Each names an alert that exists, or says that it follows another."""
    for code in xids():
        alert = explain([str(code)], shipped()).partition("alert           ")[2].splitlines()[0]
        assert alert in ALERTS or alert == "none: it follows another"


def test_an_alert_about_a_gpu_says_how_to_find_its_seat() -> None:
    """And one about a node does not."""
    assert "gpumon_gpu_platform_info" in explain(["GpuLost"], shipped())
    assert "gpumon_gpu_platform_info" not in explain(["AgentDown"], shipped())


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_can_be_explained(name: str) -> None:
    """Its runbook and its rule."""
    text = explain([name], shipped())
    assert text.startswith(f"# {name}\n")
    assert "## Mitigation" in text
    assert ALERTS[name].expr.splitlines()[0] in text


@pytest.mark.timeout(300)
def test_every_metric_can_be_explained() -> None:
    """Its help, unit, labels and where it is read."""
    for labels, metric in rows(Tier.FULL):
        text = explain([metric.name], shipped())
        assert metric.help in text
        assert all(label in text for label in labels)


def test_every_reason_and_action_can_be_explained() -> None:
    """None is without words."""
    assert REASONS.keys() == {*THROTTLE_REASONS}
    for word in (*REASONS, *RECOVERY_ACTIONS):
        assert len(explain([word], shipped()).splitlines()) >= 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("GpuLsot",), "did you mean GpuLost?"),
        (("xid", "9999"), "not in this version's catalogue"),
        (("",), "nothing is known"),
    ],
)
def test_what_is_not_known_is_said(words: tuple[str, ...], says: str) -> None:
    """With the nearest that is."""
    with pytest.raises(UsageError, match=says.replace("?", r"\?")):
        explain(words, shipped())
