"""Exact numbers in, exact numbers out, through the real pynvml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from . import FakeDriver
    from .probe import Probe

pytestmark = pytest.mark.newest_binding

# Facts of GPU 2, a call in pynvml, what it answers.
GETTERS: list[tuple[dict[str, Any], str, Any]] = [
    ({"name": "NVIDIA Some GPU"}, "nvmlDeviceGetName(g)", "NVIDIA Some GPU"),
    ({"uuid": "GPU-x"}, "nvmlDeviceGetUUID(g)", "GPU-x"),
    ({"serial": "165"}, "nvmlDeviceGetSerial(g)", "165"),
    ({"board_part_number": "692"}, "nvmlDeviceGetBoardPartNumber(g)", "692"),
    ({"vbios_version": "96.00"}, "nvmlDeviceGetVbiosVersion(g)", "96.00"),
    ({"inforom_image_version": "G5"}, "nvmlDeviceGetInforomImageVersion(g)", "G5"),
    ({"gsp_firmware_version": "580"}, "nvmlDeviceGetGspFirmwareVersion(g)", "580"),
    ({"minor_number": 5}, "nvmlDeviceGetMinorNumber(g)", 5),
    ({}, "nvmlDeviceGetIndex(g)", 2),
    ({"module_id": 7}, "nvmlDeviceGetModuleId(g)", 7),
    ({"architecture": 9}, "nvmlDeviceGetArchitecture(g)", 9),
    ({"pdi": "0x1122334455667788"}, "nvmlDeviceGetPdi(g)", 0x1122334455667788),
    ({"numa_node_id": 4}, "nvmlDeviceGetNumaNodeId(g)", 4),
    ({"addressing_mode": 2}, "nvmlDeviceGetAddressingMode(g)", 2),
    (
        {"compute_capability.major": 9, "compute_capability.minor": 1},
        "nvmlDeviceGetCudaComputeCapability(g)",
        [9, 1],
    ),
    ({"persistence_mode": 1}, "nvmlDeviceGetPersistenceMode(g)", 1),
    ({"compute_mode": 3}, "nvmlDeviceGetComputeMode(g)", 3),
    ({"field.1": 1, "field.2": 0}, "nvmlDeviceGetEccMode(g)", [1, 0]),
    ({"mig_mode.current": 1, "mig_mode.pending": 0}, "nvmlDeviceGetMigMode(g)", [1, 0]),
    ({"power_usage": 330123}, "nvmlDeviceGetPowerUsage(g)", 330123),
    ({"field.190": 650001}, "nvmlDeviceGetEnforcedPowerLimit(g)", 650001),
    ({"field.192": 650002}, "nvmlDeviceGetPowerManagementLimit(g)", 650002),
    ({"field.189": 650003}, "nvmlDeviceGetPowerManagementDefaultLimit(g)", 650003),
    (
        {"field.187": 200001, "field.188": 700001},
        "nvmlDeviceGetPowerManagementLimitConstraints(g)",
        [200001, 700001],
    ),
    ({"field.83": 2**63 + 5}, "nvmlDeviceGetTotalEnergyConsumption(g)", 2**63 + 5),
    ({"temperature": -4}, "nvmlDeviceGetTemperatureV(g, 0)", -4),
    ({"temperature": 71}, "nvmlDeviceGetTemperature(g, 0)", 71),
    ({"temperature_threshold.1": 89}, "nvmlDeviceGetTemperatureThreshold(g, 1)", 89),
    ({"margin_temperature": -3}, "nvmlDeviceGetMarginTemperature(g)", -3),
    ({"num_fans": 2}, "nvmlDeviceGetNumFans(g)", 2),
    ({"fan_speed": 41}, "nvmlDeviceGetFanSpeed(g)", 41),
    ({"fan_speed.1": 42}, "nvmlDeviceGetFanSpeed_v2(g, 1)", 42),
    ({"fan_rpm": 4242}, "nvmlDeviceGetFanSpeedRPM(g)", 4242),
    (
        {"utilization.gpu": 43, "utilization.memory": 21},
        "nvmlDeviceGetUtilizationRates(g)",
        {"gpu": 43, "memory": 21},
    ),
    (
        {"encoder_utilization": 3, "utilization_period_us": 99},
        "nvmlDeviceGetEncoderUtilization(g)",
        [3, 99],
    ),
    ({"decoder_utilization": 4}, "nvmlDeviceGetDecoderUtilization(g)", [4, 167000]),
    ({"jpg_utilization": 5}, "nvmlDeviceGetJpgUtilization(g)", [5, 167000]),
    ({"ofa_utilization": 6}, "nvmlDeviceGetOfaUtilization(g)", [6, 167000]),
    ({"clock.1": 1755}, "nvmlDeviceGetClockInfo(g, NVML_CLOCK_SM)", 1755),
    ({"max_clock.2": 2619}, "nvmlDeviceGetMaxClockInfo(g, NVML_CLOCK_MEM)", 2619),
    ({"performance_state": 2}, "nvmlDeviceGetPerformanceState(g)", 2),
    ({"clocks_event_reasons": "0x44"}, "nvmlDeviceGetCurrentClocksEventReasons(g)", 0x44),
    ({"clocks_event_reasons": 4}, "nvmlDeviceGetCurrentClocksThrottleReasons(g)", 4),
    (
        {"supported_clocks_event_reasons": "0x1ff"},
        "nvmlDeviceGetSupportedClocksEventReasons(g)",
        0x1FF,
    ),
    (
        {"memory.total": 100, "memory.reserved": 7, "memory.free": 60, "memory.used": 33},
        "nvmlDeviceGetMemoryInfo(g, nvmlMemory_v2)",
        {"version": 0x2000028, "total": 100, "reserved": 7, "free": 60, "used": 33},
    ),
    (
        {"memory.total": 100, "memory.reserved": 7, "memory.free": 60, "memory.used": 33},
        "nvmlDeviceGetMemoryInfo(g)",
        {"total": 100, "free": 60, "used": 40},
    ),
    (
        {"bar1.total": 5, "bar1.free": 3, "bar1.used": 2},
        "nvmlDeviceGetBAR1MemoryInfo(g)",
        {"bar1Total": 5, "bar1Free": 3, "bar1Used": 2},
    ),
    ({"pcie.link_gen": 1}, "nvmlDeviceGetCurrPcieLinkGeneration(g)", 1),
    ({"pcie.link_gen_max": 4}, "nvmlDeviceGetMaxPcieLinkGeneration(g)", 4),
    ({"pcie.link_gen_gpu_max": 6}, "nvmlDeviceGetGpuMaxPcieLinkGeneration(g)", 6),
    ({"pcie.link_width": 8}, "nvmlDeviceGetCurrPcieLinkWidth(g)", 8),
    ({"pcie.link_width_max": 16}, "nvmlDeviceGetMaxPcieLinkWidth(g)", 16),
    ({"pcie.speed": 32000}, "nvmlDeviceGetPcieSpeed(g)", 32000),
    ({"field.94": 150}, "nvmlDeviceGetPcieReplayCounter(g)", 150),
    ({"pcie.throughput.1": 578}, "nvmlDeviceGetPcieThroughput(g, 1)", 578),
    ({"field.165.17": 0}, "nvmlDeviceGetNvLinkState(g, 17)", 0),
    ({"nvlink.errors.3.2": 12}, "nvmlDeviceGetNvLinkErrorCounter(g, 3, 2)", 12),
    ({"ecc.1.0.7": 2**40}, "nvmlDeviceGetMemoryErrorCounter(g, 1, 0, 7)", 2**40),
    ({"field.6": 9}, "nvmlDeviceGetTotalEccErrors(g, 1, 1)", 9),
    (
        {"field.142": 1, "field.143": 2, "field.144": 0, "field.145": 1},
        "nvmlDeviceGetRemappedRows(g)",
        [1, 2, 0, 1],
    ),
    (
        {"row_remapper.max": 2559, "row_remapper.low": 1},
        "nvmlDeviceGetRowRemapperHistogram(g)",
        {"max": 2559, "high": 0, "partial": 0, "low": 1, "none": 0},
    ),
    ({"repair.channel": 0, "repair.tpc": 1}, "nvmlDeviceGetRepairStatus(g)", [0, 1]),
    (
        {"processes.compute": "4711:1073741824:1:2 4712:-"},
        "nvmlDeviceGetComputeRunningProcesses(g)",
        [
            {
                "pid": 4711,
                "usedGpuMemory": 2**30,
                "gpuInstanceId": 1,
                "computeInstanceId": 2,
            },
            {
                "pid": 4712,
                "usedGpuMemory": None,
                "gpuInstanceId": 2**32 - 1,
                "computeInstanceId": 2**32 - 1,
            },
        ],
    ),
    ({"processes.graphics": ""}, "nvmlDeviceGetGraphicsRunningProcesses(g)", []),
    (
        {"process_utilization": "4711:1000:50:20:1:2 4712:2000:60:30:3:4"},
        "nvmlDeviceGetProcessUtilization(g, 1000)",
        [
            {
                "pid": 4712,
                "timeStamp": 2000,
                "smUtil": 60,
                "memUtil": 30,
                "encUtil": 3,
                "decUtil": 4,
            }
        ],
    ),
]


@pytest.mark.parametrize(("facts", "call", "expected"), GETTERS, ids=[g[1] for g in GETTERS])
def test_a_getter_answers_what_was_set(
    driver: FakeDriver, probe: Probe, facts: dict[str, Any], call: str, expected: Any
) -> None:
    """What the control file says of GPU 2 is what pynvml returns for GPU 2, bit for bit."""
    with driver.batch():
        for key, value in facts.items():
            driver.set(2, key, value)
    assert probe.ask(f"[{call} for g in [gpu(2)]][0]") == expected


def test_one_gpu_does_not_answer_for_another(driver: FakeDriver, probe: Probe) -> None:
    """Eight GPUs with eight powers are told apart."""
    with driver.batch():
        for index in range(8):
            driver.set(index, "power_usage", 300000 + index)
    powers = probe.ask("[nvmlDeviceGetPowerUsage(gpu(i)) for i in range(8)]")
    assert powers == [300000 + index for index in range(8)]


def test_what_is_not_stated_is_not_supported(driver: FakeDriver, probe: Probe) -> None:
    """A fact that is absent, or taken away, answers NOT_SUPPORTED (3), never a zero."""
    assert probe.error("nvmlDeviceGetFanSpeed(gpu(0))") == 3
    driver.unset(0, "margin_temperature")
    assert probe.error("nvmlDeviceGetMarginTemperature(gpu(0))") == 3
    assert probe.ask("nvmlDeviceGetMarginTemperature(gpu(1))") == 58


def test_functions_these_boards_lack_are_there_all_the_same(probe: Probe) -> None:
    """An exported function without an answer is NOT_SUPPORTED, not a missing symbol."""
    assert probe.error("nvmlDeviceGetRetiredPages(gpu(0), 0)") == 3
    assert probe.error("nvmlDeviceGetNvLinkRemotePciInfo(gpu(0), 0)") == 3


def test_a_reading_can_need_a_privilege(driver: FakeDriver, probe: Probe) -> None:
    """A denied key answers NO_PERMISSION (4) as a function and inside a field batch."""
    driver.deny(1, "field.190")
    assert probe.error("nvmlDeviceGetEnforcedPowerLimit(gpu(1))") == 4
    assert probe.ask("fields(gpu(1), 190, 189)") == [[4, 0, None], [0, 1, 700000]]


def test_pci_identity(driver: FakeDriver, probe: Probe) -> None:
    """The bus id comes in both spellings, and finds its GPU in either."""
    driver.set(5, "pci_bus_id", "00000002:8f:00.0")
    info = probe.ask("nvmlDeviceGetPciInfo(gpu(5))")
    assert info["busId"] == "00000002:8F:00.0"
    assert info["busIdLegacy"] == "0002:8F:00.0"
    assert (info["domain"], info["bus"], info["device"]) == (2, 0x8F, 0)
    assert info["pciDeviceId"] == 0x233010DE
    for bus_id in ("00000002:8F:00.0", "0002:8f:00.0"):
        call = f"nvmlDeviceGetIndex(nvmlDeviceGetHandleByPciBusId({bus_id.encode()!r}))"
        assert probe.ask(call) == 5


def test_a_gpu_is_found_by_uuid_and_serial(driver: FakeDriver, probe: Probe) -> None:
    """Handles by UUID and by serial are handles of that GPU; an unknown one is NOT_FOUND."""
    uuid, serial = probe.ask("[nvmlDeviceGetUUID(gpu(6)), nvmlDeviceGetSerial(gpu(6))]")
    by_uuid = f"nvmlDeviceGetHandleByUUID({uuid.encode()!r})"
    by_serial = f"nvmlDeviceGetHandleBySerial({serial.encode()!r})"
    assert probe.ask(f"nvmlDeviceGetIndex({by_uuid})") == 6
    assert probe.ask(f"nvmlDeviceGetIndex({by_serial})") == 6
    assert probe.error("nvmlDeviceGetHandleByUUID(b'GPU-nobody')") == 6


def test_driver_versions(driver: FakeDriver, probe: Probe) -> None:
    """Facts without a GPU: driver, library and CUDA version, and the number of GPUs."""
    driver.set_system("driver_version", "595.45.04")
    assert probe.ask("nvmlSystemGetDriverVersion()") == "595.45.04"
    assert probe.ask("nvmlSystemGetNVMLVersion()") == "13.580.105.08"
    assert probe.ask("nvmlSystemGetCudaDriverVersion_v2()") == 13000
    assert probe.ask("nvmlDeviceGetCount()") == 8
    assert probe.error("nvmlDeviceGetHandleByIndex(8)") == 2
    assert probe.ask("nvmlErrorString(15)") == "GPU is lost"


def test_fabric_in_both_struct_versions(driver: FakeDriver, probe: Probe) -> None:
    """State, health and cluster of the NVLink fabric; version 2 knows no health summary."""
    with driver.batch():
        driver.set(0, "fabric.uuid", "00112233-4455-6677-8899-aabbccddeeff")
        driver.set(0, "fabric.clique", 32766)
        driver.set(0, "fabric.health_mask", "0x12")
        driver.set(0, "fabric.health_summary", 3)
    ask = (
        "struct_of(nvmlDeviceGetGpuFabricInfoV, gpu(0),"
        " 'nvmlGpuFabricInfo_v{0}_t', nvmlGpuFabricInfo_v{0})"
    )
    for version in (2, 3):
        info = probe.ask(ask.format(version))
        assert bytes(info["clusterUuid"]).hex() == "00112233445566778899aabbccddeeff"
        assert (info["state"], info["status"], info["cliqueId"]) == (3, 0, 32766)
        assert info["healthMask"] == 0x12
        assert info.get("healthSummary") == (3 if version == 3 else None)


def test_platform_and_sram_structs(driver: FakeDriver, probe: Probe) -> None:
    """Two structs that are filled member by member, binary bytes included."""
    with driver.batch():
        driver.set(0, "platform.module_id", 2)
        driver.set(0, "platform.ib_guid", "0x00000000000000a5")
        driver.set(0, "platform.chassis_serial", "1820000000001")
        driver.set(0, "platform.slot_number", 21)
        driver.set(0, "sram.aggregate_parity", 11)
        driver.set(0, "sram.bucket_l2", 12)
        driver.set(0, "sram.threshold_exceeded", 1)
    platform = bytes.fromhex(
        probe.ask(
            "hex_of(nvmlDeviceGetPlatformInfo, gpu(0),"
            " 'nvmlPlatformInfo_v2_t', nvmlPlatformInfo_v2)"
        )
    )
    assert platform[4:12] == bytes([0, 0, 0, 0, 0, 0, 0, 0xA5])
    assert platform[20:36].rstrip(b"\0") == b"1820000000001"
    assert list(platform[36:41]) == [21, 0, 0, 0, 2]
    sram = probe.ask(
        "struct_of(nvmlDeviceGetSramEccErrorStatus, gpu(0),"
        " 'nvmlEccSramErrorStatus_v1_t', nvmlEccSramErrorStatus_v1)"
    )
    assert sram["aggregateUncParity"] == 11
    assert sram["aggregateUncBucketL2"] == 12
    assert sram["bThresholdExceeded"] == 1


def test_idle_process_utilization_is_not_found(probe: Probe) -> None:
    """Nothing new since the last look raises NOT_FOUND (6), as the driver does when idle."""
    assert probe.error("nvmlDeviceGetProcessUtilization(gpu(0), 0)") == 6
