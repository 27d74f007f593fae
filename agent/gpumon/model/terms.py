"""The words of the field: states, reasons, actions, and the small facts a reading is made of."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import NamedTuple


class GpuState(str, enum.Enum):
    """Whether a GPU can be read, and if not, why."""

    OK = "ok"
    LOST = "lost"
    HUNG = "hung"
    RESET_REQUIRED = "reset_required"
    ERROR = "error"
    RELEASED = "released"


GPU_STATES = tuple(state.value for state in GpuState)

THROTTLE_REASONS = {
    "applications_clocks": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal": 0x20,
    "hw_thermal": 0x40,
    "hw_power_brake": 0x80,
    "display_clocks": 0x100,
}
"""Reasons that hold a clock down and their bits (nvml.h: nvmlClocksEventReason*).

Bit 0x1, GpuIdle, is not among them: an idle GPU is not held back.
"""

RECOVERY_ACTIONS = (
    "none",
    "gpu_reset",
    "node_reboot",
    "drain_p2p",
    "drain_and_reset",
    "recover_imex_domain",
    "bus_reset",
    "system_reboot",
    "unknown",
)
"""What the driver asks for, in the order of its codes (nvml.h: field 230); ``unknown`` is a demand
that is newer than this table."""

ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
"""Names of nvmlDeviceArchitecture_t."""


def throttle_reasons(mask: int) -> frozenset[str]:
    """Name the reasons whose bits are set in a clocks-event mask."""
    return frozenset(name for name, bit in THROTTLE_REASONS.items() if mask & bit)


def recovery_action(code: int) -> str:
    """Name the driver's recovery action."""
    return RECOVERY_ACTIONS[min(code, len(RECOVERY_ACTIONS) - 1)]


def active_links(states: Sequence[int]) -> int:
    """Count the NVLinks that are up (field 165: 1 active, 2 asleep for want of traffic)."""
    return sum(state in (1, 2) for state in states)


@dataclasses.dataclass(frozen=True, slots=True)
class GpuIdentity:
    """What does not change while a GPU stays in its slot.

    ``uuid`` is the identity; ``index`` is NVML's, for people, and may change over a reboot.
    ``minor_number`` is N of /dev/nvidiaN, which is what Slurm counts by.
    """

    index: int
    uuid: str
    name: str = ""
    architecture: str = ""
    serial: str = ""
    pci_bus_id: str = ""
    module_id: int | None = None
    board_part_number: str = ""
    vbios_version: str = ""
    minor_number: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class EnergyInfo:
    """How the joules of a GPU are known.

    ``method``: ``counter`` (the device's own) or ``integral`` (of its power readings). ``scope``:
    ``gpu``, or ``module`` where a Grace module answers for its CPU and GPUs together.
    """

    method: str
    scope: str = "gpu"


class PowerSample(NamedTuple):
    """Power at an instant: unix time in seconds of the source's clock, watts."""

    time: float
    watts: float
