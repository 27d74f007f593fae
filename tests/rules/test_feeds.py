"""What an alert reads, and who notices if nobody serves it."""

from __future__ import annotations

import dataclasses

import pytest

from gpumon.errors import UnavailableError
from gpumon.model import Kind, Tier
from gpumon.model.catalogue import rows
from gpumon.prometheus.api import Series
from gpumon.rules import Alert, RecordingRule, RuleGroup, load
from gpumon.rules.deaf import deaf_alerts
from gpumon.rules.feeds import ALWAYS, DEAF, DEAF_BY_RACK, Selector, deaf_nodes, needs, words
from gpumon.thresholds import shipped

GROUPS = load(shipped())
NEEDS = needs(GROUPS)


def need_of(expr: str, **recorded: str) -> str:
    """Return in words what an alert with this expression needs."""
    alert = Alert(
        alert="X", expr=expr, **dict.fromkeys(("severity", "team", "summary", "description"), ""),
        action="", why="",
    )  # fmt: skip
    rules = [RecordingRule(record=f"a:gpumon_{k}:b", expr=e) for k, e in recorded.items()]
    found = needs([RuleGroup(file="f", name="g", rules=(*rules, alert))])
    return words(found["X"]) if found else "nothing"


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("gpumon_gpu_row_remap_failed == 1", "gpumon_gpu_row_remap_failed"),
        ("vector(1)", "nothing"),
        ('up{job="gpumon"} == 0', "nothing"),
        ('gpumon_gpu_state{state="lost"} == 1', "nothing"),
        (
            "gpumon_gpu_pcie_link_width < gpumon_gpu_pcie_link_width_max",
            "gpumon_gpu_pcie_link_width and gpumon_gpu_pcie_link_width_max",
        ),
        (
            "gpumon_gpu_fan_speed_ratio > 1 or gpumon_gpu_processes > 0",
            "gpumon_gpu_fan_speed_ratio, or gpumon_gpu_processes",
        ),
        (
            (
                "(gpumon_gpu_fan_speed_ratio or gpumon_gpu_mig_mode) and on (uuid) gpumon_gpus > 0"
                " and gpumon_gpu_processes"
            ),
            (
                "gpumon_gpu_fan_speed_ratio and gpumon_gpu_processes, or gpumon_gpu_mig_mode and"
                " gpumon_gpu_processes"
            ),
        ),
        (
            "gpumon_gpu_processes > 0 unless on (uuid) gpumon_gpu_fan_speed_ratio == 1",
            "gpumon_gpu_processes",
        ),
        (
            "gpumon_gpu_processes unless gpumon_gpu_mig_mode and gpumon_gpu_fan_speed_ratio > 1",
            "gpumon_gpu_fan_speed_ratio and gpumon_gpu_processes",
        ),
        (
            (
                'label_replace(sum by (gpu) (rate(gpumon_gpu_pcie_replays_total{node!=""}[5m])),'
                ' "a", "or", "", "")'
            ),
            "gpumon_gpu_pcie_replays_total",
        ),
        (
            'gpumon_gpu_throttled{reason=~"hw_thermal|hw_slowdown",rack!=""} == 1',
            "gpumon_gpu_throttled",
        ),
        (
            'gpumon_gpu_throttle_seconds_total{reason=~"sw_thermal|thermal",rack!=""} > 1',
            'gpumon_gpu_throttle_seconds_total{reason=~"sw_thermal|thermal"}',
        ),
        ('gpumon_gpu_info{ecc="off"}', 'gpumon_gpu_info{ecc!=""}'),
        ('gpumon_gpu_xid_errors_total{xid="79"} > 0', "gpumon_gpu_xid_events_total"),
        (
            "gpumon_gpu_power_watts * on (uuid) group_left gpumon_gpu_processes",
            "gpumon_gpu_power_watts and gpumon_gpu_processes",
        ),
    ],
)
def test_an_expression_is_read_as_far_as_it_needs(expr: str, words: str) -> None:
    """Both sides of a comparison, either side of an or, nothing behind unless."""
    assert need_of(expr) == words


def test_recorded_series_are_followed() -> None:
    """To what they are recorded from; one that goes on from itself needs what began it."""
    recorded = {
        "one": "gpumon_gpu_processes or 0 * gpumon_gpus",
        "two": "a:gpumon_one:b > 0 and gpumon_gpu_mig_mode",
        "own": "last_over_time(a:gpumon_own:b[1h]) or gpumon_gpu_mig_mode",
    }
    assert need_of("a:gpumon_one:b > 1", **recorded) == "nothing"
    assert need_of("a:gpumon_two:b > 1", **recorded) == "gpumon_gpu_mig_mode"
    assert need_of("a:gpumon_own:b > 1", **recorded) == "gpumon_gpu_mig_mode"


def test_every_alert_that_reads_a_driver_is_among_them() -> None:
    """What is left out reads what every agent serves, or another service."""
    others = {alert.alert for group in GROUPS for alert in group.alerts} - NEEDS.keys()
    gpus = {"GpuLost", "GpuHung", "GpuResetRequired", "GpuReadError", "GpuReleasedTooLong"}
    gpus |= {"GpuMissing", "GpuBelowSiteList", "GpuSickButSchedulable", "GpusDownInCluster"}
    agents = {"Watchdog", "AgentDown", "AgentsDownInCluster", "SourceDown", "ReadingsStale"}
    agents |= {"AgentSlow", "ReaderRestarting", "NodeNotScraped", "DriverDrift"}
    agents |= {"TelemetryLost", "TelemetryLostInHall", "TelemetryAbsent", "RulesFailing"}
    agents |= {"RemoteWriteFailing", "NotificationsDropped", "QueueNearlyFull"}
    site = {"SiteFactStale", "SiteCollectorFailing", "SiteDown"}
    assert others == gpus | agents | site


def test_no_alert_needs_a_tier_above_the_default() -> None:
    """An alert that only fires with ``--metrics.tier full`` would be deaf nearly everywhere."""
    standard = {m.name for _, m in rows(Tier.STANDARD)}
    read = {selector.metric for need in NEEDS.values() for one in need for selector in one}
    assert read <= standard
    assert standard >= ALWAYS


def test_label_values_that_are_needed_exist() -> None:
    """A need for a state that no GPU can be in would be said everywhere."""
    metrics = {m.name: m for _, m in rows(Tier.FULL)}
    for need in NEEDS.values():
        for selector in {selector for one in need for selector in one}:
            metric = metrics[selector.metric]
            values = [*[(s,) for s in metric.states], *metric.keys]
            if values and selector.matchers and metric.kind is not Kind.INFO:
                last = [dict(zip(metric.labels, value, strict=True)) for value in values]
                assert any(selector.takes(labels) for labels in last), str(selector)


@pytest.mark.parametrize(
    ("matcher", "value", "fits"),
    [
        (("a", "=", "x"), "x", True),
        (("a", "!=", "x"), "x", False),
        (("a", "=~", "x|y"), "y", True),
        (("a", "=~", "x"), "xy", False),
        (("a", "!~", "x|y"), "z", True),
        (("a", "!=", ""), "", False),
    ],
)
def test_a_selector_takes_what_prometheus_would(
    matcher: tuple[str, str, str], value: str, *, fits: bool
) -> None:
    """Regular expressions are anchored."""
    assert Selector("m", (matcher,)).takes({"a": value}) is fits


class TestFleet:
    """``gpumon rules check prom:URL``."""

    def test_it_lists_alerts_by_how_many_nodes_are_deaf(self) -> None:
        """Over all clusters, with what the alert needs."""
        answers = {
            "count(gpumon_gpus > 0)": [Series({}, [(1.0, 12.0)])],
            deaf_nodes(GROUPS): [
                Series({"cluster": "a", "alert": "GpuMemoryHot"}, [(1.0, 2.0)]),
                Series({"cluster": "a", "alert": "NvlinkDown"}, [(1.0, 3.0)]),
                Series({"cluster": "b", "alert": "NvlinkDown"}, [(1.0, 4.0)]),
            ],
        }
        found = deaf_alerts(GROUPS, lambda query: answers[query])
        assert [(one.alert, one.nodes) for one in found.found] == [
            ("NvlinkDown", 7),
            ("GpuMemoryHot", 2),
        ]
        assert found.found[1].needs == "gpumon_gpu_memory_temperature_celsius"
        assert found.verdict.endswith("2 cannot fire on one or more of them")

    def test_without_nodes_nothing_is_known(self) -> None:
        """An empty Prometheus has no deaf alert, and no other either."""
        with pytest.raises(UnavailableError, match="no node with GPUs"):
            deaf_alerts(GROUPS, lambda _: [])


def test_what_is_recorded_is_made_of_the_alerts() -> None:
    """A new alert is in it, and needs no second list."""
    recorded = {r.record: r for g in GROUPS for r in g.rules if isinstance(r, RecordingRule)}
    assert recorded[DEAF].expr == f"sum by (cluster, alert) (last_over_time({DEAF_BY_RACK}[40m]))"
    rule = recorded[DEAF_BY_RACK]
    by = "site, hall, row, rack, cluster"
    assert rule.expr == deaf_nodes([dataclasses.replace(g) for g in GROUPS], by)
    assert all(f'"{alert}"' in rule.expr for alert in NEEDS)
