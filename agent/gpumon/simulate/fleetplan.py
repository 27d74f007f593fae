"""What fleet: its nodes with their places, and what the site says of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from gpumon.errors import UsageError
from gpumon.site.config import Site, load_site
from gpumon.site.factors import Constant
from gpumon.site.nodes import SiteNode
from gpumon.sources.sim.models import GpuModel, find_model
from gpumon.sources.sim.options import MOST_GPUS

MOST_NODES = 20_000
NODES_PER_RACK = 4
"""Four nodes of eight air-cooled GPUs are some 40 kW, what such racks are built for."""

RACKS_PER_ROW = 10
ROWS_PER_HALL = 10

BUDGET_SHARE = 1.1
"""A generated budget over all GPUs at their limit and all else that nodes draw: a healthy fleet
stays below nine tenths of it."""

OVERHEAD_RATIO = 0.1
OVERHEAD_WATTS = 900.0
"""What a node draws beyond its GPUs: CPUs and disks, and fans and losses that go with the GPUs (a
DGX B200 draws 14.3 kW with GPUs of 8 kW at full load; with coolant it is less)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """A fleet before it runs; ``gpus`` are those of a node that the site says nothing of."""

    site: Site
    model: GpuModel
    gpus: int
    seed: int

    @property
    def nodes(self) -> tuple[SiteNode, ...]:
        """The nodes, in the order of racks."""
        return self.site.nodes

    def gpus_of(self, node: SiteNode) -> int:
        """Return how many GPUs a node has."""
        return self.gpus if node.expected_gpus is None else node.expected_gpus


def plan_fleet(
    *, nodes: int | None, gpus: int, model: str, seed: int, site: Path | None
) -> FleetPlan:
    """Return the fleet of a site file, or of ``nodes`` nodes; UsageError for what cannot be."""
    if not 1 <= gpus <= MOST_GPUS:
        raise UsageError(f"{gpus} GPUs a node", f"use 1 to {MOST_GPUS}")
    found = find_model(model)
    if site is not None:
        if nodes is not None:
            raise UsageError("--nodes beside --site", "the nodes are those of the site file")
        loaded = load_site(site)
        if not loaded.nodes:
            raise UsageError(f"{site} has no nodes", "add a [[nodes]] table, or use --nodes")
        return FleetPlan(site=loaded, model=found, gpus=gpus, seed=seed)
    count = 8 if nodes is None else nodes
    if not 1 <= count <= MOST_NODES:
        raise UsageError(f"{count} nodes", f"use 1 to {MOST_NODES}")
    return FleetPlan(site=_generated(count, gpus, found), model=found, gpus=gpus, seed=seed)


def node_watts(gpu_watts: float) -> float:
    """Return what a whole node draws when its GPUs draw so much."""
    return OVERHEAD_WATTS + (1 + OVERHEAD_RATIO) * gpu_watts


def _generated(count: int, gpus: int, model: GpuModel) -> Site:
    nodes = tuple(_nodes(count, gpus))
    each = BUDGET_SHARE * node_watts(gpus * model.limit_default)
    budgets: dict[tuple[str, str], float] = {("site", ""): each * count}
    for node in nodes:
        for level in ("hall", "row", "rack"):
            key = level, getattr(node, level)
            budgets[key] = budgets.get(key, 0.0) + each
    source = "made up for the simulation"
    return Site(
        cluster="sim",
        nodes=nodes,
        budgets={key: math.ceil(watts) for key, watts in budgets.items()},
        currency="EUR",
        zone="sim",
        price=Constant(source, 0.16),
        carbon=Constant(source, 350.0),
        pue=Constant(source, 1.25),
    )


def _nodes(count: int, gpus: int) -> Iterator[SiteNode]:
    """Yield nodes rack by rack, the names of racks and rows unique in the whole site."""
    digits = max(4, len(str(count)))
    for number in range(count):
        rack = number // NODES_PER_RACK
        row = rack // RACKS_PER_ROW
        name = f"n{number + 1:0{digits}d}"
        yield SiteNode(
            node=name,
            address=name,
            rack=f"r{rack + 1:03d}",
            row=f"row{row + 1}",
            hall=f"h{row // ROWS_PER_HALL + 1}",
            # One node in eight serves; the others train.
            node_partition="serve" if number % 8 == 7 else "train",
            state="allocated",
            expected_gpus=gpus,
        )
