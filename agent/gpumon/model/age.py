"""The age of what is served of a GPU: known only at the moment of the scrape."""

from __future__ import annotations

import dataclasses

from gpumon.model.metric import Tier, gauge, metric_group


@metric_group(prefix="gpumon_gpu", labels=("gpu", "uuid"))
@dataclasses.dataclass(frozen=True, slots=True)
class GpuAge:
    """How old a GPU's reading is at the moment it is looked at."""

    label_values: tuple[str, ...]
    sample_age_seconds: float | None = gauge(
        "Age of this GPU's reading when it was served.", tier=Tier.CORE
    )
