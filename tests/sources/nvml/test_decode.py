"""What NVML's codes and masks mean, and that the table of origins is the catalogue's."""

from __future__ import annotations

from gpumon.model import RECOVERY_ACTIONS, THROTTLE_REASONS, GpuReading, MigReading, group_of
from gpumon.sources.clockmask import throttle_reasons
from gpumon.sources.nvml.decode import active_links, recovery_action
from gpumon.sources.nvml.table import GPU, MIG

DERIVED = {
    "identity",
    "state",
    "up",
    "power_peak_watts",
    "power_trough_watts",
    "energy_info",
    "energy_error_ratio",
    "energy_suspect",
    "energy_divergence_ratio",
    "processes",
    "xid_errors",
    "xid_last_timestamp_seconds",
    "xid_events",
}
"""What gpumon works out, remembers, or reads by calls of more than one value."""


def test_every_reading_of_a_gpu_is_in_the_table_or_derived() -> None:
    """A field that is in neither could never have a value; a row without a field, no use."""
    fields = {metric.field for metric in group_of(GpuReading).metrics}
    assert fields - GPU.keys() == DERIVED
    assert GPU.keys() <= fields
    assert MIG.keys() <= {metric.field for metric in group_of(MigReading).metrics}


def test_label_values_are_those_that_the_catalogue_promises() -> None:
    """Dashboards and the simulator rely on the catalogue's keys."""
    for metric in group_of(GpuReading).metrics:
        if metric.keys:
            assert {*GPU[metric.field].origins} == {*metric.keys}, metric.field


def test_every_reason_has_a_bit() -> None:
    """The mask and the catalogue name the same reasons."""
    assert throttle_reasons(0xFFFF) == {*THROTTLE_REASONS}


def test_throttle_reasons_leave_idleness_out() -> None:
    """Bit 0x1 says that the GPU is idle, which holds nothing back."""
    assert throttle_reasons(0x1) == frozenset()
    assert throttle_reasons(0x1 | 0x4 | 0x48) == {"sw_power_cap", "hw_slowdown", "hw_thermal"}


def test_a_recovery_action_too_new_to_be_known_is_not_none() -> None:
    """An action that cannot be named still asks for one."""
    assert [recovery_action(code) for code in range(9)] == list(RECOVERY_ACTIONS)
    assert recovery_action(99) == "unknown"


def test_a_sleeping_nvlink_is_up() -> None:
    """Inactive 0 and disabled 3 are down; active 1 and asleep 2 are up."""
    assert active_links([0, 1, 2, 3]) == 2
