"""What is simulated: one row of numbers for each GPU model.

Clocks, limits, sizes and idle power are those that ``nvidia-smi -q -x`` shows on real boards (the
captures in NVIDIA/k8s-test-infra); the rest is marked. *Assumed* are the coefficients of the power
model, chosen so that a dense matrix product at the highest clock wants 1.0-1.1 x the default
limit (A100), 1.15-1.3 x (Hopper) or 1.4-1.6 x (Blackwell), and the thermal constants: none are
published, only end points such as 990 W -> 56 degrees at a 20 degree inlet (B200, air).
"""

from __future__ import annotations

import dataclasses

from gpumon.errors import UsageError, hint

MIB = 1024 * 1024
GIGA = 1_000_000_000

NVLINK_ERROR_KINDS = {
    3: ("replay", "recovery", "crc"),
    4: ("replay", "recovery", "crc"),
    5: (
        "recovery",
        "recovery_failed",
        "malformed_packet",
        "buffer_overrun",
        "receive",
        "integrity",
        "effective",
        "symbol",
    ),
}
"""The error counters that each NVLink version answers for: 161-163 end with version 4."""


@dataclasses.dataclass(frozen=True)
class PowerModel:
    """Coefficients of a GPU's power, in watts at 40 degrees and the highest clock.

    ``context`` is what an attached process costs, the others what an activity of 1 adds.
    ``dram_idle`` is the part of ``idle`` that the memory's own sensor shows (nvidia-smi captures;
    H200's is assumed to be H100's), None if there is no such sensor.
    """

    idle: float
    context: float
    dram: float
    sm: float
    tensor: float
    dram_idle: float | None = None


@dataclasses.dataclass(frozen=True)
class ThermalModel:
    """How heat leaves a GPU, and the temperatures at which something happens, in degrees Celsius.

    ``resistance`` is kelvins per watt from inlet to die; ``fast_seconds`` is the time constant of
    die and lid, ``slow_seconds`` that of heat sink or cold plate. ``odd_slot`` is what the GPUs of
    the second row get warmer for standing in the first row's air.
    """

    inlet: float
    resistance: float
    fast_seconds: float
    slow_seconds: float
    odd_slot: float
    max_operating: float
    slowdown: float
    shutdown: float
    memory_max: float = 95.0  # A100's; assumed for the others, whose drivers say only an offset


@dataclasses.dataclass(frozen=True)
class GpuModel:
    """A GPU model; clocks in MHz, power in watts, memory in MiB, bandwidths in bytes a second."""

    key: str
    name: str
    architecture: str
    limit_min: float
    limit_default: float
    limit_max: float
    sm_clock: int
    sm_clock_idle: int
    memory_clock: int
    memory_mib: int
    reserved_mib: int
    nvlink_version: int
    nvlinks: int
    nvlink_bandwidth: float
    pcie_generation: int
    power: PowerModel
    thermal: ThermalModel
    bus_ids: tuple[str, ...]
    part_number: str
    vbios: str

    @property
    def pcie_bandwidth(self) -> float:
        """Bytes a second that 16 lanes carry each way: 32 GB/s in generation 4, then double."""
        return 32 * GIGA * 2.0 ** (self.pcie_generation - 4)

    @property
    def averages_power(self) -> bool:
        """Whether power is a mean over a second; GA100 has only a 25 ms sample (nvml.h)."""
        return self.architecture != "Ampere"

    @property
    def remap_banks(self) -> int:
        """Banks of memory with spare rows, as seen on healthy boards (A100 of 40 GB: 640)."""
        return {"Ampere": 640, "Hopper": 2560}.get(self.architecture, 3840)

    @property
    def has_gpm(self) -> bool:
        """Whether the driver offers performance monitoring (Hopper and later)."""
        return self.architecture != "Ampere"


_DGX_A100 = ("07", "0F", "47", "4E", "87", "90", "B7", "BD")
_GB200_DOMAINS = ("00000008", "00000009", "00000018", "00000019")
_DGX_H100 = ("1B", "43", "52", "61", "9D", "C3", "D1", "DF")


def _boards(buses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"00000000:{bus}:00.0" for bus in buses)


MODELS = {
    model.key: model
    for model in (
        GpuModel(
            key="A100",
            name="NVIDIA A100-SXM4-80GB",
            architecture="Ampere",
            limit_min=100.0,
            limit_default=400.0,
            limit_max=400.0,
            sm_clock=1410,
            sm_clock_idle=210,
            memory_clock=1593,
            memory_mib=81920,
            reserved_mib=600,
            nvlink_version=3,
            nvlinks=12,
            nvlink_bandwidth=12 * 25.0 * GIGA,
            pcie_generation=4,
            power=PowerModel(idle=61, context=30, dram=120, sm=80, tensor=210),
            thermal=ThermalModel(
                inlet=25,
                resistance=0.085,
                fast_seconds=2.5,
                slow_seconds=50,
                odd_slot=3.5,
                max_operating=85,
                slowdown=89,
                shutdown=92,
            ),
            bus_ids=_boards(_DGX_A100),
            part_number="692-2G506-0212-002",  # assumed: the form of one
            vbios="92.00.9E.00.01",  # assumed: the form of one
        ),
        GpuModel(
            key="H100",
            name="NVIDIA H100 80GB HBM3",
            architecture="Hopper",
            limit_min=200.0,
            limit_default=700.0,
            limit_max=700.0,
            sm_clock=1980,
            sm_clock_idle=345,
            memory_clock=2619,
            memory_mib=81559,
            reserved_mib=480,
            nvlink_version=4,
            nvlinks=18,
            nvlink_bandwidth=18 * 26.56 * GIGA,
            pcie_generation=5,
            # 68.6 W idle at 29 degrees in one capture, 101 W in another: the former's.
            power=PowerModel(idle=73.5, context=45, dram=200, sm=120, tensor=480, dram_idle=33),
            thermal=ThermalModel(
                inlet=25,
                resistance=0.055,
                fast_seconds=2.5,
                slow_seconds=50,
                odd_slot=3.5,
                max_operating=87,
                slowdown=89,
                shutdown=95,
            ),
            bus_ids=_boards(_DGX_H100),
            part_number="692-2G520-0200-000",
            vbios="96.00.89.00.01",
        ),
        GpuModel(
            key="H200",
            name="NVIDIA H200",
            architecture="Hopper",
            limit_min=200.0,
            limit_default=700.0,
            limit_max=700.0,
            sm_clock=1980,
            sm_clock_idle=345,
            memory_clock=3201,
            memory_mib=143771,
            reserved_mib=600,  # assumed
            nvlink_version=4,
            nvlinks=18,
            nvlink_bandwidth=18 * 26.56 * GIGA,
            pcie_generation=5,
            # The die is H100's; its larger, faster memory is assumed to draw a fifth more.
            power=PowerModel(idle=80, context=45, dram=240, sm=120, tensor=480, dram_idle=33),
            thermal=ThermalModel(
                inlet=25,
                resistance=0.055,
                fast_seconds=2.5,
                slow_seconds=50,
                odd_slot=3.5,
                max_operating=87,
                slowdown=89,
                shutdown=95,
            ),
            bus_ids=_boards(_DGX_H100),
            part_number="692-2G520-0280-000",  # assumed: the form of one
            vbios="96.00.B7.00.01",  # assumed: the form of one
        ),
        GpuModel(
            key="B200",
            name="NVIDIA B200",
            architecture="Blackwell",
            limit_min=200.0,
            limit_default=1000.0,
            limit_max=1000.0,
            sm_clock=1965,
            sm_clock_idle=120,
            memory_clock=3996,
            memory_mib=183359,
            reserved_mib=728,
            nvlink_version=5,
            nvlinks=18,
            nvlink_bandwidth=18 * 53.125 * GIGA,
            pcie_generation=5,
            # 187-204 W idle at 31-39 degrees.
            power=PowerModel(idle=204, context=60, dram=380, sm=150, tensor=1000, dram_idle=25),
            thermal=ThermalModel(
                inlet=25,
                resistance=0.0365,
                fast_seconds=2.5,
                slow_seconds=50,
                odd_slot=3.5,
                max_operating=88,
                slowdown=91,
                shutdown=93,
            ),
            bus_ids=_boards(_DGX_H100),
            part_number="692-2G525-0200-000",  # assumed: the form of one
            vbios="97.00.88.00.0F",  # assumed: the form of one
        ),
        GpuModel(
            key="GB200",
            name="NVIDIA GB200",
            architecture="Blackwell",
            limit_min=200.0,  # assumed: B200's
            limit_default=1200.0,
            limit_max=1200.0,
            sm_clock=2062,
            sm_clock_idle=120,
            memory_clock=3996,
            memory_mib=189471,
            reserved_mib=742,
            nvlink_version=5,
            nvlinks=18,
            nvlink_bandwidth=18 * 53.125 * GIGA,
            pcie_generation=5,
            power=PowerModel(idle=180, context=60, dram=400, sm=180, tensor=1150, dram_idle=30),
            thermal=ThermalModel(
                inlet=22,  # coolant: 166 W idle at 27 degrees
                resistance=0.03,
                fast_seconds=2.5,
                slow_seconds=10,
                odd_slot=0,
                max_operating=87,
                slowdown=89,
                shutdown=92,
            ),
            # Two Grace modules of two GPUs, each GPU the root of a PCI domain of its own.
            bus_ids=tuple(f"{domain}:01:00.0" for domain in _GB200_DOMAINS),
            part_number="699-2G548-1201-800",  # assumed: the form of one
            vbios="97.00.82.00.20",  # assumed: the form of one
        ),
    )
}


def find_model(key: str) -> GpuModel:
    """Return the model of a name, upper or lower case; UsageError names the known ones."""
    model = MODELS.get(key.upper())
    if model is None:
        known = tuple(MODELS)
        raise UsageError(
            f"sim: unknown GPU {key!r}", f"known are {', '.join(known)}{hint(key.upper(), known)}"
        )
    return model
