"""What NVML's codes and masks mean, and that the table of origins is the catalogue's."""

from __future__ import annotations

import ctypes
import types
import uuid
from typing import Any

import pytest

from gpumon.model import (
    RECOVERY_ACTIONS,
    THROTTLE_REASONS,
    FabricInfo,
    GpuReading,
    MigReading,
    Platform,
    Tier,
    group_of,
)
from gpumon.sources.clockmask import throttle_reasons
from gpumon.sources.nvml.decode import (
    active_links,
    fabric_health,
    fabric_info,
    platform,
    recovery_action,
)
from gpumon.sources.nvml.table import GPU, JUDGED, MIG, rows_for

DERIVED = {
    "board",
    "state",
    "up",
    "power_peak_watts",
    "power_trough_watts",
    "energy_info",
    "energy_error_ratio",
    "energy_suspect",
    "energy_divergence_ratio",
    "contradicted",
    "fabric_partition_assigned",
    "platform",
    "virtualization",
    "processes",
    "xid_errors",
    "xid_last_timestamp_seconds",
    "xid_unresolved",
    "xid_events",
}
"""What gpumon works out, remembers, or reads by calls of more than one value."""


@pytest.mark.parametrize("tier", list(Tier))
def test_what_checks_judge_by_is_read_in_every_tier(tier: Tier) -> None:
    """Persistence, ECC, the shutdown's temperature: only their own series are of the tier full."""
    rows = rows_for("580.105.08", tier)
    assert rows.keys() >= JUDGED
    metrics = {metric.field: metric for metric in group_of(GpuReading).metrics}
    assert {metrics[field].tier for field in JUDGED} == {Tier.FULL}
    assert group_of(GpuReading)["board"].tier is Tier.CORE


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


def fabric(**members: Any) -> types.SimpleNamespace:
    """Return NVML's struct about a GPU's fabric, which it has joined."""
    given = {"state": 3, "status": 0, "healthMask": 0, "healthSummary": 0, **members}
    return types.SimpleNamespace(**given)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (2, "incorrect_system_guid"),
        (3, "incorrect_chassis_serial"),
        (4, "no_partition"),
        (5, "insufficient_nvlinks"),
        (6, "incompatible_gpu_firmware"),
        (7, "invalid_location"),
        (8, "invalid_gpu_state"),
        (9, "incorrect_configuration"),
    ],
)
def test_each_misconfiguration_has_its_word(code: int, word: str) -> None:
    """Also one that is newer than the list; a good one has none."""
    assert fabric_health(fabric(healthMask=code << 8)) == {
        word: True,
        "join_failed": False,
    }
    assert fabric_health(fabric(healthMask=1 << 8)) == {
        "incorrect_configuration": False,
        "join_failed": False,
    }


@pytest.mark.parametrize(
    ("summary", "held"),
    [(1, set()), (2, {"unhealthy"}), (3, {"limited_capacity"}), (4, {"unhealthy"})],
)
def test_the_drivers_own_summary_of_the_fabric_is_read(summary: int, held: set[str]) -> None:
    """A summary that is newer than this version is not healthy."""
    found = fabric_health(fabric(healthSummary=summary))
    assert found == {"join_failed": False, **dict.fromkeys(held, True)}


@pytest.mark.parametrize(
    ("bits", "assigned"), [(0, None), (1, True), (2, False), (3, None)], ids=str
)
def test_whether_a_gpu_has_a_partition_of_its_fabric_is_no_condition(
    bits: int, *, assigned: bool | None
) -> None:
    """It is said, and not judged: a node that is not divided need not have any."""
    info = fabric(healthMask=bits << 12, clusterUuid=bytes(16), cliqueId=0)
    assert fabric_info(info) == FabricInfo(str(uuid.UUID(int=0)), 0, partition_assigned=assigned)
    assert fabric_health(info) == {"join_failed": False}


def test_a_driver_without_a_summary_has_none() -> None:
    """Neither one that does not support it nor an older struct says that the fabric is healthy."""
    older = fabric()
    del older.healthSummary
    assert "unhealthy" not in (fabric_health(fabric()) or {})
    assert "unhealthy" not in (fabric_health(older) or {})


class Info(ctypes.Structure):
    """NVML's struct as bytes: the binding would take its numbers for characters."""

    _fields_ = (("raw", ctypes.c_ubyte * 44),)


def of_platform(serial: bytes, *numbers: int) -> Info:
    """Return a struct with a chassis's serial, and slot, tray, host, peers and module."""
    raw = bytes(4) + b"\xff\x00GUID".ljust(16, b"\0") + serial.ljust(16, b"\0") + bytes(numbers)
    return Info((ctypes.c_ubyte * 44)(*raw.ljust(44, b"\0")))


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            of_platform(b"1821324190042", 21, 12, 1, 1, 2),
            Platform("1821324190042", 21, 12, 1, 2, "switch"),
        ),
        (of_platform(b"", 0, 0, 0, 0, 1), Platform("", 0, 0, 0, 1, "direct")),
        (of_platform(b"S", 0x80, 255, 255, 9, 255), Platform("S", 128, None, None, None, "9")),
        (
            of_platform(b"\xffbad\n", 1, 1, 1, 1, 1),
            Platform("\ufffdbad\ufffd", 1, 1, 1, 1, "switch"),
        ),
    ],
)
def test_where_a_gpu_sits_is_read_from_bytes(info: Info, expected: Platform) -> None:
    """A number above 127 is no character, all bits set are no number, and a serial may be odd."""
    assert platform(info) == expected


def test_the_place_is_said_from_the_chassis_inwards() -> None:
    """Of what is known of it."""
    assert Platform("18", 21, 12, 1, 2, "switch").words == (
        "chassis 18, slot 21, tray 12, host 1, module 2"
    )
    assert Platform("", 3).words == "slot 3"
    assert Platform().words == ""
