"""The catalogue of metrics, whole: of GPUs and nodes, the agent itself, and the site."""

from __future__ import annotations

from collections.abc import Iterator

from gpumon.model.age import GpuAge
from gpumon.model.agent import AgentReading
from gpumon.model.gpu import GpuReading
from gpumon.model.host import HostReading
from gpumon.model.ledger import JobGpuReading, JobReading, LedgerReading
from gpumon.model.metric import Metric, Tier, group_of
from gpumon.model.mig import MigReading
from gpumon.model.nvswitch import NvswitchReading
from gpumon.model.site import SiteNodeReading, SiteReading
from gpumon.model.snapshot import NodeReading
from gpumon.model.totals import NodeTotals

OWNERS = (
    GpuReading,
    GpuAge,
    MigReading,
    NvswitchReading,
    NodeReading,
    NodeTotals,
    HostReading,
    JobReading,
    JobGpuReading,
    LedgerReading,
    AgentReading,
    SiteNodeReading,
    SiteReading,
)
"""The dataclasses that carry metrics, in the order of the reference (docs/metrics.md)."""

METRICS = tuple(metric for owner in OWNERS for metric in group_of(owner).metrics)
"""Every metric there is."""


OWNER_OF = {metric.name: owner for owner in OWNERS for metric in group_of(owner).metrics}
"""The dataclass that carries a metric, by the metric's name."""


def rows(tier: Tier) -> Iterator[tuple[tuple[str, ...], Metric]]:
    """Yield (all labels, metric) of every metric up to a tier, in the reference's order."""
    for owner in OWNERS:
        group = group_of(owner)
        for metric in group.metrics:
            if metric.tier <= tier:
                yield group.labels + metric.labels, metric
