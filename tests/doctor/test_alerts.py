"""Which alerts cannot fire on a node: by what its agent serves, and in words."""

from __future__ import annotations

import re

import pytest

from gpumon.checks import Level
from gpumon.doctor.alerts import feeds
from gpumon.doctor.facts import AlertFeeds
from gpumon.doctor.judge_alerts import alerts as judge
from gpumon.exposition import Format
from gpumon.simulate.clock import SteppedClock
from gpumon.simulate.fleet import SimFleet
from gpumon.simulate.fleetplan import plan_fleet


def exposition(model: str = "H100") -> str:
    """Return what the agent of a simulated node with four GPUs serves."""
    clock = SteppedClock(1_800_000_000.0)
    fleet = SimFleet(plan_fleet(nodes=1, gpus=4, model=model, seed=3, site=None), clock)
    clock.step(5.0)
    (node,) = fleet.nodes.values()
    return node.scrape(Format.TEXT).decode()


TEXT = exposition()


def deaf(text: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return by alert what is missing, and on which GPUs."""
    found = feeds(text).deaf
    return {a: (missing, tuple(g)) for missing, by in found.items() for a, g in by.items()}


def without(text: str, pattern: str) -> str:
    """Return an exposition without the lines that begin like this."""
    return re.sub(rf"(?m)^{pattern}.*\n", "", text)


def test_a_simulated_node_lacks_what_no_simulation_has() -> None:
    """No kernel's log, no SRAM errors, no power smoothing (H100)."""
    assert deaf(TEXT).keys() == {
        *("NvswitchFatalError", "XidUnattributed"),
        *("GpuSramThresholdExceeded", "PowerSmoothingWornOut"),
    }


@pytest.mark.parametrize(
    ("pattern", "alert", "missing"),
    [
        ("gpumon_gpu_nvlink_links_active", "NvlinkDown", "gpumon_gpu_nvlink_links_active"),
        ("gpumon_gpu_memory_temp", "GpuMemoryHot", "gpumon_gpu_memory_temperature_celsius"),
        ("gpumon_gpu_xid_", "GpuXidReboot", "gpumon_gpu_xid_events_total"),
        ("gpumon_clock", "ClockWrong", "gpumon_clock_synchronized"),
        (
            "gpumon_gpu_ecc_errors_total{.*uncorrected",
            "GpuEccUncorrectable",
            'gpumon_gpu_ecc_errors_total{error="uncorrected"}',
        ),
    ],
)
def test_what_a_driver_does_not_report_makes_an_alert_deaf(
    pattern: str, alert: str, missing: str
) -> None:
    """On all GPUs, and it is said what is missing."""
    assert deaf(without(TEXT, pattern))[alert] == (missing, (0, 1, 2, 3))


def test_an_alert_with_a_fallback_is_not_deaf() -> None:
    """The flag stands in for the driver's clock of lost time; without both nothing does."""
    text = without(TEXT, "gpumon_gpu_throttle_seconds_total")
    assert "GpuThermalThrottling" not in deaf(text)
    assert "GpuThermalThrottling" in deaf(without(text, "gpumon_gpu_throttled"))


def test_a_board_of_another_kind_is_named() -> None:
    """What is missing on one GPU of four is missing there only."""
    text = without(TEXT, 'gpumon_gpu_memory_temperature_celsius{gpu="2"')
    assert deaf(text)["GpuMemoryHot"][1] == (2,)
    said = [f.evidence for f in judge(feeds(text)) if "GpuMemoryHot" in f.evidence]
    assert said == ["GpuMemoryHot cannot fire: no gpumon_gpu_memory_temperature_celsius of GPU 2"]


def test_ecc_that_is_not_reported_is_a_missing_label() -> None:
    """The series of a board without ECC is there, and says nothing of it."""
    text = TEXT.replace('ecc="on"', 'ecc=""')
    assert deaf(text)["GpuEccOff"][0] == 'gpumon_gpu_info{ecc!=""}'


def test_it_is_said_without_alarm() -> None:
    """A board without NVLink is as it should be; the exit code stays 0."""
    findings = list(judge(feeds(without(TEXT, "gpumon_gpu_nvlink"))))
    assert findings[0].level is Level.PASS
    assert re.fullmatch(
        r"\d+ of \d+ alerts about GPUs have what they need on this node; the others cannot fire",
        findings[0].evidence,
    )
    assert {finding.level for finding in findings[1:]} == {Level.SKIP}
    assert not any(finding.missed for finding in findings)
    assert any("NvlinkDown" in finding.evidence for finding in findings)


def test_what_can_be_done_is_said() -> None:
    """The kernel's log can be opened to the agent; what is root's is explained."""
    steps = {f.evidence.split(" cannot")[0]: f.next_step for f in judge(feeds(TEXT))}
    assert "privileges.md" in steps["NvswitchFatalError, XidUnattributed"]
    assert "root only" in steps["GpuSramThresholdExceeded"]
    assert "if the board has it" in steps["PowerSmoothingWornOut"]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (AlertFeeds(problem="no agent responds"), "not known: no agent responds"),
        (AlertFeeds(gpus=0, alerts=40), "no GPU responds"),
    ],
)
def test_without_an_agent_or_a_gpu_nothing_is_claimed(facts: AlertFeeds, says: str) -> None:
    """One line, which is no failure."""
    (finding,) = judge(facts)
    assert (finding.item, finding.level) == ("alerts", Level.SKIP)
    assert says in finding.evidence
