"""The node beyond its GPUs: what it draws, and the basics of its CPUs and memory.

The rest of a host is node_exporter's. A reading is absent if its hardware is, or if this user may
not read it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.model.metric import Tier, counter, gauge, metric_group


@metric_group(prefix="gpumon_node")
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """What the host's collectors know now."""

    power_watts: Mapping[tuple[str, str], float] | None = gauge(
        "Power of the whole node: measured (by its BMC or a power meter), or else estimated from "
        "GPUs, CPUs and a declared overhead.",
        tier=Tier.CORE,
        labels=["method", "source"],
    )
    energy_joules: Mapping[tuple[str, str], float] | None = counter(
        "Energy of the whole node since the agent started, by the method in use at the time; the "
        "series add up.",
        tier=Tier.CORE,
        labels=["method", "source"],
    )
    cpu_energy_joules: Mapping[tuple[str, str], float] | None = counter(
        "Energy of the CPUs since the agent started (RAPL), corrected for wraps of the counter. "
        "Domains core and uncore are parts of package, dram is not, and psys contains all: do not "
        "add them all up.",
        labels=["package", "domain"],
    )
    cpus: int | None = gauge("Logical CPUs.", tier=Tier.FULL)
    cpu_utilization_ratio: float | None = gauge(
        "Share of the CPUs' time that was not idle, mean since the last look."
    )
    memory_total_bytes: int | None = gauge("Memory of the host.")
    memory_available_bytes: int | None = gauge(
        "Memory of the host that processes can still have, without swapping."
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """The node is Prometheus's own ``instance``: no label."""
        return ()
