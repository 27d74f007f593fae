"""What the driver says is what ``/metrics`` says, through the real pynvml over the fake library."""

from __future__ import annotations

import collections
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client.openmetrics.parser import (  # the oracle of these tests
    text_string_to_metric_families as parse_openmetrics,
)

from gpumon.clock import boot_id
from gpumon.host.timekeeping import kernel_clock
from gpumon.statedb.events import load_events
from tests.fakenvml import FakeDriver, build_library, captures, profiles
from tests.support.exposition import Exposition
from tests.support.servers import Agent, require, run_agent, wait_for

pytestmark = pytest.mark.e2e

ALL_LINKS = 0xFFFFFFFF

# What GPU 3 is told to say in NVML's units, and what must come out: metric, labels, base unit.
FACTS = [
    ("field.185", 330_123, "gpumon_gpu_power_watts", {}, 330.123),
    ("field.185.2", 32_981, "gpumon_gpu_memory_power_watts", {}, 32.981),
    ("processes.compute", "4711:1048576 4712:2097152", "gpumon_gpu_processes", {}, 2),
    ("field.190", 650_001, "gpumon_gpu_power_limit_watts", {}, 650.001),
    ("field.189", 700_002, "gpumon_gpu_power_limit_default_watts", {}, 700.002),
    ("field.83", 9_007_199_254_740, "gpumon_gpu_energy_joules_total", {}, 9_007_199_254.740),
    ("temperature", 43, "gpumon_gpu_temperature_celsius", {}, 43),
    ("field.82", 51, "gpumon_gpu_memory_temperature_celsius", {}, 51),
    ("margin_temperature", -2, "gpumon_gpu_temperature_margin_celsius", {}, -2),
    ("fan_speed", 37, "gpumon_gpu_fan_speed_ratio", {}, 0.37),
    ("utilization.gpu", 97, "gpumon_gpu_utilization_ratio", {}, 0.97),
    ("utilization.memory", 61, "gpumon_gpu_memory_access_ratio", {}, 0.61),
    ("gpm.2", 87.5, "gpumon_gpu_sm_active_ratio", {}, 0.875),
    ("gpm.3", 43.75, "gpumon_gpu_sm_occupancy_ratio", {}, 0.4375),
    ("gpm.5", 62.5, "gpumon_gpu_tensor_active_ratio", {}, 0.625),
    ("gpm.10", 31.25, "gpumon_gpu_dram_active_ratio", {}, 0.3125),
    ("memory.total", 85_520_809_984, "gpumon_gpu_memory_total_bytes", {}, 85_520_809_984),
    ("memory.used", 71_234_567_168, "gpumon_gpu_memory_used_bytes", {}, 71_234_567_168),
    ("memory.reserved", 503_316_480, "gpumon_gpu_memory_reserved_bytes", {}, 503_316_480),
    ("clock.1", 1755, "gpumon_gpu_clock_hertz", {"clock": "sm"}, 1_755_000_000),
    ("clock.2", 2619, "gpumon_gpu_clock_hertz", {"clock": "memory"}, 2_619_000_000),
    ("max_clock.1", 1980, "gpumon_gpu_clock_max_hertz", {"clock": "sm"}, 1_980_000_000),
    ("max_clock.2", 2620, "gpumon_gpu_clock_max_hertz", {"clock": "memory"}, 2_620_000_000),
    *(
        (f"field.{field}", ns, "gpumon_gpu_throttle_seconds_total", {"reason": reason}, ns / 1e9)
        for field, reason, ns in (
            (74, "sw_power_cap", 7_015_662_857_001),
            (76, "sync_boost", 1_000_000_001),
            (269, "sw_thermal", 2_500_000_000),
            (270, "hw_thermal", 1),
            (271, "hw_power_brake", 4_000_000_000),
        )
    ),
    ("field.197", 123_456_789_012, "gpumon_gpu_pcie_transmit_bytes_total", {}, 123_456_789_012),
    ("field.198", 234_567_890_123, "gpumon_gpu_pcie_receive_bytes_total", {}, 234_567_890_123),
    ("field.94", 150, "gpumon_gpu_pcie_replays_total", {}, 150),
    ("pcie.link_gen", 4, "gpumon_gpu_pcie_link_generation", {}, 4),
    ("pcie.link_gen_max", 5, "gpumon_gpu_pcie_link_generation_max", {}, 5),
    ("pcie.link_width", 8, "gpumon_gpu_pcie_link_width", {}, 8),
    ("pcie.link_width_max", 16, "gpumon_gpu_pcie_link_width_max", {}, 16),
    (f"field.138.{ALL_LINKS}", 1001, "gpumon_gpu_nvlink_transmit_bytes_total", {}, 1_025_024),
    (f"field.139.{ALL_LINKS}", 2002, "gpumon_gpu_nvlink_receive_bytes_total", {}, 2_050_048),
    ("field.165.7", 0, "gpumon_gpu_nvlink_links_active", {}, 17),
    ("field.161.3", 5, "gpumon_gpu_nvlink_errors_total", {"kind": "replay"}, 5),
    ("field.162.17", 6, "gpumon_gpu_nvlink_errors_total", {"kind": "recovery"}, 6),
    ("field.163.0", 469_035, "gpumon_gpu_nvlink_errors_total", {"kind": "crc"}, 469_035),
    *(
        (
            f"ecc.{error}.0.{location}",
            count,
            "gpumon_gpu_ecc_errors_total",
            {"error": ("corrected", "uncorrected")[error], "location": place},
            count,
        )
        for error, location, place, count in (
            (0, 2, "dram", 11),
            (0, 7, "sram", 12),
            (1, 2, "dram", 13),
            (1, 7, "sram", 14),
        )
    ),
    ("field.142", 3, "gpumon_gpu_remapped_rows_total", {"cause": "corrected"}, 3),
    ("field.143", 4, "gpumon_gpu_remapped_rows_total", {"cause": "uncorrected"}, 4),
    ("field.144", 1, "gpumon_gpu_row_remap_pending", {}, 1),
    ("field.145", 1, "gpumon_gpu_row_remap_failed", {}, 1),
    ("gpm.13", 12.5, "gpumon_gpu_fp16_active_ratio", {}, 0.125),
    ("gpm.12", 25, "gpumon_gpu_fp32_active_ratio", {}, 0.25),
    ("row_remapper.none", 2, "gpumon_gpu_remap_banks_exhausted", {}, 2),
    ("sram.aggregate_parity", 0, "gpumon_gpu_up", {}, 1),
    ("sram.threshold_exceeded", 1, "gpumon_gpu_sram_threshold_exceeded", {}, 1),
    ("persistence_mode", 0, "gpumon_gpu_persistence_mode", {}, 0),
    ("field.1", 0, "gpumon_gpu_ecc_mode", {}, 0),
    ("field.1", 0, "gpumon_gpu_info", {"ecc": "off_until_reset", "persistence": "off"}, 1),
    ("field.2", 1, "gpumon_gpu_ecc_mode_pending", {}, 1),
    ("ecc_mode_default", 1, "gpumon_gpu_ecc_mode_default", {}, 1),
    ("temperature_threshold.0", 95, "gpumon_gpu_temperature_shutdown_celsius", {}, 95),
    ("field.258", 97, "gpumon_gpu_power_smoothing_lifetime_ratio", {}, 0.97),
]

# Two bits a condition, of which 1 is true and 2 false: bandwidth is degraded, no route is being
# recovered, routes are healthy, an access time-out is being recovered; too few NVLinks; connected.
HEALTH_MASK = 1 | 2 << 2 | 2 << 4 | 1 << 6 | 5 << 8 | 1 << 12 | 1 << 14
FABRIC = {
    "degraded_bandwidth": 1,
    "route_recovery": 0,
    "route_unhealthy": 0,
    "access_timeout_recovery": 1,
    "insufficient_nvlinks": 1,
    "manager_disconnected": 0,
    "limited_capacity": 1,
    "join_failed": 1,
}

# What only the full tier shows.
FULL_FACTS = [
    ("gpm.11", 50, "gpumon_gpu_fp64_active_ratio", {}, 0.5),
    ("gpm.20", 3, "gpumon_gpu_pcie_transmit_bytes_per_second", {}, 3 * 1024**2),
    ("gpm.21", 4, "gpumon_gpu_pcie_receive_bytes_per_second", {}, 4 * 1024**2),
    ("gpm.61", 5, "gpumon_gpu_nvlink_transmit_bytes_per_second", {}, 5 * 1024**2),
    ("gpm.60", 6, "gpumon_gpu_nvlink_receive_bytes_per_second", {}, 6 * 1024**2),
    ("gpm.248", 10_000_000, "gpumon_gpu_sm_cycles_total", {"state": "elapsed"}, 1e7),
    ("gpm.249", 9_000_000, "gpumon_gpu_sm_cycles_total", {"state": "active"}, 9e6),
    ("gpm.250", 8_000_000, "gpumon_gpu_sm_cycles_total", {"state": "tensor"}, 8e6),
    ("gpm.260", 7_000_000, "gpumon_gpu_sm_cycles_total", {"state": "fp16"}, 7e6),
    ("field.165.7", 0, "gpumon_gpu_nvlink_link_up", {"link": "7"}, 0),
    ("field.138.3", 10, "gpumon_gpu_nvlink_link_transmit_bytes_total", {"link": "3"}, 10_240),
    ("field.139.3", 20, "gpumon_gpu_nvlink_link_receive_bytes_total", {"link": "3"}, 20_480),
    ("field.163.17", 9, "gpumon_gpu_nvlink_link_errors_total", {"kind": "crc", "link": "17"}, 9),
    ("row_remapper.low", 3, "gpumon_gpu_remap_banks", {"spares": "low"}, 3),
    ("field.187", 200_000, "gpumon_gpu_power_limit_min_watts", {}, 200),
    ("field.188", 700_000, "gpumon_gpu_power_limit_max_watts", {}, 700),
    ("field.192", 650_500, "gpumon_gpu_power_limit_requested_watts", {}, 650.5),
    ("performance_state", 2, "gpumon_gpu_performance_state", {}, 2),
    ("utilization_period_us", 167_000, "gpumon_gpu_up", {}, 1),
    ("encoder_utilization", 12, "gpumon_gpu_encoder_utilization_ratio", {}, 0.12),
    ("decoder_utilization", 34, "gpumon_gpu_decoder_utilization_ratio", {}, 0.34),
    *(
        (
            f"temperature_threshold.{number}",
            degrees,
            "gpumon_gpu_temperature_threshold_celsius",
            {"threshold": name},
            degrees,
        )
        for number, name, degrees in (
            (1, "slowdown", 89),
            (2, "memory_max", 95),
            (3, "gpu_max", 85),
        )
    ),
    *(
        (
            f"field.{number}",
            degrees,
            "gpumon_gpu_temperature_margin_threshold_celsius",
            {"threshold": name},
            degrees,
        )
        for number, name, degrees in (
            (193, "shutdown", -8),
            (194, "slowdown", -2),
            (195, "memory_max", 0),
            (196, "gpu_max", -1),
        )
    ),
    ("field.166.3", 6, "gpumon_gpu_nvlink_version", {}, 4),
    (
        "field.164.5",
        26_562,
        "gpumon_gpu_nvlink_link_bandwidth_bytes_per_second",
        {"link": "5"},
        26_562_000_000,
    ),
    ("nvlink.remote_pci.4", "00000000:05:00.0", "gpumon_gpu_up", {}, 1),
    (
        "nvlink.remote_type.4",
        2,
        "gpumon_gpu_nvlink_link_remote",
        {"link": "4", "remote": "switch 00000000:05:00.0"},
        1,
    ),
    (
        "nvlink.remote_type.6",
        0,
        "gpumon_gpu_nvlink_link_remote",
        {"link": "6", "remote": "gpu"},
        1,
    ),
    ("sram.aggregate_parity", 0, "gpumon_gpu_up", {}, 1),
    *(
        (f"sram.bucket_{unit}", n, "gpumon_gpu_sram_lifetime_errors_total", {"unit": unit}, n)
        for n, unit in enumerate(("l2", "sm", "pcie", "mcu", "other"), 31)
    ),
    ("field.29", 5, "gpumon_gpu_retired_pages_total", {"cause": "single_bit"}, 5),
    ("field.30", 6, "gpumon_gpu_retired_pages_total", {"cause": "double_bit"}, 6),
    ("field.31", 1, "gpumon_gpu_retired_pages_pending", {}, 1),
    (
        "gsp_firmware_version",
        "580.105.08",
        "gpumon_gpu_firmware_info",
        {"gsp_version": "580.105.08", "inforom_version": "G520.0200.00.05"},
        1,
    ),
    ("inforom_image_version", "G520.0200.00.05", "gpumon_gpu_up", {}, 1),
    # Profiles 0 and 1 are there, both were requested, and one is in force.
    ("power_profiles.supported", 0b11, "gpumon_gpu_up", {}, 1),
    ("power_profiles.requested", 0b11, "gpumon_gpu_up", {}, 1),
    *(
        (
            "power_profiles.enforced",
            0b10,
            "gpumon_gpu_power_profiles",
            {"profile": profile, "how": how},
            value,
        )
        for profile, how, value in (
            ("max_p", "requested", 1),
            ("max_p", "enforced", 0),
            ("max_q", "enforced", 1),
        )
    ),
    (
        "ecc.1.1.2",
        21,
        "gpumon_gpu_ecc_lifetime_errors_total",
        {"error": "uncorrected", "location": "dram"},
        21,
    ),
]


@pytest.fixture(scope="module")
def telling(
    library: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FakeDriver, Agent]]:
    """An agent on eight H100s of which GPU 3 tells all of FACTS."""
    folder = tmp_path_factory.mktemp("exact")
    driver = FakeDriver(folder / "driver", profiles.h100(8), library=library)
    with driver.batch():
        for key, raw, *_ in FACTS:
            driver.set(3, key, raw)
        driver.set(3, "clocks_event_reasons", 0x4 | 0x20 | 0x1)
        driver.set(3, "field.230", 4)
        for key, raw in (
            ("state", 3),
            ("status", 29),
            ("clique", 5),
            ("uuid", "00112233445566778899aabbccddeeff"),
            ("health_mask", HEALTH_MASK),
            ("health_summary", 3),
        ):
            driver.set("*", f"fabric.{key}", raw)
    with run_agent(folder, "nvml", "--tier", "full", env=driver.env()) as agent:
        wait_for(
            lambda: "gpumon_gpu_sm_active_ratio" in agent.metrics(), 10, "the second GPM sample"
        )
        yield driver, agent


@pytest.fixture(scope="module")
def exposition(telling: tuple[FakeDriver, Agent]) -> Exposition:
    """What that agent exposes."""
    return Exposition(telling[1].metrics())


def test_the_nodes_clock_and_boot_are_reported(exposition: Exposition) -> None:
    """As the kernel says: of a clock that nothing keeps there is no offset."""
    assert exposition.value("gpumon_boot_info", boot_id=boot_id()) == 1
    kept = kernel_clock().kept
    if kept is not None:
        assert exposition.value("gpumon_clock_synchronized") == int(kept)
        known = exposition.value("gpumon_clock_offset_seconds") is not None
        assert known == kept


@pytest.mark.parametrize(
    ("metric", "labels", "expected"),
    [fact[2:] for fact in FACTS],
    ids=[" ".join([fact[2].removeprefix("gpumon_gpu_"), *fact[3].values()]) for fact in FACTS],
)
def test_a_number_comes_out_exactly(
    exposition: Exposition, metric: str, labels: dict[str, str], expected: float
) -> None:
    """In its base unit, equal to the last bit."""
    assert exposition.value(metric, gpu="3", **labels) == expected


def test_states_come_out(exposition: Exposition) -> None:
    """Throttle reasons, the recovery action, and the state of the GPU."""
    reasons = exposition.all("gpumon_gpu_throttled", gpu="3", uuid=uuid(3))
    assert {k for ((_, k),), v in reasons.items() if v} == {"sw_power_cap", "sw_thermal"}
    actions = exposition.all("gpumon_gpu_recovery_action", gpu="3", uuid=uuid(3))
    assert {k for ((_, k),), v in actions.items() if v} == {"drain_and_reset"}
    assert exposition.value("gpumon_gpu_state", gpu="3", state="ok") == 1
    assert exposition.value("gpumon_gpu_up", gpu="3") == 1


def uuid(index: int) -> str:
    """Return the identity that the profile gives a GPU."""
    return str(profiles.identity(index)["uuid"])


def test_identity_and_source_come_out(exposition: Exposition) -> None:
    """With the labels of the design, with how the board is set, and no others."""
    (facts,) = exposition.all("gpumon_gpu_info", gpu="3")
    assert dict(facts) == {
        "uuid": uuid(3),
        "name": "NVIDIA H100 80GB HBM3",
        "architecture": "Hopper",
        "serial": "1650000000004",
        "pci_bus_id": profiles.identity(3)["pci_bus_id"],
        "module_id": str(profiles.identity(3)["module_id"]),
        "board_part_number": "692-2G520-0200-000",
        "vbios_version": "96.00.99.00.01",
        "ecc": "off_until_reset",
        "persistence": "off",
    }
    (source,) = exposition.all("gpumon_source_info")
    assert dict(source)["driver_version"] == "580.105.08"
    assert dict(source)["cuda_version"] == "13.0"
    assert exposition.value("gpumon_gpus") == 8
    assert exposition.value("gpumon_gpus_expected") == 8
    how = exposition.all("gpumon_gpu_energy_info", gpu="3", uuid=uuid(3))
    assert how == {(("method", "counter"), ("scope", "gpu")): 1}


def test_the_fabric_comes_out_decoded(exposition: Exposition) -> None:
    """State, status, clique, and each condition of the health mask that the GPU can tell."""
    states = exposition.all("gpumon_gpu_fabric_state", gpu="3", uuid=uuid(3))
    assert {k for ((_, k),), v in states.items() if v} == {"completed"}
    (facts,) = exposition.all("gpumon_gpu_fabric_info", gpu="3", uuid=uuid(3))
    assert dict(facts) == {
        "cluster_uuid": "00112233-4455-6677-8899-aabbccddeeff",
        "clique_id": "5",
    }
    unhealthy = exposition.all("gpumon_gpu_fabric_unhealthy", gpu="3", uuid=uuid(3))
    assert {k: v for ((_, k),), v in unhealthy.items()} == FABRIC
    assert exposition.value("gpumon_gpu_fabric_partition_assigned", gpu="3", uuid=uuid(3)) == 1


def test_the_full_tier_shows_each_link_and_what_gpm_counts(tmp_path: Path, library: Path) -> None:
    """Beyond the standard tier, which reads none of it; exact numbers here too."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(1), library=library)
    with driver.batch():
        for key, raw, *_ in FULL_FACTS:
            driver.set(0, key, raw)
    with run_agent(tmp_path, "nvml", "--tier", "full", env=driver.env()) as agent:
        wait_for(
            lambda: "gpumon_gpu_sm_cycles_total" in agent.metrics(), 10, "the second GPM sample"
        )
        seen = Exposition(agent.metrics())
    for _, _, metric, labels, expected in FULL_FACTS:
        assert seen.value(metric, gpu="0", **labels) == expected, (metric, labels)
    assert len(seen.all("gpumon_gpu_nvlink_link_up", gpu="0")) == 18


def test_a_sum_that_is_not_that_of_the_links_is_said_at_the_standard_tier(
    tmp_path: Path, library: Path
) -> None:
    """Whatever is exposed of the links; while all is well it is no series at all."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(3), library=library)
    with driver.batch():
        for link in range(18):
            driver.set(0, f"field.163.{link}", 26_057)
            driver.set(1, f"field.138.{link}", 2048)
            driver.set(2, f"field.139.{link}", 2048)
        driver.set(0, "field.163.4294967295", 0)
        driver.set(1, "field.138.4294967295", 0)
        driver.set(2, "field.139.4294967295", 18 * 2048)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        seen = Exposition(agent.metrics())
    assert not seen.all("gpumon_gpu_nvlink_link_errors_total")
    assert not seen.all("gpumon_gpu_nvlink_link_transmit_bytes_total")
    assert seen.all("gpumon_gpu_contradicted", gpu="0", uuid=uuid(0)) == {
        (("reading", "nvlink_errors.crc"),): 1
    }
    assert seen.all("gpumon_gpu_contradicted", gpu="1", uuid=uuid(1)) == {
        (("reading", "nvlink_transmit_bytes"),): 1
    }
    assert not seen.all("gpumon_gpu_contradicted", gpu="2", uuid=uuid(2))
    assert seen.value("gpumon_gpu_nvlink_errors_total", gpu="0", kind="crc") == 18 * 26_057


def test_a_guests_vgpu_is_read_and_is_not_a_board(tmp_path: Path, library: Path) -> None:
    """Its host counts the board and books its joules; one passed through as a whole is a board."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(3), library=library)
    driver.set(1, "virtualization_mode", 2)
    driver.set(2, "virtualization_mode", 1)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        seen = Exposition(agent.metrics())
    assert (seen.value("gpumon_gpus"), seen.value("gpumon_gpus_expected")) == (2, 2)
    assert seen.value("gpumon_node_gpus", state="ok") == 2
    assert [seen.value("gpumon_gpu_up", gpu=gpu) for gpu in "012"] == [1, 1, 1]
    assert seen.all("gpumon_gpu_virtualization_info", gpu="1", uuid=uuid(1)) == {
        (("mode", "vgpu"),): 1
    }
    assert seen.all("gpumon_gpu_virtualization_info", gpu="2", uuid=uuid(2)) == {
        (("mode", "passthrough"),): 1
    }
    assert not seen.all("gpumon_gpu_virtualization_info", gpu="0", uuid=uuid(0))
    for name in ("power_watts", "energy_joules_total", "power_limit_watts"):
        of = [bool(seen.all(f"gpumon_gpu_{name}", gpu=gpu, uuid=uuid(int(gpu)))) for gpu in "012"]
        assert of == [True, False, True], name
    assert seen.value("gpumon_gpu_utilization_ratio", gpu="1") is not None
    watts = [seen.value("gpumon_gpu_power_watts", gpu=gpu) for gpu in "02"]
    assert seen.value("gpumon_node_gpu_power_watts") == pytest.approx(sum(watts), abs=0.01)


def test_a_driver_that_refuses_a_newer_struct_is_asked_with_the_older(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Fabric version 3 is refused and 2 answers; where memory is refused, only memory is absent."""
    with driver.batch():
        for key, raw in (("state", 3), ("status", 0), ("clique", 1), ("health_mask", 2)):
            driver.set("*", f"fabric.{key}", raw)
        driver.set("*", "fabric.uuid", "0" * 32)
        driver.refuse_version("nvmlDeviceGetGpuFabricInfoV", 0x3000028)
        driver.refuse_version("nvmlDeviceGetMemoryInfo_v2", 0x02000028)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        seen = Exposition(agent.metrics())
    assert seen.value("gpumon_gpu_fabric_state", gpu="0", state="completed") == 1
    assert seen.value("gpumon_gpu_fabric_unhealthy", gpu="0", condition="degraded_bandwidth") == 0
    assert not seen.all("gpumon_gpu_memory_used_bytes")
    assert sum(seen.all("gpumon_gpu_up").values()) == 8


def test_processes_are_named_in_the_snapshot_and_never_in_a_series(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Pid, user, name, memory and share of the SMs; on /metrics they are a number."""
    mine = os.getpid()
    with driver.batch():
        driver.set(2, "processes.compute", f"{mine}:1048576 999999999:-")
        driver.set(2, "processes.graphics", f"{mine}:1048576")
        driver.set(2, "process_utilization", f"{mine}:-:70:0:0:0")
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        processes = agent.get("/api/v1/snapshot").json()["gpus"][2]["held_by"]
        through_a_proxy = agent.get("/api/v1/snapshot", {"X-Forwarded-For": "10.0.0.7"}).json()
        text = agent.metrics()
    known = psutil.Process()
    hidden = {(p["user"], p["name"], p["uid"]) for p in through_a_proxy["gpus"][2]["held_by"]}
    assert hidden == {("", "", None)}
    assert {p["pid"]: p for p in processes}[mine] == {
        "pid": mine,
        "kind": "compute",
        "memory_bytes": 1_048_576,
        "sm_ratio": 0.7,
        "user": known.username(),
        "name": known.name(),
        "gpu_instance": None,
        "compute_instance": None,
        "uid": os.getuid(),
    }
    assert {p["pid"]: (p["user"], p["memory_bytes"]) for p in processes}[999_999_999] == ("", None)
    assert Exposition(text).value("gpumon_gpu_processes", gpu="2") == 2
    assert str(mine) not in re.findall(r'pid="(\d+)"', text)
    assert "999999999" not in re.findall(r'"([^"]*)"', text)  # a float may have these digits


def test_what_needs_a_privilege_is_absent_and_listed(tmp_path: Path, driver: FakeDriver) -> None:
    """NO_PERMISSION is no fault of the GPU: the value is left out, and said to be denied."""
    with driver.batch():
        driver.deny("*", "field.144")
        driver.deny("*", "sram.aggregate_parity")
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        gpu = agent.get("/api/v1/snapshot").json()["gpus"][5]
        seen = Exposition(agent.metrics())
    assert gpu["state"] == "ok"
    assert gpu["row_remap_pending"] is None
    assert {"row_remap_pending", "sram_threshold_exceeded"} <= set(gpu["denied"])
    assert not seen.all("gpumon_gpu_row_remap_pending")


def test_power_extremes_come_from_the_sample_buffer(exposition: Exposition) -> None:
    """The profile's samples swing by 300 mW around 68.57 W, which the mean does not show."""
    assert exposition.value("gpumon_gpu_power_peak_watts", gpu="0") == 68.87
    assert exposition.value("gpumon_gpu_power_trough_watts", gpu="0") == 68.27


def test_a_standard_gpu_has_at_most_a_hundred_series(
    telling: tuple[FakeDriver, Agent], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On an H100 with its 18 links, two kept for a job; the count of each metric is printed."""
    with run_agent(tmp_path, "nvml", env=telling[0].env()) as agent:
        wait_for(
            lambda: "gpumon_gpu_sm_active_ratio" in agent.metrics(), 10, "the second GPM sample"
        )
        exposition = Exposition(agent.metrics())
    names = collections.Counter(exposition.names(gpu="0"))
    lines = [f"  {count:2} {name}" for name, count in sorted(names.items())]
    with capsys.disabled():
        sys.stdout.write(f"\nseries of one H100, standard tier: {sum(names.values())}\n")
        sys.stdout.write("\n".join([*lines, ""]))
    assert 60 < sum(names.values()) <= 98


def test_promtool_and_both_parsers_accept_the_agent(telling: tuple[FakeDriver, Agent]) -> None:
    """The lint says nothing, and the OpenMetrics parser reads what it asks for."""
    agent = telling[1]
    lint = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=agent.get("/metrics").body,
        capture_output=True,
        check=False,
    )
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, b"")
    answer = agent.get("/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {sample.name for family in parse_openmetrics(answer.text) for sample in family.samples}
    assert names == set(Exposition(agent.metrics()).names())


def test_each_tick_reads_a_gpu_in_one_batch(telling: tuple[FakeDriver, Agent]) -> None:
    """One call for all fields, no call twice, and never the one that blocks for 20 ms."""
    driver, agent = telling
    before, first = driver.calls(), agent.get("/api/v1/snapshot").json()
    wait_for(
        lambda: agent.get("/api/v1/snapshot").json()["time"][:19] > first["time"][:19], 5, "a tick"
    )
    calls = {name: count - before.get(name, 0) for name, count in driver.calls().items()}
    ticks = calls["nvmlDeviceGetFieldValues[3]"]
    assert ticks >= 1
    assert calls.get("nvmlDeviceGetPcieThroughput", 0) == 0
    assert calls["nvmlDeviceGetUtilizationRates"] <= 8 * (ticks + 1)
    assert calls["nvmlDeviceGetClockInfo"] <= 2 * 8 * (ticks + 1)


def test_what_is_not_supported_is_absent(tmp_path: Path, library: Path) -> None:
    """Not 0 and not NaN: the series is not there. The other GPU keeps its own."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(2), library=library)
    gone = {
        "field.82": "gpumon_gpu_memory_temperature_celsius",
        "field.83": "",
        "field.191": "",
        "energy": "",
        "utilization.gpu": "gpumon_gpu_utilization_ratio",
        "field.230": "gpumon_gpu_recovery_action",
        "field.197": "gpumon_gpu_pcie_transmit_bytes_total",
    }
    with driver.batch():
        for key in gone:
            driver.unset(1, key)
        driver.deny(1, "field.144")
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        text = agent.metrics()
    exposition = Exposition(text)
    assert "NaN" not in text
    for metric in filter(None, [*gone.values(), "gpumon_gpu_row_remap_pending"]):
        assert exposition.all(metric, gpu="1") == {}, metric
        assert exposition.all(metric, gpu="0"), metric
    # Without a counter the joules are the integral of power, and say so.
    how = exposition.all("gpumon_gpu_energy_info", gpu="1", uuid=uuid(1))
    assert how == {(("method", "integral"), ("scope", "gpu")): 1}
    assert exposition.value("gpumon_gpu_energy_joules_total", gpu="1") is not None


MOST_SAMPLES = 80
"""Samples of one scrape of an idle node with eight H100s at the standard tier, divided by 8."""


def test_a_scrape_of_an_idle_node_keeps_to_its_budget(tmp_path: Path, driver: FakeDriver) -> None:
    """All samples count: of GPUs, the node, the agent itself and its processes."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        wait_for(
            lambda: "gpumon_gpu_sm_active_ratio" in agent.metrics(), 10, "the second GPM sample"
        )
        text = agent.metrics()
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert any("gpumon_reader_process_cpu" in line for line in samples)
    assert len(samples) / driver.gpus <= MOST_SAMPLES


def test_an_a100_answers_in_its_own_way(tmp_path: Path, library: Path) -> None:
    """No average power, no margin, no GPM: a sample, thresholds, and nothing."""
    driver = FakeDriver(tmp_path / "driver", profiles.a100(1), library=library)
    driver.set(0, "field.186", 58_400)
    driver.set(0, "temperature", 31)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        exposition = Exposition(agent.metrics())
    assert exposition.value("gpumon_gpu_power_watts", gpu="0") == 58.4
    # Thresholds of the A100: clocks fall at 85, are halved at 89.
    assert exposition.value("gpumon_gpu_temperature_margin_celsius", gpu="0") == 85 - 31
    assert exposition.all("gpumon_gpu_sm_active_ratio") == {}
    assert exposition.value("gpumon_gpu_nvlink_links", gpu="0") == 12


def test_an_old_driver_without_new_functions_is_read(tmp_path: Path) -> None:
    """Symbols that are missing cost what they would have told, and nothing else."""
    library = build_library(
        tmp_path / "old",
        omit=(
            "nvmlDeviceGetMarginTemperature",
            "nvmlDeviceGetTemperatureV",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlGpmQueryDeviceSupport",
            "nvmlDeviceGetSamples",
        ),
    )
    driver = FakeDriver(tmp_path / "driver", profiles.h100(1), library=library)
    driver.set(0, "clocks_event_reasons", 0x40 | 0x8)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        exposition = Exposition(agent.metrics())
    assert exposition.value("gpumon_gpu_temperature_celsius", gpu="0") == 29
    assert exposition.all("gpumon_gpu_temperature_margin_celsius") == {}
    assert exposition.value("gpumon_gpu_throttled", gpu="0", reason="hw_thermal") == 1
    # Without a buffer the reading itself is the only sample.
    assert exposition.value("gpumon_gpu_power_peak_watts", gpu="0") == 68.57


@pytest.mark.parametrize("name", captures.NAMES)
def test_a_real_capture_is_read_without_a_fault(tmp_path: Path, library: Path, name: str) -> None:
    """What real A100, H100, B200 and GB200 nodes answer, their N/As included."""
    captures.capture_path(name)
    driver = FakeDriver(tmp_path / "driver", captures.load(name), library=library)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        snapshot = agent.get("/api/v1/snapshot").json()
        log = agent.log
    assert snapshot["errors"] == []
    assert len(snapshot["gpus"]) == driver.gpus
    for gpu in snapshot["gpus"]:
        assert gpu["state"] == "ok"
        assert gpu["power_watts"] > 20
        assert gpu["temperature_margin_celsius"] > 20
        assert gpu["recovery_action"] in (None, "none")
        assert gpu["energy_info"]["scope"] == "gpu"
    assert "error" not in log


@pytest.mark.parametrize("version", [2, 1])
def test_where_in_its_rack_a_gpu_sits_is_told_in_every_place(
    tmp_path: Path, library: Path, version: int
) -> None:
    """A series of its own, also while it is lost; the check and the event say where to go."""
    driver = FakeDriver(tmp_path / "driver", profiles.gb200(2), library=library)
    with driver.batch():
        for name, value in (
            ("module_id", 2),
            ("chassis_serial", "1821324190042"),
            ("slot_number", 21),
            ("tray_index", 12),
            ("host_id", 1),
            ("peer_type", 1),
        ):
            driver.set(1, f"platform.{name}", value)
        if version == 1:
            driver.refuse_version("nvmlDeviceGetPlatformInfo", 0x200002C)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.lose(1)
        wait_for(
            lambda: Exposition(agent.metrics()).value("gpumon_gpu_up", gpu="1") == 0, 10, "the loss"
        )
        (facts,) = Exposition(agent.metrics()).all(
            "gpumon_gpu_platform_info", gpu="1", uuid=uuid(1)
        )
        assert dict(facts) == {
            "chassis_serial": "1821324190042",
            "slot": "21",
            "tray": "12",
            "host": "1",
            "module": "2",
            "peer": "switch",
        }
        assert not Exposition(agent.metrics()).all("gpumon_gpu_platform_info", gpu="0")
        argv = [sys.executable, "-m", "gpumon", "check", agent.url, "-o", "json"]
        checked = json.loads(subprocess.run(argv, capture_output=True, check=False).stdout)
    place = "(chassis 1821324190042, slot 21, tray 12, host 1, module 2)"
    assert any(place in verdict["evidence"] for verdict in checked["verdicts"])
    events = load_events(tmp_path / "state" / "state.db", 0, 1e12)
    assert [event.text.endswith(place) for event in events if event.kind == "state"] == [True]
