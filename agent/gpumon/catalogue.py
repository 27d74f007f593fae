"""The catalogue of metrics, whole: of GPUs and nodes, the agent itself, and the site."""

from __future__ import annotations

from collections.abc import Iterator

import gpumon.agent.facts  # registers the agent's own metrics
import gpumon.site.readings  # noqa: F401 - registers the site's
from gpumon.model import Metric, Tier, groups


def rows(tier: Tier) -> Iterator[tuple[tuple[str, ...], Metric]]:
    """Yield (all labels, metric) of every metric up to a tier, in the exposition's order."""
    for group in groups().values():
        for metric in group.metrics:
            if metric.tier <= tier:
                yield group.labels + metric.labels, metric
