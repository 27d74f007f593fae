"""The levels of a fleet, by name: the place of a node, and its owner.

Two hierarchies that know nothing of each other, for a rack may hold nodes of two clusters, and a
cluster may fill two halls. No level is made by leaving labels out: a label that nobody thought of
(of an asset, a pod, a replica) would split it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.errors import UsageError
from gpumon.site.nodes import OWNERS
from gpumon.thresholds import OwnLevels

PLACE = ("site", "hall", "row", "rack")
"""The place of a node, from the widest: watts, heat, budgets, demand and capacity add up so."""

SERVICE = ("cluster", "node_partition")
"""The owner of a node: jobs, versions, drift and holders add up so."""

TARGET = (*PLACE, "cluster", "node", "node_partition", "instance", *OWNERS)
"""The labels of a node's recorded series, with whose it is, for its alerts.

``job``, the scrape job's name, is not one of them.
"""

NODE = "instance"
"""The level of single nodes, from which the others are made."""

_RECORDED = ("budget", "job", "le", "level", "model", "name", "remap", "trouble")
"""Labels and levels of recorded series that no agent exposes, which a site cannot use again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Level:
    """A level: its name, the level that it is made from, and the labels of its series.

    ``always`` is whether every quantity that goes up is recorded at it. A server that never
    splits a rack can record a rack; ``whole`` levels need all servers' nodes.
    """

    name: str
    below: str
    labels: tuple[str, ...]
    always: bool = True
    whole: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Levels:
    """All levels of a site: those that ship, and its own."""

    own: OwnLevels

    def __post_init__(self) -> None:
        """Refuse a label that already means something; UsageError."""
        taken = sorted(set(self.own.extra) & _taken())
        if taken:
            raise UsageError(
                f"[levels] extra: {taken[0]} is a label that gpumon's own series have",
                "name the site's label otherwise, by relabelling",
            )

    @property
    def target(self) -> tuple[str, ...]:
        """The labels of a node's recorded series, the site's own among them."""
        return *TARGET, *self.own.extra

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels above a node, each after the one that it is made from.

        None is further from a node than two steps: an engine that evaluates rules without
        waiting for what it has just written is an interval late with each.
        """
        return (
            Level("rack", NODE, PLACE, whole=False),
            Level("row", "rack", PLACE[:3]),
            Level("hall", "rack", PLACE[:2]),
            Level("site", "rack", PLACE[:1], always=False),
            Level("cluster", NODE, SERVICE[:1]),
            Level("node_partition", NODE, SERVICE, always=False),
            *(Level(name, NODE, ("site", name)) for name in self.own.aggregate),
        )

    @property
    def lists(self) -> Mapping[str, str]:
        """The lists of labels that a rule's source names as ``<<by.NAME>>``."""
        return {
            "node": ", ".join(self.target),
            "gpu": ", ".join((*self.target, "gpu", "uuid")),
            "budget": "site, level, name",
            # A node on the site's list has no agent's address.
            "listed": ", ".join(label for label in self.target if label != NODE),
            **{level.name: ", ".join(level.labels) for level in self.levels},
        }


def _taken() -> frozenset[str]:
    from gpumon.model import Tier
    from gpumon.model.catalogue import rows

    exposed = {label for labels, _ in rows(Tier.FULL) for label in labels}
    return frozenset(exposed.union(_RECORDED, TARGET))
