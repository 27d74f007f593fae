"""The catalogue: what the rows say, and that they say it as design and Prometheus want it."""

from __future__ import annotations

import dataclasses
import re

import pytest

from gpumon.model import (
    EnergyInfo,
    GpuIdentity,
    GpuReading,
    GpuState,
    Kind,
    Metric,
    group_of,
)
from gpumon.model.catalogue import METRICS
from gpumon.model.metric import UNITS, Tier

FIXED_NAMES = [
    "gpumon_build_info",
    "gpumon_source_info",
    "gpumon_source_up",
    "gpumon_gpus",
    "gpumon_gpus_expected",
    "gpumon_gpu_info",
    "gpumon_gpu_up",
    "gpumon_gpu_state",
    "gpumon_gpu_sample_age_seconds",
    "gpumon_gpu_power_watts",
    "gpumon_gpu_power_peak_watts",
    "gpumon_gpu_power_trough_watts",
    "gpumon_gpu_power_limit_watts",
    "gpumon_gpu_power_limit_default_watts",
    "gpumon_gpu_energy_joules_total",
    "gpumon_gpu_energy_info",
    "gpumon_gpu_energy_error_ratio",
    "gpumon_gpu_temperature_celsius",
    "gpumon_gpu_memory_temperature_celsius",
    "gpumon_gpu_temperature_margin_celsius",
    "gpumon_gpu_fan_speed_ratio",
    "gpumon_gpu_utilization_ratio",
    "gpumon_gpu_memory_access_ratio",
    "gpumon_gpu_sm_active_ratio",
    "gpumon_gpu_sm_occupancy_ratio",
    "gpumon_gpu_tensor_active_ratio",
    "gpumon_gpu_dram_active_ratio",
    "gpumon_gpu_memory_total_bytes",
    "gpumon_gpu_memory_used_bytes",
    "gpumon_gpu_memory_reserved_bytes",
    "gpumon_gpu_clock_hertz",
    "gpumon_gpu_clock_max_hertz",
    "gpumon_gpu_throttle_seconds_total",
    "gpumon_gpu_throttled",
    "gpumon_gpu_pcie_transmit_bytes_total",
    "gpumon_gpu_pcie_receive_bytes_total",
    "gpumon_gpu_pcie_replays_total",
    "gpumon_gpu_pcie_link_generation",
    "gpumon_gpu_pcie_link_generation_max",
    "gpumon_gpu_pcie_link_width",
    "gpumon_gpu_pcie_link_width_max",
    "gpumon_gpu_nvlink_transmit_bytes_total",
    "gpumon_gpu_nvlink_receive_bytes_total",
    "gpumon_gpu_nvlink_links",
    "gpumon_gpu_nvlink_links_active",
    "gpumon_gpu_nvlink_errors_total",
    "gpumon_gpu_ecc_errors_total",
    "gpumon_gpu_remapped_rows_total",
    "gpumon_gpu_row_remap_pending",
    "gpumon_gpu_row_remap_failed",
    "gpumon_gpu_recovery_action",
    "gpumon_collector_success",
    "gpumon_collector_duration_seconds",
    "gpumon_reader_restarts_total",
    "gpumon_node_gpu_power_watts",
    "gpumon_node_gpu_power_peak_watts",
    "gpumon_node_gpu_power_trough_watts",
    "gpumon_node_gpu_power_ramp_watts_per_second",
]


def test_every_name_that_the_design_fixes_from_power_to_recovery_action_is_there() -> None:
    """Rules, dashboards and other people's scripts meet on these names."""
    assert set(FIXED_NAMES) <= {metric.name for metric in METRICS}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_follows_the_rules_of_prometheus(metric: Metric) -> None:
    """Prefix, base unit, ``_total`` on counters only, ``_info`` on facts only."""
    assert re.fullmatch(r"gpumon_[a-z0-9_]+", metric.name)
    assert "__" not in metric.name
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.endswith("_info") == (metric.kind is Kind.INFO)
    wrong = {"milliwatts", "percent", "mib", "megahertz", "kilobytes", "mhz", "ms"}
    assert not wrong & set(metric.name.split("_"))
    assert metric.unit in ("", *UNITS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_help_is_a_sentence(metric: Metric) -> None:
    """The help is read at three in the morning."""
    assert metric.help[0].isupper() or metric.help[0].isdigit()
    assert metric.help.endswith(".")
    assert len(metric.help) < 200


def test_names_are_unique() -> None:
    """Two rows of one name would be one series with two meanings."""
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))


def reading(**values: object) -> GpuReading:
    """Return a reading of GPU 3 with some values."""
    identity = GpuIdentity(index=3, uuid="GPU-3", name="NVIDIA H100", serial="16")
    return GpuReading(identity=identity, state=GpuState.OK, **values)  # type: ignore[arg-type]


def samples(field: str, owner: GpuReading) -> dict[tuple[str, ...], float]:
    """Return the samples of a field's metric."""
    return dict(group_of(GpuReading)[field].samples(owner))


def test_what_is_not_known_has_no_sample() -> None:
    """Absent is never zero."""
    silent = reading()
    known = {m.field for m in group_of(GpuReading).metrics if dict(m.samples(silent))}
    assert known == {"board", "state", "up"}


def test_a_zero_is_a_sample() -> None:
    """Nought watts, said by the driver, is a reading."""
    assert samples("power_watts", reading(power_watts=0.0)) == {(): 0.0}


def test_an_enumeration_exports_the_value_that_holds() -> None:
    """As 1; its good value always, as 0 or 1; and nothing if the driver does not report it."""
    lost = dataclasses.replace(reading(), state=GpuState.LOST)
    assert samples("state", lost) == {("ok",): 0, ("lost",): 1}
    assert samples("state", reading()) == {("ok",): 1}
    assert samples("up", lost) == {(): 0}
    assert samples("recovery_action", reading(recovery_action="none")) == {("none",): 1}
    demanded = samples("recovery_action", reading(recovery_action="gpu_reset"))
    assert demanded == {("none",): 0, ("gpu_reset",): 1}
    assert samples("recovery_action", reading()) == {}
    stuck = samples("fabric_state", reading(fabric_state="in_progress"))
    assert stuck == {("completed",): 0, ("in_progress",): 1}


def test_a_set_exports_all_its_values() -> None:
    """As 0 or 1, for several may hold; those that nothing reads in the full tier only."""
    throttled = samples("throttle_reasons", reading(throttle_reasons=frozenset({"sw_thermal"})))
    assert throttled["sw_thermal",] == 1
    assert sum(throttled.values()) == 1
    assert len(throttled) == 8
    metric = group_of(GpuReading)["throttle_reasons"]
    held = reading(throttle_reasons=frozenset({"sync_boost", "prochot", "sw_power_cap"}))
    assert dict(metric.samples(held, Tier.STANDARD)) == {
        ("sw_power_cap",): 1, ("hw_slowdown",): 0, ("sw_thermal",): 0, ("hw_thermal",): 0,
        ("hw_power_brake",): 0, ("prochot",): 1,
    }  # fmt: skip


def test_labels_become_keys() -> None:
    """One label or two, and facts."""
    assert samples("clock_hertz", reading(clock_hertz={"sm": 5})) == {("sm",): 5}
    ecc = {("corrected", "dram"): 7}
    assert samples("ecc_errors", reading(ecc_errors=ecc)) == {("corrected", "dram"): 7}
    assert samples("row_remap_pending", reading(row_remap_pending=True)) == {(): 1}
    assert samples("energy_info", reading(energy_info=EnergyInfo("counter"))) == {
        ("counter", "gpu"): 1
    }
    assert list(samples("board", reading())) == [("NVIDIA H100", "", "16", *[""] * 6)]


def test_a_changed_reading_is_what_replace_makes() -> None:
    """Every field is copied, the changed ones are changed, and the first stays as it was."""
    first = GpuReading(
        identity=GpuIdentity(index=3, uuid="GPU-a"),
        state=GpuState.OK,
        power_watts=500.0,
        jobs=("4711",),
        throttle_reasons=frozenset({"sw_power_cap"}),
    )
    changed = first.changed(power_watts=None, energy_joules=7.0)
    assert changed == dataclasses.replace(first, power_watts=None, energy_joules=7.0)
    assert first.power_watts == 500.0
    assert first.changed() == first
    with pytest.raises(TypeError, match="no_such_field"):
        first.changed(no_such_field=1)
