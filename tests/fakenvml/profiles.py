"""Machines written by hand, for tests and benchmarks that have no captures at hand.

Idle values of real boards (``nvidia-smi -q`` captures published in NVIDIA's k8s-test-infra,
NVML's header, public measurements); counters grow as an idle board's do. What a family does
not answer is absent: A100 has no average power, margin or GPM; only Grace has module power.
"""

from __future__ import annotations

from dataclasses import dataclass

from .machine import Machine, Value

MIB = 1 << 20
ALL_LINKS = 0xFFFFFFFF
"""Scope of an NVLink field that sums over the links."""

XID = 0x8
EVENT_TYPES_AMPERE = 0x8 | 0x2 | 0x1 | 0x100
EVENT_TYPES_HOPPER = EVENT_TYPES_AMPERE | 0x4000 | 0x8000


@dataclass(frozen=True)
class Model:
    """One kind of board at rest; watts, degrees Celsius, MHz, MiB."""

    name: str
    driver: str
    cuda: int
    architecture: int
    capability: tuple[int, int]
    pci_device_id: int
    pci_subsystem_id: int
    part_number: str
    vbios: str
    power: float
    memory_power: float | None
    limit: int
    limit_min: int
    temperature: int
    memory_temperature: int
    # Hopper on: degrees to the slowdown point, then offsets of shutdown and slowdown from it.
    # Before: absolute shutdown, slowdown, memory and GPU maximum.
    margin: tuple[int, int, int] | None
    thresholds: tuple[int, int, int, int] | None
    sm_clock: int
    sm_clock_max: int
    memory_clock: int
    video_clock: int
    video_clock_max: int
    memory: int
    memory_reserved: int
    bar1: int
    links: int
    link_version: int
    link_speed: int  # MB/s
    pcie: int
    pcie_gpu_max: int
    banks: int
    multiprocessors: int
    module_power: tuple[int, int, int] | None = None  # idle, limit, lowest limit
    gpus_per_node: int = 8


A100_SXM4_80 = Model(
    name="NVIDIA A100-SXM4-80GB", driver="570.148.08", cuda=12080, architecture=7,
    capability=(8, 0), pci_device_id=0x20B210DE, pci_subsystem_id=0x147F10DE,
    part_number="692-2G506-0210-003", vbios="92.00.45.00.06",
    power=58.4, memory_power=None, limit=400, limit_min=100,
    temperature=31, memory_temperature=34, margin=None, thresholds=(92, 89, 95, 85),
    sm_clock=210, sm_clock_max=1410, memory_clock=1593, video_clock=585, video_clock_max=1290,
    memory=81920, memory_reserved=600, bar1=131072, links=12, link_version=4,
    link_speed=25000, pcie=4, pcie_gpu_max=4, banks=640, multiprocessors=108,
)  # fmt: skip
H100_SXM5_80 = Model(
    name="NVIDIA H100 80GB HBM3", driver="580.105.08", cuda=13000, architecture=9,
    capability=(9, 0), pci_device_id=0x233010DE, pci_subsystem_id=0x16C110DE,
    part_number="692-2G520-0200-000", vbios="96.00.99.00.01",
    power=68.57, memory_power=32.98, limit=700, limit_min=200,
    temperature=29, memory_temperature=37, margin=(58, -8, -2), thresholds=None,
    sm_clock=345, sm_clock_max=1980, memory_clock=2619, video_clock=765, video_clock_max=1545,
    memory=81559, memory_reserved=480, bar1=131072, links=18, link_version=6,
    link_speed=26562, pcie=5, pcie_gpu_max=5, banks=2560, multiprocessors=132,
)  # fmt: skip
B200 = Model(
    name="NVIDIA B200", driver="580.105.08", cuda=13000, architecture=10,
    capability=(10, 0), pci_device_id=0x290110DE, pci_subsystem_id=0x199910DE,
    part_number="692-2G525-0220-500", vbios="97.00.FA.00.09",
    power=195.68, memory_power=22.33, limit=1000, limit_min=200,
    temperature=39, memory_temperature=39, margin=(49, -5, -3), thresholds=None,
    sm_clock=120, sm_clock_max=1965, memory_clock=3996, video_clock=600, video_clock_max=1965,
    memory=183359, memory_reserved=728, bar1=262144, links=18, link_version=7,
    link_speed=53125, pcie=5, pcie_gpu_max=5, banks=3840, multiprocessors=148,
)  # fmt: skip
GB200 = Model(
    name="NVIDIA GB200", driver="580.173.02", cuda=13000, architecture=10,
    capability=(10, 0), pci_device_id=0x294110DE, pci_subsystem_id=0x204610DE,
    part_number="900-2G548-A801-000", vbios="97.00.B9.00.69",
    power=165.93, memory_power=30.26, limit=1200, limit_min=200,
    temperature=27, memory_temperature=27, margin=(60, -5, -2), thresholds=None,
    sm_clock=120, sm_clock_max=2062, memory_clock=3996, video_clock=600, video_clock_max=2062,
    memory=189471, memory_reserved=742, bar1=262144, links=18, link_version=7,
    link_speed=53125, pcie=5, pcie_gpu_max=6, banks=3968, multiprocessors=152,
    module_power=(467, 2500, 500), gpus_per_node=4,
)  # fmt: skip


def a100(n: int = A100_SXM4_80.gpus_per_node) -> Machine:
    """A100 SXM4 80 GB boards, idle."""
    return machine(A100_SXM4_80, n)


def h100(n: int = H100_SXM5_80.gpus_per_node) -> Machine:
    """H100 SXM5 80 GB boards, idle."""
    return machine(H100_SXM5_80, n)


def b200(n: int = B200.gpus_per_node) -> Machine:
    """B200 SXM boards, idle."""
    return machine(B200, n)


def gb200(n: int = GB200.gpus_per_node) -> Machine:
    """GB200 boards, two to a Grace module, idle."""
    return machine(GB200, n)


def machine(model: Model, n: int) -> Machine:
    """``n`` boards of a model, alike but for their identity."""
    shared = dict(
        _board(model)
        | _power(model)
        | _temperature(model)
        | _activity(model)
        | _memory(model)
        | nvlink(model.links, model.link_version, model.link_speed, model.architecture)
        | _health(model)
    )
    if model.architecture >= 9:
        shared |= gpm_idle(model.links)
    system: dict[str, Value] = {
        "driver_version": model.driver,
        "nvml_version": f"{13 if model.cuda >= 13000 else 12}.{model.driver}",
        "cuda_version": model.cuda,
    }
    return Machine(system, shared, tuple(identity(index) for index in range(n)))


def identity(index: int) -> dict[str, Value]:
    """What tells one GPU of a machine from another; distinct up to 256 GPUs."""
    return {
        "uuid": f"GPU-{index + 1:08x}-0000-4000-8000-{index + 1:012x}",
        "serial": str(1650000000001 + index),
        "pdi": f"{0x1000000000000001 + index:#x}",
        "minor_number": index,
        # The module id is the position on the board: not the driver's order.
        "module_id": index // 8 * 8 + (index % 8 + 6) % 8 + 1,
        "pci_bus_id": f"{index // 16:08X}:{(0x10 + 0x0E * (index % 16)) & 0xFF:02X}:00.0",
    }


def _board(model: Model) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "name": model.name,
        "board_part_number": model.part_number,
        "vbios_version": model.vbios,
        "inforom_image_version": f"G{model.part_number[5:8]}.0200.00.05",
        "gsp_firmware_version": model.driver,
        "gsp_mode.enabled": 1,
        "gsp_mode.default": 1,
        "pci_device_id": f"{model.pci_device_id:#x}",
        "pci_subsystem_id": f"{model.pci_subsystem_id:#x}",
        "architecture": model.architecture,
        "brand": 14,
        "compute_capability.major": model.capability[0],
        "compute_capability.minor": model.capability[1],
        "persistence_mode": 1,
        "compute_mode": 0,
        "display_active": 0,
        "display_mode": "!26" if model.architecture >= 9 else 0,
        "accounting_mode": 0,
        "virtualization_mode": 0,
        "mig_mode.current": 0,
        "mig_mode.pending": 0,
        "max_mig_devices": 7,
        "supported_event_types": (
            EVENT_TYPES_HOPPER if model.architecture >= 9 else EVENT_TYPES_AMPERE
        ),
        "topology": 30,
        "attributes.multiprocessors": model.multiprocessors,
        "attributes.memory_mib": model.memory,
    }
    return facts | _fabric(model)


def _fabric(model: Model) -> dict[str, Value]:
    if model.architecture < 9:
        return {}
    facts: dict[str, Value] = {"fabric.state": 3, "fabric.status": 0, "fabric.clique": 0}
    if model.architecture >= 10:
        facts["fabric.health_summary"] = 1
    return facts


def _milliwatts(watts: float) -> int:
    return round(watts * 1000)


def _power(model: Model) -> dict[str, Value]:
    power = _milliwatts(model.power)
    facts: dict[str, Value] = {
        "power_usage": power,
        "power_management_mode": 1,
        "power_source": 0,
        "field.83": f"rate:{power}@123456789000",
        "field.186": power,
        "field.187": model.limit_min * 1000,
        "field.188": model.limit * 1000,
        "field.189": model.limit * 1000,
        "field.190": model.limit * 1000,
        "field.192": model.limit * 1000,
        "samples.0": f"auto:100000:{power - 300},{power},{power + 300},{power}",
    }
    if model.architecture >= 9:
        facts |= {"field.185": power, "field.274": 100}
    if model.memory_power is not None:
        facts["field.185.2"] = _milliwatts(model.memory_power)
    if model.module_power is not None:
        idle, limit, lowest = (_milliwatts(watts) for watts in model.module_power)
        facts |= {
            "field.185.1": idle,
            "field.186.1": idle,
            "field.187.1": lowest,
            "field.188.1": limit,
            "field.189.1": limit,
            "field.190.1": limit,
            "field.192.1": limit,
            "field.191.1": f"rate:{idle}@345678901000",
        }
    if model.architecture >= 10:  # power smoothing is there, for root
        facts |= {f"field.{field}": "!4" for field in range(251, 269)}
    return facts


def _temperature(model: Model) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "temperature": model.temperature,
        "field.82": model.memory_temperature,
    }
    if model.margin is not None:
        margin, shutdown, slowdown = model.margin
        facts |= {
            "margin_temperature": margin,
            "field.193": shutdown,
            "field.194": slowdown,
            "field.195": 0,
            "field.196": 0,
        }
    if model.thresholds is not None:
        facts |= {f"temperature_threshold.{i}": t for i, t in enumerate(model.thresholds)}
    return facts


def _activity(model: Model) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "utilization.gpu": 0,
        "utilization.memory": 0,
        "utilization_period_us": 167000,
        "encoder_utilization": 0,
        "decoder_utilization": 0,
        "jpg_utilization": 0,
        "ofa_utilization": 0,
        "clock.0": model.sm_clock,
        "clock.1": model.sm_clock,
        "clock.2": model.memory_clock,
        "clock.3": model.video_clock,
        "max_clock.0": model.sm_clock_max,
        "max_clock.1": model.sm_clock_max,
        "max_clock.2": model.memory_clock,
        "max_clock.3": model.video_clock_max,
        "max_boost_clock.0": model.sm_clock_max,
        "performance_state": 0,
        "clocks_event_reasons": "0x1",
        "supported_clocks_event_reasons": "0x1ff",
        "processes.compute": "",
        "processes.graphics": "",
        "processes.mps": "",
        "process_utilization": "",
        "field.74": 0,
        "field.76": 0,
    }
    if model.architecture >= 9:
        facts |= {f"field.{field}": 0 for field in (269, 270, 271)}
    return facts


def _memory(model: Model) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "memory.total": model.memory * MIB,
        "memory.reserved": model.memory_reserved * MIB,
        "memory.free": (model.memory - model.memory_reserved) * MIB,
        "memory.used": 0,
        "bar1.total": model.bar1 * MIB,
        "bar1.free": (model.bar1 - 1) * MIB,
        "bar1.used": MIB,
        "pcie.link_gen": model.pcie,
        "pcie.link_gen_max": model.pcie,
        "pcie.link_gen_gpu_max": model.pcie_gpu_max,
        "pcie.link_width": 16,
        "pcie.link_width_max": 16,
        "pcie.speed": 16000 * (1 << max(0, model.pcie - 4)),
        "pcie.throughput.0": 502,
        "pcie.throughput.1": 578,
        "field.94": 0,
        "field.95": 0,
    }
    if model.architecture >= 9:
        facts |= {"field.197": "rate:512000@1000000000", "field.198": "rate:589000@2000000000"}
        facts |= {f"field.{field}": 0 for field in (169, *range(173, 184))}
    return facts


def nvlink(links: int, version: int, speed: int, architecture: int) -> dict[str, Value]:
    """NVLink facts: state, speed (MB/s), KiB counters and errors of each link, and the sums."""
    facts: dict[str, Value] = {
        "field.91": links,
        "field.90": speed,
        "field.147": links,
    }
    scopes = [*range(links), ALL_LINKS]
    for link in range(links):
        facts |= {
            f"field.165.{link}": 1,
            f"field.166.{link}": version,
            f"field.164.{link}": speed,
            f"field.167.{link}": 0,
        }
    for scope in scopes:
        facts |= {f"field.{field}.{scope}": 0 for field in (138, 139, 140, 141)}
        if architecture >= 10:
            facts |= {f"field.{field}.{scope}": 0 for field in range(201, 216)}
            facts |= {f"field.{field}.{scope}": 0 for field in (219, 221)}
        else:
            facts |= {f"field.{field}.{scope}": 0 for field in (161, 162, 163)}
    if architecture < 10:
        facts |= {f"field.{field}": 0 for field in (38, 45, 52, 59, 160)}
        for link in range(links):
            facts |= {f"nvlink.errors.{link}.{counter}": 0 for counter in range(5)}
    return facts


def _health(model: Model) -> dict[str, Value]:
    facts: dict[str, Value] = {f"field.{field}": 0 for field in (3, 4, 5, 6)}
    facts |= {"field.1": 1, "field.2": 1}
    for error in (0, 1):
        for counter in (0, 1):
            for location in (2, 7):
                facts[f"ecc.{error}.{counter}.{location}"] = 0
    facts |= {f"field.{field}": 0 for field in (142, 143, 144, 145)}
    facts |= {
        "row_remapper.max": model.banks,
        "row_remapper.high": 0,
        "row_remapper.partial": 0,
        "row_remapper.low": 0,
        "row_remapper.none": 0,
        "sram.aggregate_parity": "!4",
        "field.230": 0,
    }
    return facts


def gpm_idle(links: int) -> dict[str, Value]:
    """GPM metrics of an idle GPU: percentages and MiB/s, all zero, but there."""
    ids = [*range(1, 14), 20, 21, 60, 61, *range(62, 62 + 2 * links)]
    facts: dict[str, Value] = {f"gpm.{metric}": 0 for metric in ids}
    return facts | {"gpm_supported": 1}
