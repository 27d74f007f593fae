"""The words of the field: states, reasons, actions, and the small facts a reading is made of."""

from __future__ import annotations

import dataclasses
import enum
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

NOT_ANSWERED_YET = "it has not answered yet"
"""The reason of an ``error`` that is none yet: the GPU was asked a moment ago."""

THROTTLE_REASONS = (
    "applications_clocks",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal",
    "hw_thermal",
    "hw_power_brake",
    "display_clocks",
)
"""Reasons for which clocks are throttled, as NVIDIA's drivers know them (nvml.h:
nvmlClocksEventReason*). Idle is not among them: an idle GPU is not throttled. A source of another
vendor may report reasons of its own."""

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
"""What a driver may ask for to make a GPU healthy; ``unknown`` is a demand that is newer than this
list."""

POWER_PROFILES = (
    *("max_p", "max_q", "compute", "memory_bound", "network", "balanced"),
    *("llm_inference", "llm_training", "rbm", "dcpcie", "hmma_sparse", "hmma_dense"),
    *("sync_balanced", "hpc", "mig", "max_q_1", "network_bound"),
    *("high_throughput_inference", "medium_throughput_inference", "low_latency_inference"),
    *("training", "inference", "max_q_2", "max_q_3", "low_priority_background"),
)
"""Workload power profiles in the order of the driver's numbers (nvml.h: NVML_POWER_PROFILE_*)."""

ENERGY_SUSPICIONS = ("diverging", "stuck", "jump")
"""What can be wrong with a device's energy counter."""

FABRIC_STATES = ("not_started", "in_progress", "completed")
"""How far a GPU has come in joining its fabric."""


@dataclasses.dataclass(frozen=True, slots=True)
class Platform:
    """A GPU's place in its rack, as its platform (an NVL72, say) reports it to the driver.

    The chassis is the rack's; ``slot`` counts all of its trays, ``tray`` the compute trays alone,
    ``host`` the hosts of a slot, ``module`` the GPUs of a host. ``peer`` is how its NVLinks reach
    its peers: ``switch`` or ``direct``.
    """

    chassis_serial: str = ""
    slot: int | None = None
    tray: int | None = None
    host: int | None = None
    module: int | None = None
    peer: str = ""

    @property
    def words(self) -> str:
        """The way to it: from the chassis inwards."""
        steps = {"slot": self.slot, "tray": self.tray, "host": self.host, "module": self.module}
        told = [f"{name} {number}" for name, number in steps.items() if number is not None]
        chassis = [f"chassis {self.chassis_serial}"] if self.chassis_serial else []
        return ", ".join(chassis + told)


VGPU = "vgpu"

VIRTUALIZATION = ("none", "passthrough", VGPU, "host_vgpu", "host_vsga")
"""How a GPU is virtualized, in the order of the driver's numbers (nvml.h:
NVML_GPU_VIRTUALIZATION_MODE_*): not at all; passed through to this virtual machine as a whole; a
part of a board that another machine has, the host; a board of which vGPUs are made, or that is
shared for graphics (vSGA)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Virtualization:
    """How a GPU is virtualized, as one series says it."""

    mode: str


UNKNOWN_UUID = "unknown:"
"""What the uuid of a GPU begins with that has not said who it is."""


def unknown_uuid(place: str) -> str:
    """Return what stands for the uuid of a GPU that has none, by the place it is in.

    The place is its PCI address, else its index: either is one GPU's alone on its node, so that
    no two series of a node are ever equal but for their index. Never empty: Prometheus takes an
    empty label for an absent one.
    """
    return f"{UNKNOWN_UUID}{place}"


@dataclasses.dataclass(frozen=True, slots=True)
class GpuIdentity:
    """What does not change while a GPU stays in its slot.

    ``uuid`` is the identity; ``index`` is NVML's, for people, and may change over a reboot.
    ``minor_number`` is N of /dev/nvidiaN; Slurm counts otherwise.
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
    platform: Platform | None = None
    virtualization: str = ""

    @property
    def is_board(self) -> bool:
        """Whether it is a board, and not a part of one that its host counts (a guest's vGPU)."""
        return self.virtualization != VGPU

    @property
    def known(self) -> bool:
        """Whether the uuid is the GPU's own, and not one that stands for it."""
        return bool(self.uuid) and not self.uuid.startswith(UNKNOWN_UUID)

    @property
    def words(self) -> str:
        """Which board it is: its model, its serial, and where it is."""
        name = f"{self.name}, " if self.name else ""
        who = f"serial {self.serial}" if self.serial else self.uuid
        at = f" at {self.pci_bus_id}" if self.pci_bus_id else ""
        return f"{name}{who}{at}{f' ({self.place})' if self.place else ''}"

    @property
    def place(self) -> str:
        """Its place in its rack, in words; empty if its platform does not report that."""
        return self.platform.words if self.platform is not None else ""


@dataclasses.dataclass(frozen=True, slots=True)
class PassedThrough:
    """A GPU of this machine that another driver has (``vfio-pci``: a virtual machine's).

    ``driver`` is empty if no driver has it. ``identity`` is who was last seen at its address,
    None if nobody ever was.
    """

    pci_bus_id: str
    driver: str
    identity: GpuIdentity | None = None


ECC_WORDS = ("on", "off", "off_by_default", "on_until_reset", "off_until_reset")
"""How the correction of memory errors is set, in one word."""


def ecc_word(*, now: bool | None, pending: bool | None, default: bool | None) -> str:
    """Return how ECC is set: now, after the next reset, as the board comes; empty if not known."""
    if now is None:
        return ""
    word = "on" if now else "off"
    if pending is not None and pending is not now:
        return f"{word}_until_reset"
    return "off_by_default" if not now and default is False else word


@dataclasses.dataclass(frozen=True, slots=True)
class Board:
    """What a GPU is and how it is set, as one series says it.

    ``ecc`` is one of ECC_WORDS, ``persistence`` is on or off; each is empty if it is not known.
    """

    identity: GpuIdentity
    ecc: str
    persistence: str

    def __getattr__(self, name: str) -> object:
        """Return a fact of the identity."""
        return getattr(self.identity, name)


@dataclasses.dataclass(frozen=True, slots=True)
class EnergyInfo:
    """How the joules of a GPU are known.

    ``method``: ``counter`` (the device's own) or ``integral`` (of its power readings). ``scope``:
    ``gpu``, or ``module`` if a Grace module answers for its CPU and GPUs together.
    """

    method: str
    scope: str = "gpu"


@dataclasses.dataclass(frozen=True, slots=True)
class MigIdentity:
    """What a MIG instance is: ``mig_uuid`` (``MIG-…``) is the identity, ``profile`` as 1g.10gb.

    Its numbers are None if the driver does not know them.
    """

    mig_uuid: str
    profile: str
    gpu_instance: int | None
    compute_instance: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class MigEnergyInfo:
    """How a GPU's joules are divided among its instances: ``sm_activity`` or ``sm_share``."""

    method: str


@dataclasses.dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds a context on a GPU.

    ``user`` and ``name`` are empty if the process cannot be seen from here (another PID
    namespace, or gone). ``sm_ratio`` is its share of the SMs' time in the last seconds, None if the
    driver does not report it (MIG). ``gpu_instance`` is that of the MIG instance it runs on.
    ``uid`` is the user's number.
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
class Firmware:
    """Versions of what runs on a GPU beside its VBIOS; empty if the driver does not report one."""

    gsp_version: str = ""
    inforom_version: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class FabricInfo:
    """Where a GPU stands in an NVLink fabric: the cluster it was given, and its clique in it.

    ``partition_assigned`` is whether it has a partition of it, None if that is not reported.
    """

    cluster_uuid: str
    clique_id: int
    partition_assigned: bool | None = None


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
