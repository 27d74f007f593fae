"""Machines from real ``nvidia-smi -q -x`` output: what the driver of a real node answers.

What the XML shows is a fact; ``N/A`` and deprecated entries are absent; "Insufficient
Permissions" answers NO_PERMISSION. Captures are anonymised: every GPU has the same UUID and
serial there, so those are made distinct here. The XML says nothing of NVLink, GPM and the
energy counter: those come from the hand-written profile of the same family.
"""

from __future__ import annotations

import gzip
import os
import xml.etree.ElementTree as ET
from pathlib import Path

from . import profiles
from .machine import Machine, Value

NAMES = ("a100", "h100", "b200", "gb200")

_ROOT = Path(__file__).resolve().parents[2]

_ARCHITECTURES = {"Ampere": (7, 8), "Hopper": (9, 9), "Blackwell": (10, 10)}
_FAMILIES = {
    "a100": profiles.A100_SXM4_80,
    "h100": profiles.H100_SXM5_80,
    "b200": profiles.B200,
    "gb200": profiles.GB200,
}
# In this order the bits of a clock event reason, then of the supported ones.
_REASONS = {
    "gpu_idle": 0x1,
    "applications_clocks_setting": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
    "display_clocks_setting": 0x100,
}
_REASON_TIMES = {
    "sw_power_cap": 74,
    "sync_boost": 76,
    "sw_therm_slowdown": 269,
    "hw_therm_slowdown": 270,
    "hw_power_brake": 271,
}
_ECC = {  # (error, location) of GetMemoryErrorCounter: 0 corrected, 1 not; 2 DRAM, 7 SRAM
    "sram_correctable": (0, 7),
    "dram_correctable": (0, 2),
    "dram_uncorrectable": (1, 2),
}
_RECOVERY = ["None", "Reset", "Reboot", "Drain P2P", "Drain and Reset"]
_FABRIC_STATES = ["Not Supported", "Not Started", "In Progress", "Completed"]
_FABRIC_SUMMARIES = {"Healthy": 1, "Unhealthy": 2, "Limited Capacity": 3}


def data_directory() -> Path:
    """Where the recordings are: ``GPUMON_TEST_DATA``, else ``../shared/data``."""
    configured = os.environ.get("GPUMON_TEST_DATA")
    return Path(configured) if configured else _ROOT.parent / "shared" / "data"


def capture_path(name: str) -> Path:
    """The capture of a family in :data:`NAMES`; it may not be there."""
    return data_directory() / "nvidia-smi-q" / f"qx-{name}.xml.gz"


def load(name: str) -> Machine:
    """The machine of a capture: ``a100`` (1 GPU), ``h100`` (8), ``b200`` (8), ``gb200`` (4)."""
    with gzip.open(capture_path(name)) as file:
        root = ET.parse(file).getroot()
    driver = root.findtext("driver_version", "")
    major, minor = root.findtext("cuda_version", "0.0").split(".")
    system: dict[str, Value] = {
        "driver_version": driver,
        "nvml_version": f"{major}.{driver}",
        "cuda_version": int(major) * 1000 + int(minor) * 10,
    }
    gpus = [_gpu(element, index) for index, element in enumerate(root.findall("gpu"))]
    return Machine(system, _beyond_xml(name), tuple(gpus))


def _beyond_xml(name: str) -> dict[str, Value]:
    model = _FAMILIES[name]
    full = profiles.machine(model, 0).shared
    keys = [
        "field.83", "field.191.1", "field.197", "field.198", "samples.0", "gsp_mode.enabled",
        "gsp_mode.default", "max_mig_devices", "supported_event_types", "topology",
        "utilization_period_us", "processes.graphics", "processes.mps", "process_utilization",
        "attributes.multiprocessors", "attributes.memory_mib", "brand",
    ]  # fmt: skip
    facts = {key: full[key] for key in keys if key in full}
    facts |= profiles.nvlink(model.links, model.link_version, model.link_speed, model.architecture)
    if model.architecture >= 9:
        facts |= profiles.gpm_idle(model.links)
    return facts


class _Node:
    """An XML element read by path; absent, "N/A" and deprecated are None."""

    def __init__(self, element: ET.Element) -> None:
        self.element = element

    def text(self, path: str) -> str | None:
        text = (self.element.findtext(path) or "").strip()
        if text in ("", "N/A", "None", "Insufficient Permissions"):
            return None
        return None if "deprecated" in text else text

    def number(self, path: str) -> float | None:
        """The leading number of ``68.57 W``, ``16x``, ``2560 bank(s)``."""
        text = self.text(path)
        return None if text is None else float(text.split()[0].rstrip("x%"))

    def integer(self, path: str, scale: int = 1) -> int | None:
        number = self.number(path)
        return None if number is None else round(number * scale)

    def flag(self, path: str) -> int | None:
        text = self.text(path)
        return None if text is None else int(text in ("Enabled", "Yes", "Active"))


def _gpu(element: ET.Element, index: int) -> dict[str, Value]:
    node = _Node(element)
    facts: dict[str, Value | None] = {}
    for part in (_identity, _power, _temperature, _activity, _memory, _pcie, _health, _fabric):
        facts |= part(node)
    unique = profiles.identity(index)
    facts |= {key: unique[key] for key in ("uuid", "serial")}
    if facts.get("pdi") is not None:
        facts["pdi"] = unique["pdi"]
    return {key: value for key, value in facts.items() if value is not None}


def _identity(node: _Node) -> dict[str, Value | None]:
    architecture = _ARCHITECTURES.get(node.text("product_architecture") or "")
    deprecated = "deprecated" in (node.element.findtext("display_mode") or "")
    platform: dict[str, Value | None] = {}
    if node.text("platformInfo/host_id") is not None:
        platform = {
            "platform.module_id": node.integer("platformInfo/module_id"),
            "platform.ib_guid": node.text("platformInfo/gpu_fabric_guid"),
            "platform.chassis_serial": node.text("platformInfo/chassis_serial_number"),
            "platform.slot_number": node.integer("platformInfo/slot_number"),
            "platform.tray_index": node.integer("platformInfo/tray_index"),
            "platform.host_id": node.integer("platformInfo/host_id"),
            "platform.peer_type": 1,
        }
    return platform | {
        "name": node.text("product_name"),
        "architecture": architecture and architecture[0],
        "compute_capability.major": architecture and architecture[1],
        "compute_capability.minor": architecture and 0,
        "minor_number": node.integer("minor_number"),
        "vbios_version": node.text("vbios_version"),
        "board_part_number": node.text("board_part_number"),
        "board_id": node.text("board_id"),
        "module_id": node.integer("platformInfo/module_id"),
        "pdi": node.text("pdi"),
        "inforom_image_version": node.text("inforom_version/img_version"),
        "gsp_firmware_version": node.text("gsp_firmware_version"),
        "pci_bus_id": node.text("pci/pci_bus_id"),
        "pci_device_id": f"0x{node.text('pci/pci_device_id')}",
        "pci_subsystem_id": f"0x{node.text('pci/pci_sub_system_id')}",
        "persistence_mode": node.flag("persistence_mode"),
        "accounting_mode": node.flag("accounting_mode"),
        "display_active": node.flag("display_active"),
        "display_mode": "!26" if deprecated else node.flag("display_mode"),
        "compute_mode": {"Default": 0, "Prohibited": 2}.get(node.text("compute_mode") or ""),
        "virtualization_mode": {"Pass-Through": 1}.get(
            node.text("gpu_virtualization_mode/virtualization_mode") or "", 0
        ),
        "addressing_mode": {"HMM": 1, "ATS": 2}.get(node.text("addressing_mode") or "", 0),
        "c2c_mode": node.flag("c2c_mode"),
        "mig_mode.current": node.flag("mig_mode/current_mig"),
        "mig_mode.pending": node.flag("mig_mode/pending_mig"),
        "processes.compute": "",
    }


def _power(node: _Node) -> dict[str, Value | None]:
    facts: dict[str, Value | None] = {}
    limits = {"min": 187, "max": 188, "default": 189, "current": 190, "requested": 192}
    for scope, group in enumerate(("gpu", "module", "gpu_memory")):
        path = f"{group}_power_readings"
        facts[f"field.185.{scope}"] = node.integer(f"{path}/average_power_draw", 1000)
        facts[f"field.186.{scope}"] = node.integer(f"{path}/instant_power_draw", 1000)
        for limit, field in limits.items():
            facts[f"field.{field}.{scope}"] = node.integer(f"{path}/{limit}_power_limit", 1000)
    if node.element.findtext("power_smoothing") == "Insufficient Permissions":
        facts |= {f"field.{field}": "!4" for field in range(251, 269)}
    return facts


def _temperature(node: _Node) -> dict[str, Value | None]:
    path = "temperature/gpu_temp"
    return {
        "temperature": node.integer(path),
        "margin_temperature": node.integer(f"{path}_tlimit"),
        "field.82": node.integer("temperature/memory_temp"),
        "field.193": node.integer(f"{path}_max_tlimit_threshold"),
        "field.194": node.integer(f"{path}_slow_tlimit_threshold"),
        "field.195": node.integer(f"{path}_max_mem_tlimit_threshold"),
        "field.196": node.integer(f"{path}_max_gpu_tlimit_threshold"),
        "temperature_threshold.0": node.integer(f"{path}_max_threshold"),
        "temperature_threshold.1": node.integer(f"{path}_slow_threshold"),
        "temperature_threshold.2": node.integer(f"{path}_max_mem_threshold"),
        "temperature_threshold.3": node.integer(f"{path}_max_gpu_threshold"),
        "fan_speed": node.integer("fan_speed"),
    }


def _activity(node: _Node) -> dict[str, Value | None]:
    facts: dict[str, Value | None] = {
        "utilization.gpu": node.integer("utilization/gpu_util"),
        "utilization.memory": node.integer("utilization/memory_util"),
        "encoder_utilization": node.integer("utilization/encoder_util"),
        "decoder_utilization": node.integer("utilization/decoder_util"),
        "jpg_utilization": node.integer("utilization/jpeg_util"),
        "ofa_utilization": node.integer("utilization/ofa_util"),
        "performance_state": int((node.text("performance_state") or "P32")[1:]),
        "max_boost_clock.0": node.integer("max_customer_boost_clocks/graphics_clock"),
        "application_clock.0": node.integer("applications_clocks/graphics_clock"),
        "application_clock.2": node.integer("applications_clocks/mem_clock"),
    }
    for domain, name in enumerate(("graphics", "sm", "mem", "video")):
        facts[f"clock.{domain}"] = node.integer(f"clocks/{name}_clock")
        facts[f"max_clock.{domain}"] = node.integer(f"max_clocks/{name}_clock")
    active = supported = 0
    for reason, bit in _REASONS.items():
        flag = node.flag(f"clocks_event_reasons/clocks_event_reason_{reason}")
        supported |= bit if flag is not None else 0
        active |= bit if flag else 0
    facts["clocks_event_reasons"] = f"{active:#x}"
    facts["supported_clocks_event_reasons"] = f"{supported:#x}"
    path = "clocks_event_reasons_counters/clocks_event_reasons_counters_"
    for reason, field in _REASON_TIMES.items():  # us in the XML, ns in NVML
        facts[f"field.{field}"] = node.integer(f"{path}{reason}", 1000)
    return facts


def _memory(node: _Node) -> dict[str, Value | None]:
    facts: dict[str, Value | None] = {}
    for part in ("total", "reserved", "used", "free"):
        facts[f"memory.{part}"] = node.integer(f"fb_memory_usage/{part}", profiles.MIB)
        if part != "reserved":
            facts[f"bar1.{part}"] = node.integer(f"bar1_memory_usage/{part}", profiles.MIB)
    return facts


def _pcie(node: _Node) -> dict[str, Value | None]:
    generation, width = "pci/pci_gpu_link_info/pcie_gen", "pci/pci_gpu_link_info/link_widths"
    return {
        "pcie.link_gen": node.integer(f"{generation}/current_link_gen"),
        "pcie.link_gen_max": node.integer(f"{generation}/max_link_gen"),
        "pcie.link_gen_gpu_max": node.integer(f"{generation}/max_device_link_gen"),
        "pcie.link_width": node.integer(f"{width}/current_link_width"),
        "pcie.link_width_max": node.integer(f"{width}/max_link_width"),
        "pcie.throughput.0": node.integer("pci/tx_util"),
        "pcie.throughput.1": node.integer("pci/rx_util"),
        "field.94": node.integer("pci/replay_counter"),
        "field.95": node.integer("pci/replay_rollover_counter"),
    }


def _health(node: _Node) -> dict[str, Value | None]:
    facts: dict[str, Value | None] = {
        "field.1": node.flag("ecc_mode/current_ecc"),
        "field.2": node.flag("ecc_mode/pending_ecc"),
        "field.142": node.integer("remapped_rows/remapped_row_corr"),
        "field.143": node.integer("remapped_rows/remapped_row_unc"),
        "field.144": node.flag("remapped_rows/remapped_row_pending"),
        "field.145": node.flag("remapped_rows/remapped_row_failure"),
        "field.301": node.integer("remapped_rows/remapped_row_corr_inactive"),
        "field.302": node.integer("remapped_rows/remapped_row_unc_inactive"),
        "repair.channel": node.flag("ecc_errors/channel_repair_pending"),
        "repair.tpc": node.flag("ecc_errors/tpc_repair_pending"),
        "unrepairable_memory": node.flag("ecc_errors/unrepairable_memory"),
    }
    for rows in ("max", "high", "partial", "low", "none"):
        path = f"remapped_rows/row_remapper_histogram/row_remapper_histogram_{rows}"
        facts[f"row_remapper.{rows}"] = node.integer(path)
    action = node.element.findtext("gpu_recovery_action")
    if action in _RECOVERY:
        facts["field.230"] = _RECOVERY.index(action)
    for counter, group in enumerate(("volatile", "aggregate")):
        facts |= _ecc(node, counter, group)
    facts |= _sram(node)
    return facts


def _ecc(node: _Node, counter: int, group: str) -> dict[str, Value | None]:
    path = f"ecc_errors/{group}"
    facts: dict[str, Value | None] = {
        f"ecc.{error}.{counter}.{location}": node.integer(f"{path}/{name}")
        for name, (error, location) in _ECC.items()
    }
    parity = node.integer(f"{path}/sram_uncorrectable_parity")
    secded = node.integer(f"{path}/sram_uncorrectable_secded")
    if parity is None or secded is None:
        return facts
    facts[f"ecc.1.{counter}.7"] = parity + secded
    for error in (0, 1):
        parts = [facts[f"ecc.{error}.{counter}.{location}"] for location in (2, 7)]
        facts[f"field.{3 + error + 2 * counter}"] = sum(int(p) for p in parts if p is not None)
    return facts


def _sram(node: _Node) -> dict[str, Value | None]:
    facts: dict[str, Value | None] = {}
    for group in ("volatile", "aggregate"):
        path = f"ecc_errors/{group}"
        facts[f"sram.{group}_parity"] = node.integer(f"{path}/sram_uncorrectable_parity")
        facts[f"sram.{group}_secded"] = node.integer(f"{path}/sram_uncorrectable_secded")
        facts[f"sram.{group}_corrected"] = node.integer(f"{path}/sram_correctable")
    path = "ecc_errors/aggregate_uncorrectable_sram_sources/sram_"
    sources = {"l2": "l2", "sm": "sm", "pcie": "pcie", "mcu": "microcontroller", "other": "other"}
    for bucket, name in sources.items():
        facts[f"sram.bucket_{bucket}"] = node.integer(f"{path}{name}")
    threshold = "ecc_errors/aggregate/sram_threshold_exceeded"
    facts["sram.threshold_exceeded"] = node.flag(threshold)
    return facts


def _fabric(node: _Node) -> dict[str, Value | None]:
    state = node.text("fabric/state")
    if state is None:
        return {}
    health = 0
    # Two bits each: 0 not supported, 1 true, 2 false.
    checks = ("bandwidth", "route_recovery_in_progress", "route_unhealthy")
    for shift, check in zip((0, 2, 4, 6), (*checks, "access_timeout_recovery"), strict=True):
        answer = node.text(f"fabric/health/{check}")
        health |= {"True": 1, "False": 2}.get(answer or "", 0) << shift
    return {
        "fabric.state": _FABRIC_STATES.index(state),
        "fabric.status": 0 if node.text("fabric/status") == "Success" else 999,
        "fabric.clique": node.integer("fabric/cliqueId"),
        "fabric.uuid": node.text("fabric/clusterUuid"),
        "fabric.health_mask": f"{health:#x}",
        "fabric.health_summary": _FABRIC_SUMMARIES.get(node.text("fabric/health/summary") or "", 0),
    }
