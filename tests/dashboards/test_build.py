"""Building the dashboards from the catalogue."""

from __future__ import annotations

import json
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("grafana-foundation-sdk needs Python 3.11", allow_module_level=True)

from dashboards import write
from dashboards.kit import limits, metrics, promql
from dashboards.node import activity, health
from gpumon.model import GpuReading, group_of
from gpumon.model.metric import UNITS
from gpumon.model.terms import GPU_STATES, RECOVERY_ACTIONS, THROTTLE_REASONS
from tests.dashboards import committed

SELECTOR = 'job="gpumon",cluster=~"$cluster",instance="$instance"'


def test_committed_files_are_fresh() -> None:
    """What is committed is what the code builds: else run ``make docs``."""
    found = {path.name: path.read_text("utf-8") for path in committed.FOLDER.iterdir()}
    assert found == write.files()


def test_committed_files_are_what_the_typed_models_hold() -> None:
    """Read back by the SDK's models, nothing of a dashboard is lost: no field is misspelt."""
    # Imported late: the package dashboards is what keeps the SDK's warnings still.
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    for dashboard in committed.dashboards():
        read = json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder)
        assert json.loads(read) == dashboard


def test_building_twice_gives_the_same() -> None:
    """Nothing in the files depends on chance or on time."""
    assert write.files() == write.files()


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("gpumon_gpu_power_wats", {}),
        ("gpumon_gpu_ecc_lifetime_errors_total", {}),  # the full tier's
        ("gpumon_gpu_power_watts", {"reason": "sw_thermal"}),
        ("gpumon_gpu_throttled", {"reason": "boredom"}),
        ("gpumon_gpu_throttled", {"reason": ("sw_thermal", "boredom")}),
        ("gpumon_gpu_throttle_seconds_total", {"reason": "boredom"}),
    ],
)
def test_what_is_not_exposed_stops_the_build(
    name: str, labels: dict[str, str | tuple[str, ...]]
) -> None:
    """A metric, label or value that the catalogue lacks cannot become a panel without data."""
    with pytest.raises(metrics.UnknownMetricError):
        promql.node(name, **labels)


def test_every_base_unit_has_one_in_grafana() -> None:
    """A unit that is added to the catalogue must be given Grafana's word for it."""
    assert set(metrics.UNITS) == {"", *UNITS}


def test_units_follow_the_arithmetic() -> None:
    """A rate of joules is watts, of seconds a share, of bytes bytes a second."""
    units = {
        name: promql.rate(promql.node(name)).unit
        for name in (
            "gpumon_gpu_energy_joules_total",
            "gpumon_gpu_throttle_seconds_total",
            "gpumon_gpu_pcie_receive_bytes_total",
        )
    }
    assert list(units.values()) == ["watt", "percentunit", "Bps"]
    energy = promql.kilowatt_hours(promql.node("gpumon_gpu_energy_joules_total"))
    assert energy.unit == "kwatth"


def test_a_coded_state_is_the_highest_that_holds() -> None:
    """States become numbers by way of ``or``, whose sides differ in the state's label."""
    expr = promql.coded(
        "gpumon_gpu_throttled",
        "reason",
        {"sw_thermal": 2, "hw_thermal": 3, "hw_power_brake": 3, "sync_boost": 0},
        "gpu",
    )
    assert expr.text == (
        "max by (gpu) ("
        f'3 * gpumon_gpu_throttled{{{SELECTOR},reason=~"hw_thermal|hw_power_brake"}} or '
        f'2 * gpumon_gpu_throttled{{{SELECTOR},reason="sw_thermal"}})'
    )


def test_no_state_is_forgotten() -> None:
    """A state that is added to the model must get a place in its timeline."""
    rest = {reason for (reason,) in group_of(GpuReading)["throttle_reasons"].full}
    assert set(activity.THROTTLED) | rest == set(THROTTLE_REASONS)
    assert set(activity.THROTTLED.values()) | {0} == set(activity.THROTTLED_STATES)
    assert set(health.STATES) == set(GPU_STATES)
    assert set(health.ACTIONS) == set(RECOVERY_ACTIONS)
    assert health.STATES["ok"] == health.ACTIONS["none"] == 0


def test_the_committed_thresholds_are_fresh() -> None:
    """Where they stand in the dashboards is what the code builds: else run ``make docs``."""
    assert write.THRESHOLDS.read_text("utf-8") == write.thresholds_file()


def test_a_limit_goes_by_its_name_through_the_builders() -> None:
    """As a number it is what ships; in a text, and what is reckoned from it, it keeps its name."""
    margin, stale = limits.limit("heat.margin_low_celsius"), limits.limit("monitor.stale_seconds")
    assert margin == 5
    assert f"{margin}" == f"{margin!s}" == "<<heat.margin_low_celsius>>"
    assert f"{2 * margin}" == f"{margin * 2}" == "<<2*heat.margin_low_celsius>>"
    assert (2 * margin, stale / 4, 1 - margin, -margin, margin - 5) == (10, 15, -4, -5, 0)
    assert (stale / 4).placeholder == "<<0.25*monitor.stale_seconds>>"
    assert (1 - 2 * margin).placeholder == "<<-2*heat.margin_low_celsius+1>>"
    assert (margin * stale).placeholder == "<<heat.margin_low_celsius*monitor.stale_seconds>>"
    assert f"{margin:percent}" == "<<heat.margin_low_celsius|percent>>"


def test_a_threshold_that_is_none_stops_the_build() -> None:
    """And so does a way to write it that there is not: ``.0f`` would round a site's own away."""
    with pytest.raises(KeyError):
        limits.limit("heat.margin_lo_celsius")
    with pytest.raises(ValueError, match=r"WORDS"):
        f"{limits.limit('heat.margin_low_celsius'):.0f}"
