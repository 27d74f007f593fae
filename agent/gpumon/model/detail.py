"""What is known of a GPU beyond what is watched: limits, thresholds, firmware, each NVLink.

Part of the catalogue of the ``gpumon_gpu_*`` metrics (``gpumon.model.gpu``); for a look at one GPU
(``gpumon info``) and for the full tier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.model.metric import Tier, counter, gauge, info
from gpumon.model.terms import Firmware


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuDetail:
    """The fields that a GPU's reading has for these; None is not known."""

    power_limit_min_watts: float | None = gauge(
        "Lowest power limit that can be set.", tier=Tier.FULL
    )
    power_limit_max_watts: float | None = gauge(
        "Highest power limit that can be set.", tier=Tier.FULL
    )
    power_limit_requested_watts: float | None = gauge(
        "Power limit that was asked for on this node; what is in force may be lower.",
        tier=Tier.FULL,
    )
    power_profiles: Mapping[tuple[str, str], bool] | None = gauge(
        "1 for each workload power profile that is requested (how=requested) or in force "
        "(how=enforced).",
        tier=Tier.FULL,
        labels=["profile", "how"],
    )
    performance_state: int | None = gauge(
        "Performance state, 0 to 15: P0 is the fastest; data-center GPUs stay in it when idle.",
        tier=Tier.FULL,
    )
    encoder_utilization_ratio: float | None = gauge(
        "Share of the last sample period in which the video encoders were busy.", tier=Tier.FULL
    )
    decoder_utilization_ratio: float | None = gauge(
        "Share of the last sample period in which the video decoders were busy.", tier=Tier.FULL
    )
    temperature_threshold_celsius: Mapping[str, float] | None = gauge(
        "Temperatures from which the GPU is throttled: to half or less by the hardware (slowdown), "
        "gently for the memory's heat (memory_max) or its own (gpu_max); GPUs before Ada.",
        tier=Tier.FULL,
        labels=["threshold"],
        keys=["slowdown", "memory_max", "gpu_max"],
    )
    temperature_margin_threshold_celsius: Mapping[str, float] | None = gauge(
        "The same for Ada and later, as degrees of gpumon_gpu_temperature_margin_celsius, 0 or "
        "below; at shutdown the GPU switches itself off.",
        tier=Tier.FULL,
        labels=["threshold"],
        keys=["shutdown", "slowdown", "memory_max", "gpu_max"],
    )
    nvlink_link_up: Mapping[str, bool] | None = gauge(
        "1 for each NVLink that is up.",
        tier=Tier.FULL,
        labels=["link"],
    )
    nvlink_link_transmit_bytes: Mapping[str, int] | None = counter(
        "Data sent over each NVLink.",
        tier=Tier.FULL,
        labels=["link"],
    )
    nvlink_link_receive_bytes: Mapping[str, int] | None = counter(
        "Data received over each NVLink.",
        tier=Tier.FULL,
        labels=["link"],
    )
    nvlink_link_errors: Mapping[tuple[str, str], int] | None = counter(
        "NVLink errors of each link by kind.",
        tier=Tier.FULL,
        labels=["kind", "link"],
        keys=["replay", "recovery", "crc", "recovery_failed", "effective", "symbol"],
    )

    contradicted: Mapping[str, bool] | None = gauge(
        "1 for a sum that the driver reports and that is not the sum of its parts: NVLink counters "
        "against those of the links; at the full tier memory errors against those over the board's "
        "life.",
        labels=["reading"],
    )
    nvlink_version: float | None = gauge("Version of the GPU's NVLinks.", tier=Tier.FULL)
    nvlink_link_bandwidth_bytes_per_second: Mapping[str, int] | None = gauge(
        "Bandwidth of each NVLink in one direction, as it was trained.",
        tier=Tier.FULL,
        labels=["link"],
    )
    nvlink_link_remote: Mapping[tuple[str, str], bool] | None = gauge(
        "1 for the other end of each NVLink: gpu or switch, and its PCI address.",
        tier=Tier.FULL,
        labels=["link", "remote"],
    )
    sram_lifetime_errors: Mapping[str, int] | None = counter(
        "Uncorrectable SRAM errors over the life of the board, by the unit that had them.",
        tier=Tier.FULL,
        labels=["unit"],
        keys=["l2", "sm", "pcie", "mcu", "other"],
    )
    retired_pages: Mapping[str, int] | None = counter(
        "Pages of memory that were taken out of use for single-bit or double-bit errors; GPUs "
        "before Ampere.",
        labels=["cause"],
        keys=["single_bit", "double_bit"],
    )
    retired_pages_pending: bool | None = gauge(
        "1 when a page waits to be taken out of use at the next reset; GPUs before Ampere.",
    )
    firmware: Firmware | None = info(
        "Versions of the firmware of the GPU's system processor (GSP) and of its InfoROM.",
        labels=("gsp_version", "inforom_version"),
        tier=Tier.FULL,
    )
