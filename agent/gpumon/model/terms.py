"""The words of the field: states, reasons, actions, and the small facts a reading is made of."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple


class GpuState(str, enum.Enum):
    """Whether a GPU can be read, and if not, why."""

    OK = "ok"
    LOST = "lost"
    HUNG = "hung"
    RESET_REQUIRED = "reset_required"
    ERROR = "error"
    RELEASED = "released"


GPU_STATES = tuple(state.value for state in GpuState)

NOT_ANSWERED_YET = "it has not answered yet"
"""The reason of an ``error`` that is none yet: the GPU was asked a moment ago."""

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

ENERGY_SUSPICIONS = ("diverging", "stuck", "jump")
"""What can be wrong with a device's energy counter."""

FABRIC_STATES = ("not_started", "in_progress", "completed")
"""How far a GPU has come in joining its fabric (nvml.h: NVML_GPU_FABRIC_STATE_*, from 1)."""

FABRIC_COMPLETED = 3

_FABRIC_CONDITIONS = {
    "degraded_bandwidth": (0, 3),
    "route_recovery": (2, 3),
    "route_unhealthy": (4, 3),
    "access_timeout_recovery": (6, 3),
}
"""Shift and width of what may be wrong in the health mask: 1 is true, 2 false, 0 not supported
(nvml.h: NVML_GPU_FABRIC_HEALTH_MASK_*)."""

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


def link_is_up(state: int) -> bool:
    """Tell whether an NVLink's state (field 165) is up."""
    return active_links([state]) == 1


def mig_mode(modes: Sequence[int]) -> bool:
    """Tell whether a GPU is divided now, from the modes now and after the next reset."""
    return modes[0] == 1


def fabric_state(info: Any) -> str | None:
    """Name how far a GPU has come in joining its fabric; None where there is none to join."""
    return FABRIC_STATES[info.state - 1] if 1 <= info.state <= len(FABRIC_STATES) else None


def fabric_status(info: Any) -> int | None:
    """Return the outcome of joining the fabric; it means nothing before that is completed."""
    return int(info.status) if info.state == FABRIC_COMPLETED else None


def fabric_info(info: Any) -> FabricInfo | None:
    """Return where in which fabric a GPU stands, once it has joined it."""
    if info.state != FABRIC_COMPLETED:
        return None
    return FabricInfo(str(uuid.UUID(bytes=bytes(info.clusterUuid))), info.cliqueId)


def fabric_health(info: Any) -> dict[str, bool] | None:
    """Return which conditions make the fabric unfit, of those that the GPU can tell.

    Of an incorrect configuration the mask gives the reason; here it is one condition. Joining may
    have failed although it is completed: that is the status. None where nothing is told.
    """
    mask = info.healthMask
    told = {name: mask >> shift & width for name, (shift, width) in _FABRIC_CONDITIONS.items()}
    held = {name: value == 1 for name, value in told.items() if value}
    configuration, manager = mask >> 8 & 15, mask >> 14 & 3
    if configuration:
        held["incorrect_configuration"] = configuration != 1
    if manager:
        held["manager_disconnected"] = manager != 1
    if info.state == FABRIC_COMPLETED:
        held["join_failed"] = info.status != 0
    return held or None


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


@dataclasses.dataclass(frozen=True, slots=True)
class MigIdentity:
    """What a MIG instance is: ``mig_uuid`` (``MIG-…``) is the identity, ``profile`` as 1g.10gb."""

    mig_uuid: str
    profile: str
    gpu_instance: int
    compute_instance: int


@dataclasses.dataclass(frozen=True, slots=True)
class MigEnergyInfo:
    """How a GPU's joules are divided among its instances: ``sm_activity`` or ``sm_share``."""

    method: str


@dataclasses.dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds a context on a GPU.

    ``user`` and ``name`` are empty where the process is not to be seen from here (another PID
    namespace, or gone). ``sm_ratio`` is its share of the SMs' time in the last seconds, None where
    the driver does not tell (MIG). ``gpu_instance`` is that of the MIG instance it runs on. ``uid``
    is the user's number.
    """

    pid: int
    kind: str
    memory_bytes: int | None = None
    sm_ratio: float | None = None
    user: str = ""
    name: str = ""
    gpu_instance: int | None = None
    compute_instance: int | None = None
    uid: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class FabricInfo:
    """Where a GPU stands in an NVLink fabric: the cluster it was given, and its clique in it."""

    cluster_uuid: str
    clique_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class Denied:
    """A reading that this user may not have: what it needs, and how to grant just that."""

    reading: str
    needs: str
    grant: str


class PowerSample(NamedTuple):
    """Power at an instant: unix time in seconds of the source's clock, watts."""

    time: float
    watts: float
