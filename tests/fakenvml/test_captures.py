"""Real ``nvidia-smi -q -x`` captures become machines that answer the same."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from . import FakeDriver, captures, profiles
from .probe import Probe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.newest_binding


def need(name: str) -> None:
    """Skip without this capture; in CI it must be there."""
    path = captures.capture_path(name)
    if path.exists():
        return
    reason = f"no capture {path}: set GPUMON_TEST_DATA"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def started(name: str, tmp_path: Path, library: Path) -> Probe:
    """A process that sees the captured machine."""
    need(name)
    driver = FakeDriver(tmp_path / "driver", captures.load(name), library=library)
    probe = Probe(driver.env())
    probe.ask("nvmlInit()")
    return probe


def test_h100(tmp_path: Path, library: Path) -> None:
    """Eight H100s: average and instant power differ, offsets from T.Limit, 7,015 s capped."""
    with started("h100", tmp_path, library) as probe:
        assert probe.ask("nvmlSystemGetDriverVersion()") == "580.105.08"
        assert probe.ask("nvmlDeviceGetCount()") == 8
        assert probe.ask("nvmlDeviceGetPciInfo(gpu(0)).busId") == "00000000:53:00.0"
        rows = probe.ask("fields(gpu(0), 185, 186, (185, 2), (186, 2), 190, 82, 193, 194, 74, 94)")
        assert [row[2] for row in rows] == [
            68570, 68920, 32980, None, 700000, 37, -8, -2, 7015662857000, 150,
        ]  # fmt: skip
        assert probe.ask("nvmlDeviceGetMarginTemperature(gpu(0))") == 58
        assert probe.error("nvmlDeviceGetTemperatureThreshold(gpu(0), 1)") == 3
        assert probe.error("nvmlDeviceGetFanSpeed(gpu(0))") == 3
        assert probe.ask("nvmlDeviceGetRowRemapperHistogram(gpu(0)).max") == 2560
        assert probe.ask("nvmlDeviceGetCurrentClocksEventReasons(gpu(0))") == 1
        uuids = probe.ask("[nvmlDeviceGetUUID(gpu(i)) for i in range(8)]")
        assert len(set(uuids)) == 8


def test_a100(tmp_path: Path, library: Path) -> None:
    """No average power, no margin, absolute thresholds, no times by clock event reason."""
    with started("a100", tmp_path, library) as probe:
        rows = probe.ask("fields(gpu(0), 185, 186, 193, 269)")
        assert [row[2] for row in rows] == [None, 49680, None, None]
        assert probe.ask("nvmlDeviceGetPowerUsage(gpu(0))") == 49680
        assert probe.error("nvmlDeviceGetMarginTemperature(gpu(0))") == 3
        thresholds = "[nvmlDeviceGetTemperatureThreshold(gpu(0), i) for i in range(4)]"
        assert probe.ask(thresholds) == [92, 89, 95, 85]
        assert probe.ask("nvmlGpmQueryDeviceSupport(gpu(0)).isSupportedDevice") == 0
        fabric = "nvmlDeviceGetGpuFabricInfoV, gpu(0), 'nvmlGpuFabricInfo_v3_t', 0x3000028"
        assert probe.error(f"struct_of({fabric})") == 3


def test_b200(tmp_path: Path, library: Path) -> None:
    """Power smoothing needs a privilege; NVLink 5 has no DL error counters."""
    with started("b200", tmp_path, library) as probe:
        rows = probe.ask("fields(gpu(0), 251, 258, (161, 0), (215, 0), (165, 17), 230)")
        assert [row[0] for row in rows] == [4, 4, 3, 0, 0, 0]
        assert probe.ask("nvmlDeviceGetPersistenceMode(gpu(0))") == 0


def test_gb200(tmp_path: Path, library: Path) -> None:
    """Grace: module power beside GPU power, PCIe 5 on a part that could 6, a rack position."""
    with started("gb200", tmp_path, library) as probe:
        assert probe.ask("nvmlDeviceGetCount()") == 4
        rows = probe.ask("fields(gpu(0), 185, (185, 1), (190, 1), (187, 1))")
        assert [row[2] for row in rows] == [165930, 467170, 2500000, 500000]
        assert probe.ask("nvmlDeviceGetGpuMaxPcieLinkGeneration(gpu(0))") == 6
        platform = bytes.fromhex(
            probe.ask(
                "hex_of(nvmlDeviceGetPlatformInfo, gpu(0),"
                " 'nvmlPlatformInfo_v2_t', nvmlPlatformInfo_v2)"
            )
        )
        assert list(platform[36:41]) == [14, 4, 1, 1, 2]


@pytest.mark.parametrize("name", captures.NAMES)
def test_profiles_agree_with_captures(name: str) -> None:
    """The hand-written profile answers every key that the capture of its family answers."""
    need(name)
    captured = captures.load(name)
    written = {
        "a100": profiles.a100, "h100": profiles.h100,
        "b200": profiles.b200, "gb200": profiles.gb200,
    }[name](1)  # fmt: skip
    keys = {*captured.shared, *captured.gpus[0]}
    have = {*written.shared, *written.gpus[0]}
    aliases = {"field.185.0", "field.186.0", *(f"field.{f}.0" for f in range(187, 193))}
    beyond = ("sram.", "repair.", "platform.", "application_clock.")
    missing = {key for key in keys - have - aliases if not key.startswith(beyond)}
    assert missing <= {
        "addressing_mode", "board_id", "c2c_mode", "fabric.uuid", "fabric.health_mask",
        "field.301", "field.302", "unrepairable_memory", "fabric.health_summary",
    }  # fmt: skip
