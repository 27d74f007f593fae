"""GPU power: recorded series of the chosen halls, and their sums."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from dashboards.kit.links import Beside, Link
from dashboards.kit.promql import SITE, Expr, aggregate, select, where

HALLS = f'{SITE},hall=~"$hall"'
"""Matchers of the chosen sites' halls; All is also what has no hall."""

RACK = Link(
    "Nodes of this rack",
    "gpumon-power",
    "rack",
    "rack",
    also=(Beside("hall", "hall", "Hall"), Beside("site", "site", "Site")),
)

TOP = ("site", "hall")
"""The levels that are not too many to draw each."""


def of_halls(name: str, **labels: str | tuple[str, ...]) -> Expr:
    """Return a recorded series of the chosen halls, or of what is in them."""
    return select(name, HALLS, **labels)


def _whole(made_of: str, *series: str) -> Expr:
    """Return a sum over what is chosen: of the sites where halls are All, else of the halls."""
    levels = [[of_halls(name, level=level) for name in series] for level in TOP]
    sums = [where(f"sum({made_of})", *parts) for parts in levels]
    return sums[0] | sums[1]


DRAWN = aggregate("sum", of_halls("hall:gpumon_known_power_watts:sum"))
HEADROOM = _whole("{0}", "budget:gpumon_power_headroom_watts:difference")
BUDGET = _whole(
    "{0} + {1}", "budget:gpumon_power_headroom_watts:difference", "budget:gpumon_power_watts:sum"
)
GPUS = aggregate("sum", of_halls("hall:gpumon_gpu_power_watts:sum"))
WHOLE_NODES = aggregate("sum", of_halls("hall:gpumon_node_power_watts:sum"))
LIMITS = aggregate("sum", of_halls("hall:gpumon_gpu_power_limit_watts:sum"))
AS_BUILT = aggregate("sum", of_halls("hall:gpumon_gpu_power_limit_default_watts:sum"))
PUE = where("max by (site) ({0})", select("gpumon_site_pue_ratio", SITE), unit=units.Short)
FACILITY = where(
    "sum({0} * on (site) group_left () {1})",
    of_halls("hall:gpumon_node_power_watts:sum"),
    PUE,
)
