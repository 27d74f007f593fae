"""One GPU at one instant: who it is, how it is, and all that it said, in base units.

This class is the catalogue of the ``gpumon_gpu_*`` metrics (see ``gpumon.model.metric``). Field
ids, scopes and call names are facts of nvml.h (API 13); the ``smi`` names are those of
``nvidia-smi --help-query-gpu``. A reading that is not known is None: never 0, never NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpumon.model.metric import (
    Cadence,
    Tier,
    counter,
    derived_gauge,
    gauge,
    info,
    metric_group,
)
from gpumon.model.mig import MigReading
from gpumon.model.origin import (
    ALL_LINKS,
    SCOPE_MODULE,
    Call,
    Field,
    Gpm,
    Headroom,
    Links,
    PerLink,
    flag,
    kibi,
    mebi,
    mega,
    milli,
    milli_or_none,
    nano,
    percent,
    same,
)
from gpumon.model.terms import (
    ENERGY_SUSPICIONS,
    FABRIC_STATES,
    GPU_STATES,
    RECOVERY_ACTIONS,
    THROTTLE_REASONS,
    EnergyInfo,
    FabricInfo,
    GpuIdentity,
    GpuProcess,
    GpuState,
    PowerSample,
    active_links,
    fabric_health,
    fabric_info,
    fabric_state,
    fabric_status,
    link_is_up,
    mig_mode,
    recovery_action,
    throttle_reasons,
)


@metric_group(prefix="gpumon_gpu", labels=("gpu", "uuid"))
@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuReading:
    """All that one GPU said at ``time`` (unix seconds of the source's own clock).

    ``read_at`` is the reading's moment on this machine's monotonic clock, from which its age is
    told. ``power_samples`` are those since the reading before, oldest first; ``power_scope`` is
    ``module`` where power is that of a whole Grace module. ``mig`` are its MIG instances,
    ``held_by`` the processes that hold a context on it, ``jobs`` the ids of the jobs that hold it,
    ``denied`` the fields that the driver refuses to this user. ``since`` is when (unix seconds)
    each of its conditions began, as far back as somebody looked: a state other than ok, what holds
    its clocks down, what the driver asks for. Where ``state`` is not ``ok`` every reading is None
    and ``reason`` says why in words; what the agent remembers of the GPU (its Xids) stays.
    """

    identity: GpuIdentity = info(
        "What this GPU is; join on uuid.",
        labels=(
            "name",
            "architecture",
            "serial",
            "pci_bus_id",
            "module_id",
            "board_part_number",
            "vbios_version",
        ),
        name="",
        required=True,
    )
    state: GpuState = gauge(
        "1 for the state this GPU is in.",
        tier=Tier.CORE,
        required=True,
        labels=("state",),
        states=GPU_STATES,
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
    since: Mapping[str, float] | None = None

    # Power and energy.
    power_watts: float | None = gauge(
        "Power drawn, mean over about one second (A100 and older: a 25 ms sample).",
        tier=Tier.CORE,
        # 185 is the one-second mean (Ampere except GA100, and later); GA100 has only the sample,
        # 186; some Grace parts answer for the module alone.
        nvml=[
            Field(185, milli),
            Field(186, milli),
            Call("nvmlDeviceGetPowerUsage", convert=milli),
            Field(185, milli, SCOPE_MODULE),
        ],
        smi=["power.draw.average", "power.draw", "power.draw.instant"],
    )
    power_peak_watts: float | None = gauge(
        "Highest sub-second power sample of the last 30 s.", tier=Tier.CORE
    )
    power_trough_watts: float | None = gauge(
        "Lowest sub-second power sample of the last 30 s.", tier=Tier.CORE
    )
    memory_power_watts: float | None = gauge(
        "Power of the GPU's HBM, mean over about one second; part of the GPU's power.",
        # Scope 2 is the memory. Boards without the sensor answer 0 (seen on A40).
        nvml=[Field(185, milli_or_none, 2)],
        tier=Tier.FULL,
    )
    power_limit_watts: float | None = gauge(
        "Power limit in force, whoever set it (out-of-band caps included).",
        tier=Tier.CORE,
        nvml=[Field(190, milli), Call("nvmlDeviceGetEnforcedPowerLimit", convert=milli)],
        smi=["enforced.power.limit", "power.limit"],
    )
    power_limit_default_watts: float | None = gauge(
        "Power limit this GPU comes up with.",
        tier=Tier.CORE,
        cadence=Cadence.SLOW,
        nvml=[
            Field(189, milli),
            Call("nvmlDeviceGetPowerManagementDefaultLimit", convert=milli),
        ],
        smi=["power.default_limit"],
    )
    energy_joules: float | None = counter(
        "Energy drawn: the device's own counter, or the integral of its power.",
        tier=Tier.CORE,
        nvml=[
            Field(83, milli),
            Call("nvmlDeviceGetTotalEnergyConsumption", convert=milli),
            Field(191, milli, SCOPE_MODULE),
        ],
    )
    energy_info: EnergyInfo | None = info(
        "How the joules are known: method and scope.", labels=("method", "scope"), name="energy"
    )
    energy_error_ratio: float | None = gauge(
        "How far off the joules may be, as a share of them (see docs/energy.md).", tier=Tier.CORE
    )
    energy_suspect: frozenset[str] | None = gauge(
        "1 where the energy counter is not to be believed: 10 % off its power over minutes "
        "(diverging), still under power (stuck), ahead of what the power limit allows (jump).",
        labels=["reason"],
        states=ENERGY_SUSPICIONS,
    )
    energy_divergence_ratio: float | None = gauge(
        "Energy counter against the integral of power over the last minutes, as a share of the "
        "integral: 0.02 is two per cent more on the counter.",
        tier=Tier.FULL,
    )

    # Heat.
    temperature_celsius: float | None = gauge(
        "Temperature of the GPU.",
        tier=Tier.CORE,
        nvml=[
            Call("nvmlDeviceGetTemperatureV", (0,)),
            Call("nvmlDeviceGetTemperature", (0,)),
        ],
        smi=["temperature.gpu"],
    )
    memory_temperature_celsius: float | None = gauge(
        "Temperature of the GPU's HBM.",
        tier=Tier.CORE,
        nvml=[Field(82)],
        smi=["temperature.memory"],
    )
    temperature_margin_celsius: float | None = gauge(
        "Degrees left to the nearest slowdown; low is bad.",
        tier=Tier.CORE,
        nvml=[Call("nvmlDeviceGetMarginTemperature"), Headroom()],
        smi=["temperature.gpu.tlimit"],
    )
    fan_speed_ratio: float | None = gauge(
        "Fan speed as a share of its maximum, the fastest fan's.",
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetFanSpeed", convert=percent)],
        smi=["fan.speed"],
    )

    # Activity.
    utilization_ratio: float | None = gauge(
        "Share of the last sample period in which a kernel was resident; not SM occupancy.",
        tier=Tier.CORE,
        nvml=[Call("nvmlDeviceGetUtilizationRates", convert=percent, attribute="gpu")],
        smi=["utilization.gpu"],
    )
    memory_access_ratio: float | None = gauge(
        "Share of the last sample period in which device memory was being read or written.",
        nvml=[Call("nvmlDeviceGetUtilizationRates", convert=percent, attribute="memory")],
        smi=["utilization.memory"],
    )
    sm_active_ratio: float | None = gauge(
        "Share of SM time with at least one warp resident, mean since the last tick.",
        tier=Tier.CORE,
        nvml=[Gpm(2)],
    )
    sm_occupancy_ratio: float | None = gauge(
        "Resident warps as a share of what the SMs could hold, mean since the last tick.",
        nvml=[Gpm(3)],
    )
    tensor_active_ratio: float | None = gauge(
        "Share of cycles in which any tensor pipe was busy, mean since the last tick.",
        nvml=[Gpm(5)],
    )
    dram_active_ratio: float | None = gauge(
        "Device memory bandwidth in use, as a share of the peak, mean since the last tick.",
        nvml=[Gpm(10)],
    )
    fp16_active_ratio: float | None = gauge(
        "Share of cycles in which the half-precision pipes were busy, mean since the last tick.",
        nvml=[Gpm(13)],
        tier=Tier.FULL,
    )
    fp32_active_ratio: float | None = gauge(
        "Share of cycles in which the single-precision pipes were busy, mean since the last tick.",
        nvml=[Gpm(12)],
        tier=Tier.FULL,
    )
    fp64_active_ratio: float | None = gauge(
        "Share of cycles in which the double-precision pipes were busy, mean since the last tick.",
        tier=Tier.FULL,
        nvml=[Gpm(11)],
    )
    pcie_transmit_bytes_per_second: float | None = gauge(
        "Sent over PCI Express, mean since the last tick.",
        tier=Tier.FULL,
        nvml=[Gpm(20, mebi)],
    )
    pcie_receive_bytes_per_second: float | None = gauge(
        "Received over PCI Express, mean since the last tick.",
        tier=Tier.FULL,
        nvml=[Gpm(21, mebi)],
    )
    nvlink_transmit_bytes_per_second: float | None = gauge(
        "Data sent over NVLink, all links, mean since the last tick.",
        tier=Tier.FULL,
        nvml=[Gpm(61, mebi)],
    )
    nvlink_receive_bytes_per_second: float | None = gauge(
        "Data received over NVLink, all links, mean since the last tick.",
        tier=Tier.FULL,
        nvml=[Gpm(60, mebi)],
    )
    sm_cycles: Mapping[str, float] | None = counter(
        "Cycles of the SMs since the machine started: elapsed, with a warp resident (active), and "
        "with each kind of pipe busy. Newest drivers only; a rate over elapsed is exact over any "
        "window.",
        tier=Tier.FULL,
        labels=["state"],
        nvml={
            "elapsed": [Gpm(248, same)],
            "active": [Gpm(249, same)],
            "tensor": [Gpm(250, same)],
            "integer": [Gpm(257, same)],
            "fp64": [Gpm(258, same)],
            "fp32": [Gpm(259, same)],
            "fp16": [Gpm(260, same)],
        },
    )

    # Memory.
    memory_total_bytes: int | None = gauge(
        "Device memory there is.",
        nvml=[Call("nvmlDeviceGetMemoryInfo", attribute="total")],
        smi=["memory.total"],
    )
    memory_used_bytes: int | None = gauge(
        "Device memory in use by processes.",
        tier=Tier.CORE,
        nvml=[Call("nvmlDeviceGetMemoryInfo", attribute="used")],
        smi=["memory.used"],
    )
    memory_reserved_bytes: int | None = gauge(
        "Device memory the driver and firmware keep for themselves.",
        tier=Tier.FULL,
        nvml=[Call("nvmlDeviceGetMemoryInfo", attribute="reserved")],
        smi=["memory.reserved"],
    )

    # Clocks and what holds them down.
    clock_hertz: Mapping[str, float] | None = gauge(
        "Clock now.",
        labels=["clock"],
        nvml={
            "sm": [Call("nvmlDeviceGetClockInfo", (1,), mega)],
            "memory": [Call("nvmlDeviceGetClockInfo", (2,), mega)],
        },
        smi={
            "sm": ["clocks.current.sm", "clocks.sm"],
            "memory": ["clocks.current.memory", "clocks.mem"],
        },
    )
    clock_max_hertz: Mapping[str, float] | None = gauge(
        "Highest clock this GPU has.",
        labels=["clock"],
        cadence=Cadence.IDENTITY,
        nvml={
            "sm": [Call("nvmlDeviceGetMaxClockInfo", (1,), mega)],
            "memory": [Call("nvmlDeviceGetMaxClockInfo", (2,), mega)],
        },
        smi={"sm": ["clocks.max.sm"], "memory": ["clocks.max.memory", "clocks.max.mem"]},
    )
    throttle_seconds: Mapping[str, float] | None = counter(
        "Time the clocks were held down, by reason, since the driver was loaded.",
        labels=["reason"],
        nvml={
            "sw_power_cap": [Field(74, nano)],
            "sync_boost": [Field(76, nano)],
            "sw_thermal": [Field(269, nano)],
            "hw_thermal": [Field(270, nano)],
            "hw_power_brake": [Field(271, nano)],
        },
    )
    throttle_reasons: frozenset[str] | None = gauge(
        "1 for each reason that holds the clocks down now; hw_slowdown is the fact that one of "
        "the hw_ reasons does, by half or more.",
        tier=Tier.CORE,
        labels=["reason"],
        states=tuple(THROTTLE_REASONS),
        name="throttled",
        nvml=[
            Call("nvmlDeviceGetCurrentClocksEventReasons", convert=throttle_reasons),
            Call("nvmlDeviceGetCurrentClocksThrottleReasons", convert=throttle_reasons),
        ],
        smi=["clocks_event_reasons.active", "clocks_throttle_reasons.active"],
    )

    # PCI Express.
    pcie_transmit_bytes: int | None = counter("Sent over PCI Express.", nvml=[Field(197)])
    pcie_receive_bytes: int | None = counter("Received over PCI Express.", nvml=[Field(198)])
    pcie_replays: int | None = counter(
        "PCI Express packets sent again; some are normal, a rate is not.",
        cadence=Cadence.SLOW,
        nvml=[Field(94), Call("nvmlDeviceGetPcieReplayCounter")],
    )
    pcie_link_generation: int | None = gauge(
        "PCI Express generation now; falls when idle on some boards.",
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetCurrPcieLinkGeneration")],
        smi=["pcie.link.gen.gpucurrent", "pcie.link.gen.current"],
    )
    pcie_link_generation_max: int | None = gauge(
        "Highest PCI Express generation that this GPU and its slot both do.",
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetMaxPcieLinkGeneration")],
        smi=["pcie.link.gen.max"],
    )
    pcie_link_width: int | None = gauge(
        "PCI Express lanes now.",
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetCurrPcieLinkWidth")],
        smi=["pcie.link.width.current"],
    )
    pcie_link_width_max: int | None = gauge(
        "PCI Express lanes this GPU and its slot both have.",
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetMaxPcieLinkWidth")],
        smi=["pcie.link.width.max"],
    )

    # NVLink. Data counters leave protocol overhead out; 163 and below end with NVLink 4.
    nvlink_transmit_bytes: int | None = counter(
        "Data sent over NVLink, all links.",
        nvml=[Field(138, kibi, ALL_LINKS), Links(138, convert=kibi)],
    )
    nvlink_receive_bytes: int | None = counter(
        "Data received over NVLink, all links.",
        nvml=[Field(139, kibi, ALL_LINKS), Links(139, convert=kibi)],
    )
    nvlink_links: int | None = gauge(
        "NVLinks this GPU has.", cadence=Cadence.SLOW, nvml=[Field(91)]
    )
    nvlink_links_active: int | None = gauge(
        "NVLinks that are up.", cadence=Cadence.SLOW, nvml=[Links(165, active_links)]
    )
    nvlink_errors: Mapping[str, int] | None = counter(
        "NVLink errors by kind, all links; the kinds differ between NVLink 4 and 5.",
        labels=["kind"],
        cadence=Cadence.SLOW,
        nvml={
            "replay": [Field(161, scope=ALL_LINKS), Links(161)],
            "recovery": [Field(162, scope=ALL_LINKS), Links(162), Field(213, scope=ALL_LINKS)],
            "crc": [Field(163, scope=ALL_LINKS), Links(163)],
            "recovery_failed": [Field(214, scope=ALL_LINKS)],
            "malformed_packet": [Field(206, scope=ALL_LINKS)],
            "buffer_overrun": [Field(207, scope=ALL_LINKS)],
            "receive": [Field(208, scope=ALL_LINKS)],
            "integrity": [Field(211, scope=ALL_LINKS)],
            "effective": [Field(219, scope=ALL_LINKS)],
            "symbol": [Field(221, scope=ALL_LINKS)],
        },
    )

    nvlink_link_up: Mapping[str, bool] | None = gauge(
        "1 for each NVLink that is up.",
        tier=Tier.FULL,
        labels=["link"],
        cadence=Cadence.SLOW,
        nvml=[PerLink(165, link_is_up)],
    )
    nvlink_link_transmit_bytes: Mapping[str, int] | None = counter(
        "Data sent over each NVLink.", tier=Tier.FULL, labels=["link"], nvml=[PerLink(138, kibi)]
    )
    nvlink_link_receive_bytes: Mapping[str, int] | None = counter(
        "Data received over each NVLink.",
        tier=Tier.FULL,
        labels=["link"],
        nvml=[PerLink(139, kibi)],
    )
    nvlink_link_errors: Mapping[tuple[str, str], int] | None = counter(
        "NVLink errors of each link by kind.",
        tier=Tier.FULL,
        labels=["kind", "link"],
        cadence=Cadence.SLOW,
        nvml={
            "replay": [PerLink(161)],
            "recovery": [PerLink(162), PerLink(213)],
            "crc": [PerLink(163)],
            "recovery_failed": [PerLink(214)],
            "effective": [PerLink(219)],
            "symbol": [PerLink(221)],
        },
    )

    # The NVLink fabric (NVSwitch of Hopper and later): nothing runs before it is completed.
    fabric_state: str | None = gauge(
        "1 for how far this GPU has come in joining its NVLink fabric.",
        labels=["state"],
        states=FABRIC_STATES,
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetGpuFabricInfoV", convert=fabric_state)],
    )
    fabric_status: int | None = gauge(
        "NVML's code for the outcome of joining the fabric: 0 is success.",
        tier=Tier.FULL,
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetGpuFabricInfoV", convert=fabric_status)],
    )
    fabric_info: FabricInfo | None = info(
        "The fabric this GPU has joined.",
        labels=("cluster_uuid", "clique_id"),
        name="fabric",
        tier=Tier.FULL,
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetGpuFabricInfoV", convert=fabric_info)],
    )
    fabric_unhealthy: Mapping[str, bool] | None = gauge(
        "1 for a condition that makes the fabric unfit (its health mask, or that joining it "
        "failed); only those that this GPU can tell.",
        labels=["condition"],
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetGpuFabricInfoV", convert=fabric_health)],
    )

    # Memory errors and repair.
    ecc_errors: Mapping[tuple[str, str], int] | None = counter(
        "Memory errors since the driver was loaded.",
        labels=["error", "location"],
        cadence=Cadence.SLOW,
        nvml={
            ("corrected", "dram"): [Call("nvmlDeviceGetMemoryErrorCounter", (0, 0, 2))],
            ("corrected", "sram"): [Call("nvmlDeviceGetMemoryErrorCounter", (0, 0, 7))],
            ("uncorrected", "dram"): [Call("nvmlDeviceGetMemoryErrorCounter", (1, 0, 2))],
            ("uncorrected", "sram"): [Call("nvmlDeviceGetMemoryErrorCounter", (1, 0, 7))],
        },
        smi={
            ("corrected", "dram"): ["ecc.errors.corrected.volatile.dram"],
            ("corrected", "sram"): ["ecc.errors.corrected.volatile.sram"],
            ("uncorrected", "dram"): ["ecc.errors.uncorrected.volatile.dram"],
            ("uncorrected", "sram"): ["ecc.errors.uncorrected.volatile.sram"],
        },
    )
    ecc_lifetime_errors: Mapping[tuple[str, str], int] | None = counter(
        "Memory errors over the life of the board, from its InfoROM.",
        tier=Tier.FULL,
        labels=["error", "location"],
        cadence=Cadence.IDENTITY,
        nvml={
            ("corrected", "dram"): [Call("nvmlDeviceGetMemoryErrorCounter", (0, 1, 2))],
            ("corrected", "sram"): [Call("nvmlDeviceGetMemoryErrorCounter", (0, 1, 7))],
            ("uncorrected", "dram"): [Call("nvmlDeviceGetMemoryErrorCounter", (1, 1, 2))],
            ("uncorrected", "sram"): [Call("nvmlDeviceGetMemoryErrorCounter", (1, 1, 7))],
        },
    )
    remapped_rows: Mapping[str, int] | None = counter(
        "Rows of device memory replaced by spare ones.",
        labels=["cause"],
        cadence=Cadence.SLOW,
        nvml={"corrected": [Field(142)], "uncorrected": [Field(143)]},
        smi={
            "corrected": ["remapped_rows.correctable"],
            "uncorrected": ["remapped_rows.uncorrectable"],
        },
    )
    row_remap_pending: bool | None = gauge(
        "1 when a row waits to be replaced at the next reset.",
        cadence=Cadence.SLOW,
        nvml=[Field(144, flag)],
    )
    row_remap_failed: bool | None = gauge(
        "1 when a row could not be replaced: the board must be.",
        cadence=Cadence.SLOW,
        nvml=[Field(145, flag)],
    )
    sram_threshold_exceeded: bool | None = gauge(
        "1 when uncorrectable SRAM errors are so many that the board should be replaced.",
        cadence=Cadence.IDENTITY,
        nvml=[
            Call("nvmlDeviceGetSramEccErrorStatus", convert=flag, attribute="bThresholdExceeded")
        ],
    )
    remap_banks: Mapping[str, int] | None = gauge(
        "Banks of device memory by how many spare rows they have left.",
        tier=Tier.FULL,
        labels=["spares"],
        cadence=Cadence.IDENTITY,
        nvml={
            spares: [Call("nvmlDeviceGetRowRemapperHistogram", attribute=spares)]
            for spares in ("max", "high", "partial", "low", "none")
        },
    )
    remap_banks_exhausted: int | None = gauge(
        "Banks of device memory with no spare row left.",
        cadence=Cadence.IDENTITY,
        nvml=[Call("nvmlDeviceGetRowRemapperHistogram", attribute="none")],
    )
    power_smoothing_lifetime_ratio: float | None = gauge(
        "Life that is left in the power-smoothing circuit (GB200 and later).",
        cadence=Cadence.IDENTITY,
        nvml=[Field(258, percent)],
    )
    recovery_action: str | None = gauge(
        "1 for the action the driver asks for to make this GPU healthy.",
        tier=Tier.CORE,
        labels=["action"],
        states=RECOVERY_ACTIONS,
        nvml=[Field(230, recovery_action)],
    )

    persistence_mode: bool | None = gauge(
        "1 where the driver keeps this GPU initialised with no program on it; without it each "
        "start takes seconds longer, and limits that were set are forgotten.",
        tier=Tier.FULL,
        cadence=Cadence.IDENTITY,
        nvml=[Call("nvmlDeviceGetPersistenceMode", convert=flag)],
    )
    processes: int | None = gauge("Processes that hold a context on this GPU.")
    mig_mode: bool | None = gauge(
        "1 while the GPU is divided (MIG); absent where it cannot be.",
        cadence=Cadence.SLOW,
        nvml=[Call("nvmlDeviceGetMigMode", convert=mig_mode)],
    )

    # What the agent remembers of this GPU, through restarts.
    xid_errors: Mapping[str, int] | None = counter(
        "Xids of this GPU by code, from the driver and the kernel log, each once; the agent's log "
        "says what each means.",
        tier=Tier.CORE,
        labels=["xid"],
    )
    xid_last_timestamp_seconds: Mapping[str, float] | None = gauge(
        "When the last Xid of this code was.", tier=Tier.CORE, labels=["xid"]
    )
    xid_events: Mapping[str, int] | None = counter(
        "Xids of this GPU by class: whether an application, the driver or the hardware is the "
        "first suspect. Starts at 0.",
        tier=Tier.CORE,
        labels=["class"],
    )

    @derived_gauge("1 while this GPU answers.")
    def up(self) -> bool:
        """Whether the GPU could be read."""
        return self.state is GpuState.OK

    @property
    def label_values(self) -> tuple[str, ...]:
        """The values of the group's labels: NVML index and UUID."""
        return str(self.identity.index), self.identity.uuid

    def changed(self, **changes: Any) -> GpuReading:
        """Return a copy with other values of some fields, as ``dataclasses.replace`` does.

        A reading is copied on every tick, and ``replace`` sets each of ninety fields by name: it is
        for this copy that the class has no slots. TypeError for a field that there is not.
        """
        if not changes.keys() <= self.__dict__.keys():
            raise TypeError(f"no such field: {sorted(changes.keys() - self.__dict__.keys())}")
        copy = object.__new__(GpuReading)
        object.__setattr__(copy, "__dict__", {**self.__dict__, **changes})
        return copy

    def age(self, monotonic: float) -> float | None:
        """Return the seconds since the reading, or None where there never was one."""
        return round(max(0.0, monotonic - self.read_at), 3) if self.read_at else None


@metric_group(prefix="gpumon_gpu", labels=("gpu", "uuid"))
@dataclasses.dataclass(frozen=True, slots=True)
class GpuAge:
    """How old a GPU's reading is at the moment it is looked at."""

    label_values: tuple[str, ...]
    sample_age_seconds: float | None = gauge(
        "Age of this GPU's reading when it was served.", tier=Tier.CORE
    )
