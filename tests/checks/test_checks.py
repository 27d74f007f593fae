"""Each check on its own: what it finds, what it lets pass, and what it cannot tell."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gpumon.checks import CHECKS, Judgement, Level, Observation, Verdict, chosen, judge
from gpumon.checks.judgement import Selection
from gpumon.checks.model import NO_AGENT
from gpumon.errors import UsageError
from gpumon.model import (
    NOT_ANSWERED_YET,
    RECOVERY_ACTIONS,
    THROTTLE_REASONS,
    AgentFacts,
    EnergyInfo,
    GpuReading,
    GpuState,
    PassedThrough,
    Snapshot,
)
from gpumon.rules import load
from gpumon.sources import open_source
from gpumon.thresholds import load_thresholds, shipped
from gpumon.xids import xids
from tests.support.clock import FakeClock
from tests.support.servers import ROOT

ALERTS = {alert.alert: alert for group in load(shipped()) for alert in group.alerts}
CLOCK = FakeClock()
NODE = open_source("sim:2xH100,workload=training", CLOCK).read()
NOW = CLOCK.monotonic()
TIME = NODE.time
AGENT = AgentFacts(
    clock_synchronized=True,
    clock_offset_seconds=0.001,
    unattributed_xids=0,
    collectors={"reader": True, "ipmi": True, "slurm": True, "kernel_log": True},
    manager="slurm",
)
"""What the agent of a healthy node says."""


def observed(
    changes: Mapping[str, Any] | None = None,
    *,
    earlier: Mapping[str, Any] | None = None,
    seconds: float = 30.0,
    **settings: Any,
) -> Observation:
    """Return a look at two H100s at work, the second with changed readings."""
    common = {
        "xid_events": {"hardware": 0},
        "utilization_ratio": 1.0,
        "throttle_reasons": set(),
        "energy_suspect": frozenset(),
        "jobs": ("4711",),
        "power_smoothing_lifetime_ratio": 0.9,
    }
    first = NODE.gpus[0].changed(**common)
    second = NODE.gpus[1].changed(**{**common, **(changes or {})})
    before = None
    if earlier is not None:
        gpus = (first, second.changed(**earlier))
        before = dataclasses.replace(NODE, time=NODE.time - seconds, gpus=gpus)
    agent = settings.pop("agent", AGENT)
    snapshot = dataclasses.replace(NODE, gpus=(first, second), gpus_expected=2, agent=agent)
    settings.setdefault("thresholds", shipped())
    return Observation(snapshot=snapshot, earlier=before, now=NOW, **settings)


def verdicts(seen: Observation, check: str) -> list[Verdict]:
    """Return what a check says of the second GPU."""
    return [v for v in judge(seen, chosen([check], [])).verdicts if v.gpu == 1]


def verdict(changes: Mapping[str, Any], check: str, **settings: Any) -> Verdict:
    """Return the one thing a check says of the second GPU with changed readings."""
    (found,) = verdicts(observed(changes, **settings), check)
    return found


FOUND: list[tuple[str, dict[str, Any], str, str, str]] = [
    # check, what the GPU says, level, words of the evidence, alert
    ("recovery", {"recovery_action": "gpu_reset"}, "fail", "asks for gpu_reset", "GpuNeedsReset"),
    ("recovery", {"recovery_action": "unknown"}, "fail", "unknown", "GpuNeedsReset"),
    ("recovery", {"recovery_action": "bus_reset"}, "fail", "bus_reset", "GpuNeedsReboot"),
    ("recovery", {"recovery_action": "drain_p2p"}, "warn", "drain_p2p", "GpuNeedsReset"),
    (
        "ecc",
        {"ecc_errors": {("uncorrected", "dram"): 2, ("corrected", "dram"): 3}},
        "warn",
        "2 uncorrectable memory errors since",
        "GpuEccUncorrectable",
    ),
    (
        "ecc",
        {"sram_threshold_exceeded": True},
        "fail",
        "more uncorrectable SRAM errors",
        "GpuSramThresholdExceeded",
    ),
    ("remap", {"row_remap_failed": True}, "fail", "not be replaced", "GpuRowRemapFailed"),
    ("remap", {"row_remap_pending": True}, "warn", "waits for a reset", "GpuRowRemapPending"),
    (
        "remap",
        {"retired_pages": {"single_bit": 0, "double_bit": 1}, "retired_pages_pending": True},
        "warn",
        "a bad page of memory waits for a reset",
        "GpuRowRemapPending",
    ),
    ("remap", {"remap_banks_exhausted": 3}, "warn", "3 memory banks", "GpuRemapBanksExhausted"),
    ("nvlink", {"nvlink_links_active": 16}, "fail", "2 of 18 NVLinks down", "NvlinkDown"),
    ("nvlink", {"nvlink_links_active": 0}, "fail", "18 of 18 NVLinks down", "NvlinkDown"),
    ("fabric", {"fabric_state": "in_progress"}, "fail", "in_progress", "FabricNotReady"),
    (
        "fabric",
        {"fabric_unhealthy": {"degraded_bandwidth": True, "route_unhealthy": False}},
        "warn",
        "unhealthy: degraded_bandwidth",
        "FabricUnhealthy",
    ),
    ("fabric", {"fabric_unhealthy": {"join_failed": True}}, "fail", "join_failed", ""),
    ("fabric", {"fabric_unhealthy": {"unhealthy": True}}, "fail", "unhealthy: unhealthy", ""),
    ("fabric", {"fabric_unhealthy": {"limited_capacity": True}}, "warn", "limited_capacity", ""),
    (
        "fabric",
        {"fabric_unhealthy": {"route_recovery": False, "invalid_location": True}},
        "warn",
        "unhealthy: invalid_location",
        "FabricUnhealthy",
    ),
    ("pcie-width", {"pcie_link_width": 8}, "warn", "8 of 16 lanes", "PcieWidthReduced"),
    (
        "pcie-generation",
        {"pcie_link_generation": 3, "utilization_ratio": 0.97},
        "warn",
        "generation 3 of 5 at 97% utilization",
        "PcieGenerationReduced",
    ),
    ("margin", {"temperature_margin_celsius": 3.0}, "warn", "3 °C from", "GpuMarginLow"),
    ("margin", {"temperature_margin_celsius": 0.0}, "fail", "because of heat", "GpuMarginLow"),
    ("margin", {"temperature_margin_celsius": -1.0}, "fail", "because of heat", "GpuMarginLow"),
    (
        "margin",
        {
            "temperature_margin_celsius": -4.0,
            "temperature_celsius": 91.0,
            "temperature_margin_threshold_celsius": None,
            "temperature_shutdown_celsius": 95.0,
        },
        "fail",
        "because of heat, and 4 °C from switching itself off",
        "GpuMarginLow",
    ),
    (
        "margin",
        {
            "temperature_margin_celsius": -4.0,
            "temperature_margin_threshold_celsius": {"shutdown": -8.0, "slowdown": -2.0},
        },
        "fail",
        "because of heat, and 4 °C from switching itself off",
        "GpuMarginLow",
    ),
    ("ecc-mode", {"ecc_mode": False, "ecc_mode_pending": False}, "warn", "ECC is off", "GpuEccOff"),
    ("ecc-mode", {"ecc_mode": False}, "warn", "off until the next reset", "GpuEccOff"),
    ("ecc-mode", {"ecc_mode_pending": False}, "warn", "goes off with the next", "GpuEccOff"),
    (
        "energy",
        {"energy_suspect": frozenset({"stuck", "jump"})},
        "warn",
        "not to be believed: jump, stuck",
        "EnergyCounterSuspect",
    ),
    (
        "smoothing",
        {"power_smoothing_lifetime_ratio": 0.05},
        "warn",
        "5% of its power smoothing's life",
        "PowerSmoothingWornOut",
    ),
    (
        "xid",
        {"xid_last_timestamp_seconds": {"9999": TIME - 60}},
        "warn",
        "Xid 9999",
        "GpuXidUnknown",
    ),
    ("stray", {"processes": 2, "jobs": ()}, "warn", "2 processes, and no job", "StrayProcess"),
    ("margin", {"memory_temperature_celsius": 97.0}, "warn", "at 97 °C", "GpuMemoryHot"),
    ("throttle", {"throttle_reasons": {"hw_power_brake"}}, "fail", "brake", "GpuPowerBrake"),
    ("throttle", {"throttle_reasons": {"hw_thermal"}}, "fail", "half", "GpuHardwareSlowdown"),
    ("throttle", {"throttle_reasons": {"hw_slowdown"}}, "fail", "half", "GpuHardwareSlowdown"),
    (
        "throttle",
        {"throttle_reasons": {"hw_slowdown", "hw_power_brake"}},
        "fail",
        "brake",
        "GpuPowerBrake",
    ),
    ("throttle", {"throttle_reasons": {"sw_thermal"}}, "warn", "by heat", "GpuThermalThrottling"),
    (
        "throttle",
        {
            "throttle_reasons": {"sw_thermal"},
            "power_watts": 350.0,
            "power_limit_watts": 700.0,
            "since": {"sw_thermal": TIME - 720},
        },
        "warn",
        "throttled at 350 of 700 W by heat for 12 min",
        "GpuThermalThrottling",
    ),
    (
        "throttle",
        {"throttle_reasons": {"hw_power_brake"}, "since": {"hw_power_brake": TIME - 180}},
        "fail",
        "is on for 3 min",
        "GpuPowerBrake",
    ),
    (
        "recovery",
        {"recovery_action": "gpu_reset", "since": {"gpu_reset": TIME - 7200}},
        "fail",
        "asks for gpu_reset, and has for 2 h",
        "GpuNeedsReset",
    ),
    (
        "state",
        {"state": GpuState.LOST, "reason": "it fell off", "since": {"lost": TIME - 180}},
        "fail",
        "lost for 3 min: it fell off",
        "GpuLost",
    ),
    ("limit", {"power_limit_watts": 400.0}, "warn", "400 of 700 W", "PowerLimitBelowDefault"),
    ("persistence", {"persistence_mode": False}, "warn", "is off", "GpuPersistenceOff"),
    (
        "clocks",
        {"clock_hertz": {"sm": 345e6}, "throttle_reasons": {"applications_clocks"}},
        "warn",
        "345 of 1980 MHz at 100% utilization",
        "JobStraggler",
    ),
]


@pytest.mark.parametrize(("check", "changes", "level", "words", "alert"), FOUND)
def test_what_is_wrong_is_found(
    check: str, changes: dict[str, Any], level: str, words: str, alert: str
) -> None:
    """With its numbers, its level, one next step, and the alert of the same thing."""
    found = verdict(changes, check)
    assert (found.level.value, found.gpu, found.uuid) == (level, 1, NODE.gpus[1].identity.uuid)
    assert words in found.evidence
    assert found.next_step.endswith(".")
    assert alert in ("", found.alert)
    others = judge(observed(changes), chosen([check], []))
    assert {v.level for v in others.verdicts if v.gpu == 0} == {Level.PASS}


UNTOLD: list[tuple[str, dict[str, Any], str]] = [
    ("age", {"read_at": 0.0}, "reports no age"),
    ("recovery", {"recovery_action": None}, "by name"),
    ("xid", {"xid_events": None}, NO_AGENT),
    ("ecc", {"ecc_errors": None}, "does not count memory errors"),
    ("remap", {"row_remap_failed": None, "row_remap_pending": None}, "nothing about its rows"),
    ("nvlink", {"nvlink_links": None}, "no NVLink"),
    ("nvlink", {"nvlink_links_active": 0, "mig_mode": True}, "MIG"),
    ("nvlink", {"nvlink_links_active": 0, "fabric_state": "not_started"}, "joined its fabric"),
    ("nvlink", {"nvlink_links_active": 0, "fabric_state": None}, "no bridge"),
    ("fabric", {"fabric_state": None}, "no fabric"),
    ("pcie-width", {"pcie_link_width": None}, "its lanes"),
    ("pcie-generation", {"pcie_link_generation": None}, "its generation"),
    ("pcie-generation", {"pcie_link_generation": 1, "utilization_ratio": 0.0}, "1 of 5"),
    ("pcie-generation", {"pcie_link_generation": 1, "utilization_ratio": None}, "1 of 5"),
    ("pcie-replays", {"pcie_replays": None}, "counts no packets"),
    ("pcie-replays", {"pcie_replays": 150}, "150 packets sent again so far; --window"),
    ("margin", {"temperature_margin_celsius": None}, "how far"),
    ("throttle", {"throttle_reasons": None}, "what throttles"),
    ("limit", {"power_limit_watts": None}, "its power limit"),
    ("persistence", {"persistence_mode": None}, "its persistence mode is not known"),
    ("ecc-mode", {"ecc_mode": None}, "it has no ECC"),
    ("energy", {"energy_info": None}, "neither energy nor power"),
    ("energy", {"energy_info": EnergyInfo("integral")}, "no energy counter"),
    ("energy", {"energy_suspect": None}, "for long enough"),
    ("smoothing", {"power_smoothing_lifetime_ratio": None}, "no power smoothing"),
    ("stray", {"processes": None}, "its processes"),
    ("stray", {"power_scope": "module"}, "shares its module's"),
    ("clocks", {"clock_hertz": None}, "its clock"),
    ("clocks", {"clock_hertz": {"sm": 345e6}, "utilization_ratio": 0.4}, "under load"),
]


@pytest.mark.parametrize(("check", "changes", "words"), UNTOLD)
def test_what_cannot_be_told_is_skipped_and_never_passes(
    check: str, changes: dict[str, Any], words: str
) -> None:
    """With the reason."""
    found = verdict(changes, check)
    assert found.level is Level.SKIP
    assert words in found.evidence


PASSING: list[tuple[str, dict[str, Any]]] = [
    ("pcie-generation", {"utilization_ratio": 0.0}),
    ("throttle", {"throttle_reasons": {"sw_power_cap", "applications_clocks", "sync_boost"}}),
    ("clocks", {"clock_hertz": {"sm": 700e6}, "throttle_reasons": {"sw_power_cap"}}),
    ("clocks", {"clock_hertz": {"sm": 1072e6}}),
    ("limit", {"power_limit_watts": 695.0}),
    (
        "remap",
        {
            "row_remap_failed": None,
            "row_remap_pending": None,
            "remap_banks_exhausted": None,
            "retired_pages": {"single_bit": 2, "double_bit": 1},
            "retired_pages_pending": False,
        },
    ),
    ("ecc", {"ecc_errors": {("uncorrected", "dram"): 0, ("corrected", "dram"): 900}}),
    ("ecc-mode", {"ecc_mode": False, "ecc_mode_pending": False, "ecc_mode_default": False}),
    ("stray", {"processes": 0, "jobs": ()}),
    ("smoothing", {"power_smoothing_lifetime_ratio": 0.5}),
    (
        "margin",
        {
            "temperature_margin_celsius": 30.0,
            "temperature_celsius": 57.0,
            "temperature_shutdown_celsius": 95.0,
        },
    ),
]


@pytest.mark.parametrize(("check", "changes"), PASSING)
def test_what_is_ordinary_passes(check: str, changes: dict[str, Any]) -> None:
    """A power cap at full load, clocks that somebody has set, a corrected error now and then."""
    assert verdict(changes, check).level is Level.PASS


def test_a_healthy_node_passes_all_that_can_be_told() -> None:
    """Only what needs a second look is skipped."""
    report = judge(observed(), CHECKS)
    assert report.exit_code == 0
    assert not report.trouble
    assert {v.check for v in report.of(Level.SKIP)} == {"pcie-replays"}
    assert {v.check for v in report.of(Level.PASS)} == {c.name for c in CHECKS} - {"pcie-replays"}


class TestState:
    """A GPU that does not answer."""

    @pytest.mark.parametrize(
        ("state", "alert"),
        [
            (GpuState.LOST, "GpuLost"),
            (GpuState.HUNG, "GpuHung"),
            (GpuState.RESET_REQUIRED, "GpuResetRequired"),
            (GpuState.ERROR, "GpuReadError"),
        ],
    )
    def test_it_fails_and_nothing_else_is_told_of_it(self, state: GpuState, alert: str) -> None:
        """Neither pass nor fail of what nobody could read."""
        gone = GpuReading(identity=NODE.gpus[1].identity, state=state, reason="so it says")
        seen = dataclasses.replace(
            observed(), snapshot=dataclasses.replace(NODE, gpus=(NODE.gpus[0], gone))
        )
        report = judge(seen, CHECKS)
        (failed,) = report.of(Level.FAIL)
        assert (failed.check, failed.gpu, failed.alert) == ("state", 1, alert)
        assert failed.evidence.endswith(": so it says")
        others = {v.level for v in report.verdicts if v.gpu == 1 and v.check != "state"}
        assert others == {Level.SKIP}
        assert report.exit_code == 1

    def test_one_that_was_asked_a_moment_ago_is_not_told(self) -> None:
        """Neither sick nor well: exit code 3."""
        found = verdict({"state": GpuState.ERROR, "reason": NOT_ANSWERED_YET}, "state")
        assert found.level is Level.SKIP
        assert "--timeout" in found.evidence
        changes = {"state": GpuState.ERROR, "reason": NOT_ANSWERED_YET}
        assert judge(observed(changes), CHECKS).exit_code == 3

    def test_a_released_one_is_not_told(self) -> None:
        """Somebody works on it."""
        report = judge(observed({"state": GpuState.RELEASED}), CHECKS)
        assert {v.check for v in report.untold} >= {"driver", "state"}
        assert report.exit_code == 3

    def test_its_xids_are_remembered_all_the_same(self) -> None:
        """They are what tells why it is lost."""
        changes = {"state": GpuState.LOST, "xid_last_timestamp_seconds": {"79": TIME - 60}}
        assert verdict(changes, "xid").level is Level.FAIL


class TestXids:
    """Those of the last minutes."""

    @pytest.mark.parametrize(
        ("code", "level", "alert"),
        [
            ("79", Level.FAIL, "GpuXidReboot"),
            ("48", Level.FAIL, "GpuXidCritical"),
            ("119", Level.FAIL, "GpuGspTimeout"),
            ("94", Level.WARN, "GpuXidHardware"),
            ("32", Level.WARN, "GpuXidDriver"),
            ("9999", Level.WARN, "GpuXidUnknown"),
            ("13", Level.PASS, ""),
            ("45", Level.PASS, ""),
        ],
    )
    def test_each_by_its_severity(self, code: str, level: Level, alert: str) -> None:
        """Critical ones fail, an application's are its own, one that is new warns."""
        found = verdict({"xid_last_timestamp_seconds": {code: TIME - 180}}, "xid")
        assert (found.level, found.alert) == (level, alert)
        assert f"Xid {code} 3 min ago" in found.evidence

    def test_an_old_one_is_no_news(self) -> None:
        """The window is that of the alerts."""
        found = verdict({"xid_last_timestamp_seconds": {"79": TIME - 901}}, "xid")
        assert (found.level, found.evidence) == (Level.PASS, "none in the last 15 min")

    @pytest.mark.parametrize(
        ("unresolved", "ago", "level"),
        [(1, 86_400, Level.FAIL), (0, 60, Level.PASS)],
    )
    def test_one_that_asks_for_a_reset_counts_until_there_was_one(
        self, unresolved: int, ago: float, level: Level
    ) -> None:
        """As the agent remembers, for a day if need be; and a moment after it is over."""
        times = {"79": TIME - ago}
        changes = {"xid_last_timestamp_seconds": times, "xid_unresolved": {"79": unresolved}}
        assert verdict(changes, "xid").level is level

    def test_every_one_that_wakes_somebody_fails(self) -> None:
        """And names the alert that would."""
        for code, known in xids().items():
            found = verdict({"xid_last_timestamp_seconds": {str(code): TIME}}, "xid")
            if known.severity == "critical":
                assert found.level is Level.FAIL, code
                assert re.search(rf"\b{code}\b", ALERTS[found.alert].expr), code
            elif found.alert:
                assert re.search(rf"\b{code}\b", ALERTS[found.alert].expr), code


class TestRates:
    """What only a second look tells."""

    def test_new_uncorrectable_errors_fail(self) -> None:
        """Those of before the window only warn."""
        errors = {"ecc_errors": {("uncorrected", "dram"): 3}}
        found = verdict(errors, "ecc", earlier={"ecc_errors": {("uncorrected", "dram"): 2}})
        assert (found.level, found.alert) == (Level.FAIL, "GpuEccUncorrectable")
        assert found.evidence == "1 uncorrectable memory errors within 30 s"
        assert verdict(errors, "ecc", earlier=errors).level is Level.WARN

    def test_a_storm_of_corrected_errors_warns(self) -> None:
        """More than one a second."""
        now, before = ({"ecc_errors": {("corrected", "dram"): n}} for n in (1060, 1000))
        found = verdict(now, "ecc", earlier=before)
        assert (found.level, found.alert) == (Level.WARN, "GpuEccStorm")
        assert "2.0 corrected memory errors a second" in found.evidence

    def test_a_counter_that_began_anew_tells_nothing(self) -> None:
        """It is no negative rate."""
        found = verdict({"pcie_replays": 1}, "pcie-replays", earlier={"pcie_replays": 100})
        assert found.level is Level.SKIP

    @pytest.mark.parametrize(("count", "level"), [(3, Level.PASS), (30, Level.WARN)])
    def test_packets_sent_again(self, count: int, level: Level) -> None:
        """Eight a minute are where NVIDIA's own health check begins to warn."""
        before = {"pcie_replays": 0}
        found = verdict({"pcie_replays": count}, "pcie-replays", earlier=before)
        assert found.level is level

    def test_nvlink_errors(self) -> None:
        """Of the kinds that point at a link."""
        now, before = {"nvlink_errors": {"crc": 9, "symbol": 999}}, {"nvlink_errors": {"crc": 0}}
        found = verdict(now, "nvlink", earlier=before)
        assert (found.level, found.alert) == (Level.WARN, "NvlinkErrors")
        assert "0.30 NVLink errors a second" in found.evidence

    def test_time_lost_to_heat_and_to_the_current_limiter(self) -> None:
        """By the driver's own clock of lost time."""
        now = {
            "throttle_seconds": {"sw_thermal": 9.0, "sw_power_cap": 27.0},
            "power_peak_watts": 380.0,
        }
        before = {"throttle_seconds": {"sw_thermal": 0.0, "sw_power_cap": 0.0}}
        found = {v.alert: v.evidence for v in verdicts(observed(now, earlier=before), "throttle")}
        assert found == {
            "GpuThermalThrottling": "throttled by heat 30% of the time",
            "GpuCurrentLimited": "throttled 90% of the time at no more than 380 of 700 W",
        }


class TestNode:
    """The driver, and the number of GPUs."""

    def test_a_missing_gpu_fails(self) -> None:
        """Against what is declared here, else what the agent knows."""
        (failed,) = judge(observed(expected=8), CHECKS).of(Level.FAIL)
        assert (failed.check, failed.evidence) == ("count", "2 of 8 GPUs are there")

    def test_gpus_of_a_virtual_machine_are_not_missing(self) -> None:
        """They are named, with the driver that has them."""
        away = PassedThrough("00000000:3A:00.0", "vfio-pci")
        node = dataclasses.replace(NODE, gpus_expected=2, passed_through=(away,))
        report = judge(dataclasses.replace(observed(), snapshot=node), CHECKS)
        (counted,) = [v for v in report.verdicts if v.check == "count"]
        assert (counted.level, counted.evidence) == (
            Level.PASS,
            "2 of 2 GPUs are there; 1 passed through (vfio-pci)",
        )

    def test_one_that_nvml_does_not_list_is_missing(self) -> None:
        """With its address, and what makes NVML list it."""
        node = dataclasses.replace(NODE, gpus_expected=3, unlisted=("00000000:3A:00.0",))
        report = judge(dataclasses.replace(observed(), snapshot=node), CHECKS)
        (failed,) = report.of(Level.FAIL)
        assert (failed.check, failed.alert) == ("count", "GpuMissing")
        assert failed.evidence.endswith("has come to the driver at 00000000:3A:00.0")
        assert "gpumon resume" in failed.next_step
        assert failed.gpu is None
        assert not judge(observed(expected=1), CHECKS).of(Level.FAIL)

    def test_without_a_snapshot_nothing_is_told(self) -> None:
        """Whatever was asked for, the reason is there, and the exit code is 3."""
        for only in ([], ["ecc"], ["count"]):
            report = judge(
                Observation(snapshot=None, problem="no answer", thresholds=shipped()),
                chosen(only, []),
            )
            assert report.exit_code == 3
            assert "no answer" in [v.evidence for v in report.untold]

    def test_a_driver_that_is_at_fault_fails(self) -> None:
        """It is not that nobody could ask."""
        report = judge(
            Observation(snapshot=None, problem="stuck", broken=True, thresholds=shipped()), CHECKS
        )
        assert [v.alert for v in report.of(Level.FAIL)] == ["SourceDown"]
        assert report.exit_code == 1

    @pytest.mark.parametrize(("expected", "code"), [(8, 1), (None, 3), (0, 3)])
    def test_an_agent_without_a_driver(self, expected: int | None, code: int) -> None:
        """A node that is to have no GPUs needs none."""
        down = Snapshot(
            time=TIME, source=NODE.source, up=False, gpus_expected=expected, errors=("no library",)
        )
        report = judge(Observation(snapshot=down, thresholds=shipped()), CHECKS)
        assert report.exit_code == code
        assert "no library" in [v.evidence for v in report.verdicts if v.check == "driver"]


class TestAge:
    """Old readings are not the present."""

    def test_a_stale_reading_fails_and_nothing_is_judged_by_it(self) -> None:
        """The node may have died since."""
        seen = observed({"read_at": NOW - 75, "row_remap_failed": True})
        report = judge(seen, CHECKS)
        (failed,) = report.of(Level.FAIL)
        assert (failed.check, failed.evidence) == ("age", "its reading is 75 s old")
        told = {v.check for v in report.verdicts if v.gpu == 1 and v.level is not Level.SKIP}
        assert told == {"age", "state", "xid"}

    def test_a_site_may_want_them_fresher(self, tmp_path: Path) -> None:
        """The thresholds are those of the alerts, a site's own included."""
        own = tmp_path / "own.toml"
        own.write_text("[monitor]\nstale_seconds = 5\n")
        assert verdict({"read_at": NOW - 10}, "age").level is Level.PASS
        found = verdict({"read_at": NOW - 10}, "age", thresholds=load_thresholds(own))
        assert found.level is Level.FAIL


class TestSelection:
    """The GPUs of a job."""

    @pytest.mark.parametrize(
        "selection",
        [Selection(["1"]), Selection([NODE.gpus[1].identity.uuid]), Selection(minors=[1])],
    )
    def test_only_those_are_judged(self, selection: Selection) -> None:
        """By index, UUID, or what Slurm counts by; a missing other one is not theirs."""
        sick = observed({"row_remap_failed": True}, expected=8)
        assert judge(sick, CHECKS, gpus=selection).exit_code == 1
        assert {v.gpu for v in judge(sick, CHECKS, gpus=selection).verdicts} == {None, 1}
        assert judge(sick, CHECKS, gpus=Selection(["0"])).exit_code == 0

    def test_minors_are_not_indexes(self) -> None:
        """The devices may stand the other way round."""
        first, second = NODE.gpus
        swapped = dataclasses.replace(
            NODE,
            gpus=(
                first.changed(identity=dataclasses.replace(first.identity, minor_number=1)),
                second.changed(
                    identity=dataclasses.replace(second.identity, minor_number=0),
                    row_remap_failed=True,
                ),
            ),
        )
        seen = Observation(snapshot=swapped, now=NOW, thresholds=shipped())
        assert judge(seen, CHECKS, gpus=Selection(minors=[0])).exit_code == 1
        assert judge(seen, CHECKS, gpus=Selection(minors=[1])).exit_code == 0

    def test_one_that_is_not_there_fails(self) -> None:
        """The scheduler believes in it."""
        report = judge(observed(), CHECKS, gpus=Selection(minors=[0, 5]))
        (failed,) = report.of(Level.FAIL)
        assert (failed.evidence, failed.alert) == ("/dev/nvidia5 is not there", "GpuMissing")


class TestReport:
    """What follows from the verdicts."""

    def test_the_worst_comes_first(self) -> None:
        """Then as the checks are listed."""
        changes = {"persistence_mode": False, "row_remap_failed": True}
        levels = [v.level for v in judge(observed(changes), CHECKS).verdicts]
        assert levels == sorted(levels, key=list(Level).index)
        assert levels[:3] == [Level.FAIL, Level.WARN, Level.SKIP]

    def test_warnings_are_trouble_where_somebody_says_so(self) -> None:
        """``--level warn``."""
        seen = observed({"persistence_mode": False})
        assert judge(seen, CHECKS).exit_code == 0
        assert judge(seen, CHECKS, level=Level.WARN).exit_code == 1

    def test_a_gpu_of_which_nothing_was_told_is_no_pass(self) -> None:
        """Although the others are well."""
        seen = observed({"fabric_state": None})
        assert judge(seen, chosen(["fabric"], [])).exit_code == 3
        assert judge(seen, CHECKS).exit_code == 0

    def test_no_verdict_is_no_pass(self) -> None:
        """An empty report cannot say that all is well."""
        assert Judgement(()).exit_code == 3


class TestRegistry:
    """The list of checks, against the alerts."""

    def test_checks_and_alerts_share_their_thresholds(self) -> None:
        """A check's numbers are named in the source of one of its alerts, or are its own."""
        folder = ROOT / "agent" / "gpumon" / "rules" / "source"
        text = "".join(file.read_text("utf-8") for file in folder.glob("alerts-*.yml"))
        blocks = {block.split("\n", 1)[0].strip(): block for block in text.split("- alert: ")[1:]}
        for check in CHECKS:
            source = "".join(blocks[alert] for alert in check.alerts)
            for name in check.thresholds:
                assert f"<<{name}" in source or name.startswith("clocks."), name

    def test_every_alert_that_is_named_is_one(self) -> None:
        """With a runbook that ``gpumon explain`` shows; and findings name their check's own."""
        for check in CHECKS:
            assert set(check.alerts) <= ALERTS.keys()
        own = {check.name: {*check.alerts, ""} for check in CHECKS}
        for check, changes, *_ in FOUND:
            assert verdict(changes, check).alert in own[check]

    def test_no_demand_of_the_driver_passes(self) -> None:
        """But none."""
        for action in RECOVERY_ACTIONS:
            found = verdict({"recovery_action": action}, "recovery")
            assert (found.level is Level.PASS) == (action == "none")

    def test_every_reason_that_halves_clocks_fails(self) -> None:
        """Those of the hardware."""
        for reason in THROTTLE_REASONS:
            found = verdict({"throttle_reasons": {reason}}, "throttle")
            assert (found.level is Level.FAIL) == reason.startswith("hw_")

    def test_names_that_are_not_known(self) -> None:
        """With the nearest."""
        with pytest.raises(UsageError, match="did you mean ecc"):
            chosen(["ec"], [])
        with pytest.raises(UsageError, match="no check is left"):
            chosen(["ecc"], ["ecc"])
