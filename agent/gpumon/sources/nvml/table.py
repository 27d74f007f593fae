"""The origins in NVML of each value of a reading, best first, and how often each is asked for.

Field ids, scopes and names of calls are facts of nvml.h (API 13). Nothing here imports the binding,
so that the reference (``gpumon metrics``) can list what is possible on a machine without a driver.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

from gpumon.model import GpuReading, Tier, group_of
from gpumon.sources.clockmask import throttle_reasons
from gpumon.sources.nvml.decode import (
    active_links,
    busy,
    fabric_health,
    fabric_info,
    fabric_state,
    fabric_status,
    firmware,
    link_is_up,
    mode_now,
    mode_pending,
    nvlink_version,
    performance_state,
    power_profiles,
    recovery_action,
    remote_ends,
)
from gpumon.sources.nvml.numbering import numbering
from gpumon.sources.nvml.origin import (
    ALL_LINKS,
    SCOPE_MODULE,
    Call,
    Compared,
    Convert,
    Field,
    Gpm,
    Headroom,
    Links,
    Origin,
    PerLink,
    Several,
    Summed,
    flag,
    kibi,
    mebi,
    mega,
    milli,
    milli_or_none,
    nano,
    percent,
    same,
    words,
)

_METRICS = group_of(GpuReading).metrics

Key = tuple[str, ...]
"""A metric's own label values; empty for a metric without labels."""


class Cadence(enum.Enum):
    """How often the driver is asked for a value (seconds between two askings, tick permitting)."""

    TICK = 0.0
    SLOW = 10.0
    IDENTITY = 60.0


class Row:
    """The origins of one metric by its label values, and its cadence."""

    def __init__(
        self,
        origins: Sequence[Origin] | Mapping[Any, Sequence[Origin]],
        cadence: Cadence = Cadence.TICK,
        instead_of: Mapping[str, str] | None = None,
    ) -> None:
        """Take origins, best first: a list for a metric without labels, else by label values.

        ``instead_of`` names label values that are only read if another is not answered: both
        would count the same twice.
        """
        given = origins if isinstance(origins, Mapping) else {(): origins}
        self.origins: Mapping[Key, tuple[Origin, ...]] = {
            key if isinstance(key, tuple) else (key,): tuple(choices)
            for key, choices in given.items()
        }
        self.cadence = cadence
        self.instead_of: Mapping[Key, Key] = {
            (key,): (other,) for key, other in (instead_of or {}).items()
        }

    def with_fields(self, ids: Mapping[str, int | None], convert: Convert) -> Row:
        """Return the row with these fields for some label values; None stands for no field.

        ``""`` stands for a metric without labels.
        """
        row = Row({}, self.cadence)
        row.instead_of = self.instead_of
        own = {(label,) if label else (): id_ for label, id_ in ids.items()}
        row.origins = {
            key: choices if key not in own else _fields(own[key], convert)
            for key, choices in self.origins.items()
        }
        return row


def _fields(id_: int | None, convert: Convert) -> tuple[Origin, ...]:
    return () if id_ is None else (Field(id_, convert),)


GPU: Mapping[str, Row] = {
    # 185 is the one-second mean (Ampere except GA100, and later); GA100 has only the sample, 186;
    # some Grace parts answer for the module alone.
    "power_watts": Row(
        [
            Field(185, milli),
            Field(186, milli),
            Call("nvmlDeviceGetPowerUsage", convert=milli),
            Field(185, milli, SCOPE_MODULE),
        ]
    ),
    # Scope 2 is the memory. Boards without the sensor answer 0 (seen on A40).
    "memory_power_watts": Row([Field(185, milli_or_none, 2)]),
    "power_limit_watts": Row(
        [Field(190, milli), Call("nvmlDeviceGetEnforcedPowerLimit", convert=milli)]
    ),
    "power_limit_default_watts": Row(
        [
            Field(189, milli),
            Call("nvmlDeviceGetPowerManagementDefaultLimit", convert=milli),
        ],
        Cadence.SLOW,
    ),
    "power_limit_min_watts": Row([Field(187, milli)], Cadence.IDENTITY),
    "power_limit_max_watts": Row([Field(188, milli)], Cadence.IDENTITY),
    "power_limit_requested_watts": Row(
        [Field(192, milli), Call("nvmlDeviceGetPowerManagementLimit", convert=milli)], Cadence.SLOW
    ),
    "power_profiles": Row(
        [Call("nvmlDeviceWorkloadPowerProfileGetCurrentProfiles", convert=power_profiles)],
        Cadence.SLOW,
    ),
    "performance_state": Row(
        [Call("nvmlDeviceGetPerformanceState", convert=performance_state)], Cadence.SLOW
    ),
    "encoder_utilization_ratio": Row(
        [Call("nvmlDeviceGetEncoderUtilization", convert=busy)], Cadence.SLOW
    ),
    "decoder_utilization_ratio": Row(
        [Call("nvmlDeviceGetDecoderUtilization", convert=busy)], Cadence.SLOW
    ),
    # Absolute before Ada; later GPUs give them as margins.
    "temperature_threshold_celsius": Row(
        {
            "slowdown": [Call("nvmlDeviceGetTemperatureThreshold", (1,))],
            "memory_max": [Call("nvmlDeviceGetTemperatureThreshold", (2,))],
            "gpu_max": [Call("nvmlDeviceGetTemperatureThreshold", (3,))],
        },
        Cadence.IDENTITY,
    ),
    "temperature_margin_threshold_celsius": Row(
        {
            "shutdown": [Field(193)],
            "slowdown": [Field(194)],
            "memory_max": [Field(195)],
            "gpu_max": [Field(196)],
        },
        Cadence.IDENTITY,
    ),
    "nvlink_version": Row([Links(166, nvlink_version, partial=True)], Cadence.IDENTITY),
    "nvlink_link_bandwidth_bytes_per_second": Row([PerLink(164, mega)], Cadence.SLOW),
    "nvlink_link_remote": Row(
        [
            Several(
                ("nvmlDeviceGetNvLinkRemoteDeviceType", "nvmlDeviceGetNvLinkRemotePciInfo"),
                remote_ends,
            )
        ],
        Cadence.IDENTITY,
    ),
    "firmware": Row(
        [
            Several(
                ("nvmlDeviceGetGspFirmwareVersion", "nvmlDeviceGetInforomImageVersion"), firmware
            )
        ],
        Cadence.IDENTITY,
    ),
    "sram_lifetime_errors": Row(
        {
            unit: [Call("nvmlDeviceGetSramEccErrorStatus", attribute=f"aggregateUncBucket{name}")]
            for unit, name in (
                *(("l2", "L2"), ("sm", "Sm"), ("pcie", "Pcie"), ("mcu", "Mcu")),
                ("other", "Other"),
            )
        },
        Cadence.IDENTITY,
    ),
    "retired_pages": Row({"single_bit": [Field(29)], "double_bit": [Field(30)]}, Cadence.SLOW),
    "retired_pages_pending": Row([Field(31, flag)], Cadence.SLOW),
    "energy_joules": Row(
        [
            Field(83, milli),
            Call("nvmlDeviceGetTotalEnergyConsumption", convert=milli),
            Field(191, milli, SCOPE_MODULE),
        ]
    ),
    "temperature_celsius": Row(
        [
            Call("nvmlDeviceGetTemperatureV", (0,)),
            Call("nvmlDeviceGetTemperature", (0,)),
        ]
    ),
    "memory_temperature_celsius": Row([Field(82)]),
    "temperature_margin_celsius": Row([Call("nvmlDeviceGetMarginTemperature"), Headroom()]),
    # NVML_TEMPERATURE_THRESHOLD_SHUTDOWN
    "temperature_shutdown_celsius": Row(
        [Call("nvmlDeviceGetTemperatureThreshold", (0,))], Cadence.IDENTITY
    ),
    "fan_speed_ratio": Row([Call("nvmlDeviceGetFanSpeed", convert=percent)], Cadence.SLOW),
    "utilization_ratio": Row(
        [Call("nvmlDeviceGetUtilizationRates", convert=percent, attribute="gpu")]
    ),
    "memory_access_ratio": Row(
        [Call("nvmlDeviceGetUtilizationRates", convert=percent, attribute="memory")]
    ),
    "sm_active_ratio": Row([Gpm(2)]),
    "sm_occupancy_ratio": Row([Gpm(3)]),
    "tensor_active_ratio": Row([Gpm(5)]),
    "dram_active_ratio": Row([Gpm(10)]),
    "fp16_active_ratio": Row([Gpm(13)]),
    "fp32_active_ratio": Row([Gpm(12)]),
    "fp64_active_ratio": Row([Gpm(11)]),
    "pcie_transmit_bytes_per_second": Row([Gpm(20, mebi)]),
    "pcie_receive_bytes_per_second": Row([Gpm(21, mebi)]),
    "nvlink_transmit_bytes_per_second": Row([Gpm(61, mebi)]),
    "nvlink_receive_bytes_per_second": Row([Gpm(60, mebi)]),
    "sm_cycles": Row(
        {
            "elapsed": [Gpm(248, same)],
            "active": [Gpm(249, same)],
            "tensor": [Gpm(250, same)],
            "integer": [Gpm(257, same)],
            "fp64": [Gpm(258, same)],
            "fp32": [Gpm(259, same)],
            "fp16": [Gpm(260, same)],
        }
    ),
    "memory_total_bytes": Row([Call("nvmlDeviceGetMemoryInfo", attribute="total")]),
    "memory_used_bytes": Row([Call("nvmlDeviceGetMemoryInfo", attribute="used")]),
    "memory_reserved_bytes": Row([Call("nvmlDeviceGetMemoryInfo", attribute="reserved")]),
    "clock_hertz": Row(
        {
            "sm": [Call("nvmlDeviceGetClockInfo", (1,), mega)],
            "memory": [Call("nvmlDeviceGetClockInfo", (2,), mega)],
        }
    ),
    "clock_max_hertz": Row(
        {
            "sm": [Call("nvmlDeviceGetMaxClockInfo", (1,), mega)],
            "memory": [Call("nvmlDeviceGetMaxClockInfo", (2,), mega)],
        },
        Cadence.IDENTITY,
    ),
    "throttle_seconds": Row(
        {
            "sw_power_cap": [Field(74, nano)],
            "sync_boost": [Field(76, nano)],
            "sw_thermal": [Field(269, nano)],
            "hw_thermal": [Field(270, nano)],
            "hw_power_brake": [Field(271, nano)],
            # The older counters know of heat, but not whether software or hardware throttled.
            "thermal": [
                Field(75, nano),
                Call("nvmlDeviceGetViolationStatus", (1,), nano, "violationTime"),
            ],
        },
        instead_of={"thermal": "sw_thermal"},
    ),
    "throttle_reasons": Row(
        [
            Call("nvmlDeviceGetCurrentClocksEventReasons", convert=throttle_reasons),
            Call("nvmlDeviceGetCurrentClocksThrottleReasons", convert=throttle_reasons),
        ]
    ),
    "pcie_transmit_bytes": Row([Field(197)]),
    "pcie_receive_bytes": Row([Field(198)]),
    "pcie_replays": Row([Field(94), Call("nvmlDeviceGetPcieReplayCounter")], Cadence.SLOW),
    "pcie_link_generation": Row([Call("nvmlDeviceGetCurrPcieLinkGeneration")], Cadence.SLOW),
    "pcie_link_generation_max": Row([Call("nvmlDeviceGetMaxPcieLinkGeneration")], Cadence.SLOW),
    "pcie_link_width": Row([Call("nvmlDeviceGetCurrPcieLinkWidth")], Cadence.SLOW),
    "pcie_link_width_max": Row([Call("nvmlDeviceGetMaxPcieLinkWidth")], Cadence.SLOW),
    "nvlink_transmit_bytes": Row([Field(138, kibi, ALL_LINKS), Links(138, convert=kibi)]),
    "nvlink_receive_bytes": Row([Field(139, kibi, ALL_LINKS), Links(139, convert=kibi)]),
    "nvlink_links": Row([Field(91)], Cadence.SLOW),
    "nvlink_links_active": Row([Links(165, active_links, partial=True)], Cadence.SLOW),
    "nvlink_errors": Row(
        {
            "replay": [Summed(161)],
            "recovery": [Summed(162), Summed(213)],
            "crc": [Summed(163)],
            "recovery_failed": [Summed(214)],
            "malformed_packet": [Summed(206)],
            "buffer_overrun": [Summed(207)],
            "receive": [Summed(208)],
            "integrity": [Summed(211)],
            "effective": [Summed(219)],
            "symbol": [Summed(221)],
        },
        Cadence.SLOW,
    ),
    "nvlink_link_up": Row([PerLink(165, link_is_up)], Cadence.SLOW),
    "nvlink_link_transmit_bytes": Row([PerLink(138, kibi)]),
    "nvlink_link_receive_bytes": Row([PerLink(139, kibi)]),
    "nvlink_link_errors": Row(
        {
            "replay": [PerLink(161)],
            "recovery": [PerLink(162), PerLink(213)],
            "crc": [PerLink(163)],
            "recovery_failed": [PerLink(214)],
            "effective": [PerLink(219)],
            "symbol": [PerLink(221)],
        },
        Cadence.SLOW,
    ),
    "fabric_state": Row(
        [
            Call("nvmlDeviceGetGpuFabricInfoV", convert=fabric_state),
            Call("nvmlDeviceGetGpuFabricInfo", convert=fabric_state),
        ],
        Cadence.SLOW,
    ),
    "fabric_status": Row(
        [
            Call("nvmlDeviceGetGpuFabricInfoV", convert=fabric_status),
            Call("nvmlDeviceGetGpuFabricInfo", convert=fabric_status),
        ],
        Cadence.SLOW,
    ),
    "fabric_info": Row(
        [
            Call("nvmlDeviceGetGpuFabricInfoV", convert=fabric_info),
            Call("nvmlDeviceGetGpuFabricInfo", convert=fabric_info),
        ],
        Cadence.SLOW,
    ),
    "fabric_unhealthy": Row(
        [Call("nvmlDeviceGetGpuFabricInfoV", convert=fabric_health)], Cadence.SLOW
    ),
    "ecc_errors": Row(
        {
            ("corrected", "dram"): [Call("nvmlDeviceGetMemoryErrorCounter", (0, 0, 2))],
            ("corrected", "sram"): [Call("nvmlDeviceGetMemoryErrorCounter", (0, 0, 7))],
            ("uncorrected", "dram"): [Call("nvmlDeviceGetMemoryErrorCounter", (1, 0, 2))],
            ("uncorrected", "sram"): [Call("nvmlDeviceGetMemoryErrorCounter", (1, 0, 7))],
        },
        Cadence.SLOW,
    ),
    "ecc_lifetime_errors": Row(
        {
            ("corrected", "dram"): [Call("nvmlDeviceGetMemoryErrorCounter", (0, 1, 2))],
            ("corrected", "sram"): [Call("nvmlDeviceGetMemoryErrorCounter", (0, 1, 7))],
            ("uncorrected", "dram"): [Call("nvmlDeviceGetMemoryErrorCounter", (1, 1, 2))],
            ("uncorrected", "sram"): [Call("nvmlDeviceGetMemoryErrorCounter", (1, 1, 7))],
        },
        Cadence.SLOW,  # as ecc_errors: the two are compared
    ),
    "remapped_rows": Row({"corrected": [Field(142)], "uncorrected": [Field(143)]}, Cadence.SLOW),
    "row_remap_pending": Row([Field(144, flag)], Cadence.SLOW),
    "row_remap_failed": Row([Field(145, flag)], Cadence.SLOW),
    "sram_threshold_exceeded": Row(
        [Call("nvmlDeviceGetSramEccErrorStatus", convert=flag, attribute="bThresholdExceeded")],
        Cadence.IDENTITY,
    ),
    "remap_banks": Row(
        {
            spares: [Call("nvmlDeviceGetRowRemapperHistogram", attribute=spares)]
            for spares in ("max", "high", "partial", "low", "none")
        },
        Cadence.IDENTITY,
    ),
    "remap_banks_exhausted": Row(
        [Call("nvmlDeviceGetRowRemapperHistogram", attribute="none")], Cadence.IDENTITY
    ),
    "power_smoothing_lifetime_ratio": Row([Field(258, percent)], Cadence.IDENTITY),
    "recovery_action": Row([Field(230, recovery_action)]),
    "persistence_mode": Row([Call("nvmlDeviceGetPersistenceMode", convert=flag)], Cadence.IDENTITY),
    "ecc_mode": Row(
        [Field(1, flag), Call("nvmlDeviceGetEccMode", convert=mode_now)], Cadence.IDENTITY
    ),
    "ecc_mode_pending": Row(
        [Field(2, flag), Call("nvmlDeviceGetEccMode", convert=mode_pending)], Cadence.IDENTITY
    ),
    # The binding returns a list of one.
    "ecc_mode_default": Row(
        [Call("nvmlDeviceGetDefaultEccMode", convert=mode_now)], Cadence.IDENTITY
    ),
    "mig_mode": Row([Call("nvmlDeviceGetMigMode", convert=mode_now)], Cadence.SLOW),
}
"""Of a whole GPU, by the field of its reading."""

SUMS = "sums"
"""The field of a reading that has sums beside what they should be; it is shown nowhere itself."""

_SUMS = {
    f"{name}.{kind}" if kind else name: [Compared(id_, convert) for id_ in ids]
    for name, kind, ids, convert in (
        ("nvlink_transmit_bytes", "", (138,), kibi),
        ("nvlink_receive_bytes", "", (139,), kibi),
        *(
            ("nvlink_errors", kind, [o.id for o in origins if isinstance(o, Summed)], same)
            for (kind,), origins in GPU["nvlink_errors"].origins.items()
        ),
    )
}
"""The sums that are compared, by name. The links' errors are read anyway, their bytes for this."""

MIG: Mapping[str, Row] = {
    "multiprocessors": Row([Call("nvmlDeviceGetAttributes_v2", attribute="multiprocessorCount")]),
    "memory_total_bytes": Row([Call("nvmlDeviceGetMemoryInfo", attribute="total")]),
    "memory_used_bytes": Row([Call("nvmlDeviceGetMemoryInfo", attribute="used")]),
    "sm_active_ratio": Row([Gpm(2)]),
    "sm_occupancy_ratio": Row([Gpm(3)]),
    "tensor_active_ratio": Row([Gpm(5)]),
    "dram_active_ratio": Row([Gpm(10)]),
}
"""Of a MIG instance."""


JUDGED = frozenset(
    (
        *("persistence_mode", "ecc_mode", "ecc_mode_pending", "ecc_mode_default"),
        *("temperature_shutdown_celsius", "temperature_margin_threshold_celsius"),
    )
)
"""What is read in every tier, though only ``full`` has a series of it: checks judge by it, and
``gpumon_gpu_info`` says it in words."""


def rows_for(driver_version: str, tier: Tier) -> dict[str, Row]:
    """Return the rows of a GPU for a driver, up to a tier, by the field of its reading."""
    ids = numbering(driver_version)
    rows = {
        m.field: GPU[m.field]
        for m in _METRICS
        if m.field in GPU and (m.tier <= tier or m.field in JUDGED)
    }
    if "nvlink_errors" in rows:
        rows[SUMS] = Row(_SUMS, Cadence.SLOW)
    if "throttle_seconds" in rows:
        known = {
            "sw_thermal": ids.sw_thermal,
            "hw_thermal": ids.hw_thermal,
            "hw_power_brake": ids.hw_power_brake,
        }
        rows["throttle_seconds"] = rows["throttle_seconds"].with_fields(known, nano)
    if "power_smoothing_lifetime_ratio" in rows:
        lifetime = rows["power_smoothing_lifetime_ratio"]
        rows["power_smoothing_lifetime_ratio"] = lifetime.with_fields(
            {"": ids.smoothing_lifetime}, percent
        )
    return rows


def possible_origins(rows: Mapping[str, Row], field: str) -> list[str]:
    """Return the words for every origin that a field's value may have, best first."""
    row = rows.get(field)
    every = (words(one) for choices in row.origins.values() for one in choices) if row else ()
    return list(dict.fromkeys(every))
