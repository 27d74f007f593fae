"""One GPU at one instant: who it is, how it is, and all that it said, in base units.

The catalogue of the ``gpumon_gpu_*`` metrics (``gpumon.model.metric``), whichever source reads
them, and from wherever. A reading that is not known is None: never 0, never NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpumon.model.detail import GpuDetail
from gpumon.model.metric import (
    Tier,
    counter,
    derived_gauge,
    derived_info,
    gauge,
    info,
    metric_group,
)
from gpumon.model.mig import MigReading
from gpumon.model.terms import (
    ENERGY_SUSPICIONS,
    FABRIC_STATES,
    GPU_STATES,
    RECOVERY_ACTIONS,
    THROTTLE_REASONS,
    VIRTUALIZATION,
    Board,
    EnergyInfo,
    FabricInfo,
    GpuIdentity,
    GpuProcess,
    GpuState,
    Platform,
    PowerSample,
    Virtualization,
    ecc_word,
)


@metric_group(prefix="gpumon_gpu", labels=("gpu", "uuid"))
@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuReading(GpuDetail):
    """All that one GPU said at ``time`` (unix seconds of the source's own clock).

    ``read_at`` is its moment on this machine's monotonic clock. ``power_samples`` are those since
    the reading before, oldest first; ``power_scope`` is ``module`` for a whole Grace module.
    ``mig`` are its MIG instances, ``held_by`` the processes with a context on it, ``jobs`` the ids
    of the jobs that hold it, ``denied`` the fields refused to this user, ``repeated`` those that
    are read less often and were not this time. ``sums`` are the totals that its source reports,
    and what their parts add up to. ``origins`` is the number of the table, in its snapshot, of
    where values were read from. ``since`` is when (unix seconds) each condition began: a state
    other than ok, a throttle reason, what the driver asks for. If ``state`` is not ``ok`` every
    reading is None and ``reason`` says why; what the agent remembers (its Xids) stays.
    """

    identity: GpuIdentity
    state: GpuState = gauge(
        "1 for the state this GPU is in; ok is there always, 0 or 1.",
        tier=Tier.CORE,
        required=True,
        labels=("state",),
        states=GPU_STATES,
        good=GpuState.OK.value,
    )
    time: float = 0.0
    read_at: float = 0.0
    reason: str = ""
    power_samples: tuple[PowerSample, ...] = ()
    power_scope: str = "gpu"
    mig: tuple[MigReading, ...] = ()
    held_by: tuple[GpuProcess, ...] = ()
    jobs: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    repeated: frozenset[str] = frozenset()
    sums: Mapping[str, tuple[int, int]] | None = None
    origins: int | None = None
    since: Mapping[str, float] | None = None

    # Power and energy.
    power_watts: float | None = gauge(
        "Power drawn, mean over about one second (A100 and older: a 25 ms sample).",
        tier=Tier.CORE,
    )
    power_peak_watts: float | None = gauge(
        "Highest sub-second power sample of the last 30 s.", tier=Tier.CORE
    )
    power_trough_watts: float | None = gauge(
        "Lowest sub-second power sample of the last 30 s.", tier=Tier.CORE
    )
    memory_power_watts: float | None = gauge(
        "Power of the GPU's HBM, mean over about one second; part of the GPU's power.",
        tier=Tier.FULL,
    )
    power_limit_watts: float | None = gauge(
        "Power limit in force, no matter who set it (out-of-band caps included).",
        tier=Tier.CORE,
    )
    power_limit_default_watts: float | None = gauge(
        "Power limit that this GPU starts with.",
        tier=Tier.CORE,
    )
    energy_joules: float | None = counter(
        "Energy drawn: the device's own counter, or the integral of its power.",
        tier=Tier.CORE,
    )
    energy_info: EnergyInfo | None = info(
        "How the joules are known: method and scope.", labels=("method", "scope"), name="energy"
    )
    energy_error_ratio: float | None = gauge(
        "Largest error of the joules, as a share of them (see docs/energy.md).", tier=Tier.CORE
    )
    energy_suspect: frozenset[str] | None = gauge(
        "1 if the energy counter cannot be trusted: 10 % off its power over minutes (diverging), "
        "not moving while power is drawn (stuck), ahead of what the power limit allows (jump).",
        labels=["reason"],
        states=ENERGY_SUSPICIONS,
    )
    energy_divergence_ratio: float | None = gauge(
        "Energy counter against the integral of power over the last minutes, as a share of the "
        "integral: 0.02 means that the counter shows two per cent more.",
        tier=Tier.FULL,
    )

    # Heat.
    temperature_celsius: float | None = gauge(
        "Temperature of the GPU.",
        tier=Tier.CORE,
    )
    memory_temperature_celsius: float | None = gauge(
        "Temperature of the GPU's HBM.",
        tier=Tier.CORE,
    )
    temperature_margin_celsius: float | None = gauge(
        "Degrees left to the nearest slowdown; low is bad.",
        tier=Tier.CORE,
    )
    temperature_shutdown_celsius: float | None = gauge(
        "Temperature at which this GPU switches itself off; GPUs before Ada.",
        tier=Tier.FULL,
    )
    fan_speed_ratio: float | None = gauge(
        "Fan speed as a share of its maximum, the fastest fan's.",
    )

    # Activity.
    utilization_ratio: float | None = gauge(
        "Share of the last sample period in which a kernel was resident; not SM occupancy.",
        tier=Tier.CORE,
    )
    memory_access_ratio: float | None = gauge(
        "Share of the last sample period in which device memory was being read or written.",
    )
    sm_active_ratio: float | None = gauge(
        "Share of SM time with at least one warp resident, mean since the last tick.",
        tier=Tier.CORE,
    )
    sm_occupancy_ratio: float | None = gauge(
        "Resident warps as a share of what the SMs could hold, mean since the last tick.",
    )
    tensor_active_ratio: float | None = gauge(
        "Share of cycles in which any tensor pipe was busy, mean since the last tick.",
    )
    dram_active_ratio: float | None = gauge(
        "Device memory bandwidth in use, as a share of the peak, mean since the last tick.",
    )
    fp16_active_ratio: float | None = gauge(
        "Share of cycles in which the half-precision pipes were busy, mean since the last tick.",
        tier=Tier.FULL,
    )
    fp32_active_ratio: float | None = gauge(
        "Share of cycles in which the single-precision pipes were busy, mean since the last tick.",
        tier=Tier.FULL,
    )
    fp64_active_ratio: float | None = gauge(
        "Share of cycles in which the double-precision pipes were busy, mean since the last tick.",
        tier=Tier.FULL,
    )
    pcie_transmit_bytes_per_second: float | None = gauge(
        "Sent over PCI Express, mean since the last tick.",
        tier=Tier.FULL,
    )
    pcie_receive_bytes_per_second: float | None = gauge(
        "Received over PCI Express, mean since the last tick.",
        tier=Tier.FULL,
    )
    nvlink_transmit_bytes_per_second: float | None = gauge(
        "Data sent over NVLink, all links, mean since the last tick.",
        tier=Tier.FULL,
    )
    nvlink_receive_bytes_per_second: float | None = gauge(
        "Data received over NVLink, all links, mean since the last tick.",
        tier=Tier.FULL,
    )
    sm_cycles: Mapping[str, float] | None = counter(
        "Cycles of the SMs since the machine started: elapsed, with a warp resident (active), and "
        "with each kind of pipe busy. Newest drivers only; a rate over elapsed is exact over any "
        "window.",
        tier=Tier.FULL,
        labels=["state"],
        keys=["elapsed", "active", "tensor", "integer", "fp64", "fp32", "fp16"],
    )

    # Memory.
    memory_total_bytes: int | None = gauge(
        "Device memory of this GPU.",
    )
    memory_used_bytes: int | None = gauge(
        "Device memory in use by processes.",
        tier=Tier.CORE,
    )
    memory_reserved_bytes: int | None = gauge(
        "Device memory the driver and firmware keep for themselves.",
        tier=Tier.FULL,
    )

    # Clocks and what holds them down.
    clock_hertz: Mapping[str, float] | None = gauge(
        "Clock now.",
        labels=["clock"],
        keys=["sm", "memory"],
    )
    clock_max_hertz: Mapping[str, float] | None = gauge(
        "Highest clock this GPU has.",
        labels=["clock"],
        keys=["sm", "memory"],
        full=["memory"],
    )
    throttle_seconds: Mapping[str, float] | None = counter(
        "Time the clocks were throttled, by reason, since the driver was loaded; thermal is heat "
        "of either kind, from drivers that do not distinguish sw_thermal and hw_thermal.",
        labels=["reason"],
        keys=[
            "sw_power_cap",
            "sync_boost",
            "sw_thermal",
            "hw_thermal",
            "hw_power_brake",
            "thermal",
        ],
        full=["sync_boost"],
    )
    throttle_reasons: frozenset[str] | None = gauge(
        "1 for each reason why the clocks are throttled now; hw_slowdown comes with either of the "
        "other hw_ reasons and means clocks at half or less.",
        tier=Tier.CORE,
        labels=["reason"],
        states=THROTTLE_REASONS,
        full=["applications_clocks", "sync_boost", "display_clocks"],
        name="throttled",
    )

    # PCI Express.
    pcie_transmit_bytes: int | None = counter("Sent over PCI Express.")
    pcie_receive_bytes: int | None = counter("Received over PCI Express.")
    pcie_replays: int | None = counter(
        "PCI Express packets that were sent again; a few are normal, a steady rate is not.",
    )
    pcie_link_generation: int | None = gauge(
        "PCI Express generation now; lower while idle on some boards.",
    )
    pcie_link_generation_max: int | None = gauge(
        "Highest PCI Express generation that both this GPU and its slot support.",
    )
    pcie_link_width: int | None = gauge(
        "PCI Express lanes now.",
    )
    pcie_link_width_max: int | None = gauge(
        "PCI Express lanes that both this GPU and its slot have.",
    )

    # NVLink. Data counters leave protocol overhead out; 163 and below end with NVLink 4.
    nvlink_transmit_bytes: int | None = counter(
        "Data sent over NVLink, all links.",
    )
    nvlink_receive_bytes: int | None = counter(
        "Data received over NVLink, all links.",
    )
    nvlink_links: int | None = gauge(
        "NVLinks this GPU has.",
    )
    nvlink_links_active: int | None = gauge(
        "NVLinks that are up.",
    )
    nvlink_errors: Mapping[str, int] | None = counter(
        "NVLink errors by kind, all links; the kinds differ between NVLink 4 and 5.",
        labels=["kind"],
        keys=[
            "replay",
            "recovery",
            "crc",
            "recovery_failed",
            "malformed_packet",
            "buffer_overrun",
            "receive",
            "integrity",
            "effective",
            "symbol",
        ],
    )

    # The NVLink fabric (NVSwitch of Hopper and later): nothing runs before it is completed.
    fabric_state: str | None = gauge(
        "1 for how far this GPU has come in joining its NVLink fabric; completed is there always, "
        "0 or 1.",
        labels=["state"],
        states=FABRIC_STATES,
        good="completed",
    )
    fabric_status: int | None = gauge(
        "NVML's code for the outcome of joining the fabric: 0 is success.",
        tier=Tier.FULL,
    )
    fabric_info: FabricInfo | None = info(
        "The fabric this GPU has joined.",
        labels=("cluster_uuid", "clique_id"),
        name="fabric",
        tier=Tier.STANDARD,
    )
    fabric_unhealthy: Mapping[str, bool] | None = gauge(
        "1 for a condition that makes the fabric unhealthy (its health mask and summary, or that "
        "joining failed); those of an incorrect configuration are exported only while they hold.",
        labels=["condition"],
    )

    # Memory errors and repair.
    ecc_errors: Mapping[tuple[str, str], int] | None = counter(
        "Memory errors since the driver was loaded.",
        labels=["error", "location"],
        keys=[
            ("corrected", "dram"),
            ("corrected", "sram"),
            ("uncorrected", "dram"),
            ("uncorrected", "sram"),
        ],
    )
    ecc_lifetime_errors: Mapping[tuple[str, str], int] | None = counter(
        "Memory errors over the life of the board, from its InfoROM.",
        tier=Tier.FULL,
        labels=["error", "location"],
        keys=[
            ("corrected", "dram"),
            ("corrected", "sram"),
            ("uncorrected", "dram"),
            ("uncorrected", "sram"),
        ],
    )
    remapped_rows: Mapping[str, int] | None = counter(
        "Rows of device memory replaced by spare ones.",
        labels=["cause"],
        keys=["corrected", "uncorrected"],
    )
    row_remap_pending: bool | None = gauge(
        "1 when a row waits to be replaced at the next reset.",
    )
    row_remap_failed: bool | None = gauge(
        "1 when a row could not be replaced: replace the board.",
    )
    sram_threshold_exceeded: bool | None = gauge(
        "1 when there are enough uncorrectable SRAM errors that the board should be replaced.",
    )
    remap_banks: Mapping[str, int] | None = gauge(
        "Banks of device memory by how many spare rows they have left.",
        tier=Tier.FULL,
        labels=["spares"],
        keys=["max", "high", "partial", "low", "none"],
    )
    remap_banks_exhausted: int | None = gauge(
        "Banks of device memory with no spare row left.",
    )
    power_smoothing_lifetime_ratio: float | None = gauge(
        "Share of its life that the power-smoothing circuit has left (GB200 and later).",
    )
    recovery_action: str | None = gauge(
        "1 for the action the driver asks for to make this GPU healthy; none is there always, 0 or "
        "1, if the driver reports it at all.",
        tier=Tier.CORE,
        labels=["action"],
        states=RECOVERY_ACTIONS,
        good="none",
    )

    persistence_mode: bool | None = gauge(
        "1 if the driver keeps this GPU initialized while no program uses it; without that each "
        "start takes seconds longer, and limits that were set are lost.",
        tier=Tier.FULL,
    )
    processes: int | None = gauge("Processes that hold a context on this GPU.")
    ecc_mode: bool | None = gauge(
        "1 while this GPU corrects errors of its memory (ECC).", tier=Tier.FULL
    )
    ecc_mode_pending: bool | None = gauge(
        "1 if it corrects errors of its memory after its next reset.", tier=Tier.FULL
    )
    ecc_mode_default: bool | None = gauge(
        "1 if it corrects errors of its memory unless somebody switches that off.", tier=Tier.FULL
    )
    mig_mode: bool | None = gauge(
        "1 while the GPU is divided into MIG instances; absent if it cannot be.",
    )

    # What the agent remembers of this GPU, through restarts.
    xid_errors: Mapping[str, int] | None = counter(
        "Xids of this GPU by code, from the driver and the kernel log, each once; the agent's log "
        "says what each means.",
        tier=Tier.CORE,
        labels=["xid"],
    )
    xid_last_timestamp_seconds: Mapping[str, float] | None = gauge(
        "Time of the last Xid of this code.", tier=Tier.CORE, labels=["xid"]
    )
    xid_unresolved: Mapping[str, int] | None = gauge(
        "1 if the last Xid of this code asks for a reset or a reboot, and there was none since; 0 "
        "after it. Of codes that ask for nothing there is none.",
        tier=Tier.CORE,
        labels=["xid"],
    )
    xid_events: Mapping[str, int] | None = counter(
        "Xids of this GPU by class: whether an application, the driver or the hardware is the "
        "first suspect. Starts at 0.",
        tier=Tier.CORE,
        labels=["class"],
    )

    @derived_gauge("1 while this GPU responds.")
    def up(self) -> bool:
        """Whether the GPU could be read."""
        return self.state is GpuState.OK

    @derived_info(
        "What this GPU is and how it is set; join on uuid. ecc: on, off, off_by_default (as "
        "delivered), on_until_reset, off_until_reset; persistence: on or off; empty if not known.",
        labels=(
            *("name", "architecture", "serial", "pci_bus_id", "module_id"),
            *("board_part_number", "vbios_version", "ecc", "persistence"),
        ),
        name="",
    )
    def board(self) -> Board:
        """What the GPU is, with its settings in words (``terms.ECC_WORDS``)."""
        persistence = self.persistence_mode
        return Board(
            self.identity,
            ecc=ecc_word(
                now=self.ecc_mode, pending=self.ecc_mode_pending, default=self.ecc_mode_default
            ),
            persistence="" if persistence is None else "on" if persistence else "off",
        )

    @derived_info(
        "This GPU's place in its rack (NVL72 and the like): slot counts all trays, tray compute "
        "trays.",
        labels=("chassis_serial", "slot", "tray", "host", "module", "peer"),
        tier=Tier.STANDARD,
    )
    def platform(self) -> Platform | None:
        """Its place, whatever its state; None if its platform does not report that."""
        return self.identity.platform

    @derived_info(
        "How this GPU is virtualized: passthrough, vgpu (a part of a board that its host counts), "
        "host_vgpu or host_vsga; absent if it is not.",
        labels=("mode",),
        tier=Tier.STANDARD,
    )
    def virtualization(self) -> Virtualization | None:
        """How, whatever its state; None on bare metal, and if it is not known."""
        mode = self.identity.virtualization
        return Virtualization(mode) if mode not in ("", VIRTUALIZATION[0]) else None

    @derived_gauge(
        "1 if the fabric's manager has given this GPU a partition; 0 is not a fault on its own.",
        tier=Tier.FULL,
    )
    def fabric_partition_assigned(self) -> bool | None:
        """Whether it has one; None if its fabric does not report that."""
        return None if self.fabric_info is None else self.fabric_info.partition_assigned

    @property
    def label_values(self) -> tuple[str, ...]:
        """The values of the group's labels: NVML index and UUID."""
        return str(self.identity.index), self.identity.uuid

    def changed(self, **changes: Any) -> GpuReading:
        """Return a copy with other values of some fields; TypeError for one that does not exist.

        On every tick, and ``replace`` sets ninety fields by name: for this the class has no slots.
        """
        if not changes.keys() <= self.__dict__.keys():
            raise TypeError(f"no such field: {sorted(changes.keys() - self.__dict__.keys())}")
        copy = object.__new__(GpuReading)
        object.__setattr__(copy, "__dict__", {**self.__dict__, **changes})
        return copy

    def age(self, monotonic: float) -> float | None:
        """Return the seconds since the reading, or None if there never was one."""
        return round(max(0.0, monotonic - self.read_at), 3) if self.read_at else None
