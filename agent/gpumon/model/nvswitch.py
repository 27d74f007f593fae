"""The NVSwitches of a node, as far as the kernel log reports them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.model.metric import Tier, counter, gauge, metric_group


@metric_group(prefix="gpumon_nvswitch", labels=("nvswitch", "pci_bus_id"))
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NvswitchReading:
    """What is remembered of one NVSwitch that has reported an error."""

    nvswitch: int
    pci_bus_id: str
    sxid_errors: Mapping[tuple[str, str], int] | None = counter(
        "Errors (SXids) of this NVSwitch by code, and by the driver's own severity: fatal or "
        "non_fatal.",
        tier=Tier.CORE,
        labels=["sxid", "severity"],
    )
    sxid_last_timestamp_seconds: Mapping[str, float] | None = gauge(
        "Time of the last SXid of this code.", tier=Tier.CORE, labels=["sxid"]
    )
    sxid_unresolved: Mapping[str, int] | None = gauge(
        "1 if the last SXid of this code was fatal, and the driver was not loaded again, nor the "
        "GPUs released and taken up again, since; 0 after that.",
        tier=Tier.CORE,
        labels=["sxid"],
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """The values of the group's labels: the driver's number and the PCI address."""
        return str(self.nvswitch), self.pci_bus_id
