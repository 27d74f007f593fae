"""What the GPUs of a node add up to in one scrape: what is not a sum of power over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.model.metric import Tier, counter, gauge, metric_group


@metric_group(prefix="gpumon_node")
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NodeTotals:
    """Sums over the GPUs of a node, so that nobody has to read each GPU for them.

    Of a sum's parts those that are not known are left out; if none is known, so is the sum. There
    is no sum of counters: it falls if a GPU is lost. ``gpu_energy_joules`` is a counter of its own.
    """

    gpus: Mapping[str, int] | None = gauge(
        "GPUs that the source lists, by the state they are in.",
        tier=Tier.CORE,
        labels=["state"],
    )
    gpus_held: int | None = gauge("GPUs that a job holds.", tier=Tier.CORE)
    gpus_active: int | None = gauge(
        "GPUs that a job holds and whose activity is at or above the threshold "
        "activity.idle_ratio.",
        tier=Tier.CORE,
    )
    gpu_power_limit_watts: float | None = gauge(
        "Power limits in force of all GPUs that respond, together.", tier=Tier.CORE
    )
    gpu_power_limit_default_watts: float | None = gauge(
        "Power limits that the GPUs that respond start with, together.", tier=Tier.CORE
    )
    gpu_temperature_margin_celsius: float | None = gauge(
        "Degrees left to the nearest slowdown of the GPU that is nearest to it.", tier=Tier.CORE
    )
    gpu_processes: int | None = gauge(
        "Processes that hold a context on a GPU; one on two GPUs counts twice."
    )
    gpu_energy_joules: float | None = counter(
        "Energy drawn by the GPUs that were ever here, as the ledger booked it: it goes on if a "
        "GPU is lost, reset or replaced, and through restarts.",
        tier=Tier.CORE,
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """The node is Prometheus's own ``instance``: no label."""
        return ()
