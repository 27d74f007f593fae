"""The two layers of rules: what one server of a fleet can say alone, and what needs the whole.

A fleet of more nodes than one server holds is split among several, never within a rack. Each
evaluates the layer ``node``: series and alerts of nodes, of their GPUs, and of racks. One more
evaluates the layer ``site`` over what the others send it: what they recorded, and the few families
of ``RAW``. Evaluated together they give what one server with all rules gives.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable

from gpumon.rules.model import Alert, Rule, RuleGroup
from gpumon.times import scaled


class Layer(enum.StrEnum):
    """Which servers evaluate a rule: those of nodes, that of the site, or each for itself."""

    NODE = "node"
    SITE = "site"
    EACH = "each"


CHOICES = (Layer.NODE.value, Layer.SITE.value, "all")
"""What may be exported."""

RAW = (
    "up",
    "gpumon_source_up",
    "gpumon_source_info",
    "gpumon_build_info",
    "gpumon_gpus_unlisted",
    "gpumon_gpu_info",
    "gpumon_gpu_virtualization_info",
    "gpumon_gpu_xid_last_timestamp_seconds",
    "gpumon_job_info",
    "gpumon_job_gpus",
    "gpumon_job_idle_gpus",
    "gpumon_job_power_watts",
    "gpumon_job_activity_ratio",
)
"""The families of agents that the site's layer reads as they are scraped: of a node or one of its
jobs; of a GPU what it is, and the Xids that it had."""

SENT = rf"[a-z_]+:gpumon_.+|ALERTS|{'|'.join(RAW)}"
"""What a server of nodes sends to that of the site, as a regular expression of whole names."""

LABEL = "layer"
"""The label of what each layer says of itself: two Watchdogs are two alerts."""


OFTEN = "15s"
"""The interval of the levels that people and pages watch, on one server."""

QUICKER = {Layer.NODE.value: "10s", Layer.SITE.value: "5s"}
"""Their interval if they are evaluated one after another, on two servers: together no later than
20 seconds after a fault."""


def of_layer(
    groups: Iterable[RuleGroup], layer: str, time_scale: float = 1.0
) -> tuple[RuleGroup, ...]:
    """Return the rules of a layer (one of ``CHOICES``), without empty groups.

    ``time_scale`` is what the groups' durations are divided by already.
    """
    if layer == "all":
        return tuple(groups)
    often, quicker = (scaled(interval, time_scale) for interval in (OFTEN, QUICKER[layer]))
    found = (
        dataclasses.replace(
            group,
            interval=quicker if group.interval == often else group.interval,
            rules=tuple(_marked(r, layer) for r in group.rules if r.layer in (layer, Layer.EACH)),
        )
        for group in groups
    )
    return tuple(group for group in found if group.rules)


def _marked(rule: Rule, layer: str) -> Rule:
    if isinstance(rule, Alert) and rule.layer == Layer.EACH:
        return dataclasses.replace(rule, labels=((LABEL, layer), *rule.labels))
    return rule
