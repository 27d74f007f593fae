"""The nodes of a site: the rack of each, and how many GPUs it should have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from gpumon.workloads.slurm.sinfo import SlurmNode

PLACES = ("rack", "row", "hall")

OWNERS = ("team", "owner", "pager")
"""Whose a node is: labels of its target, which its alerts carry."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SiteNode:
    """A node by its short name; what is not known is empty, or None.

    ``address`` is HOST:PORT of its agent; ``state`` what the scheduler says of it. ``cluster`` is
    empty for the site's first, or only, one. ``team``, ``owner`` and ``pager`` say who gets its
    alerts, in the site's own words.
    """

    node: str
    address: str
    cluster: str = ""
    rack: str = ""
    row: str = ""
    hall: str = ""
    node_partition: str = ""
    state: str = ""
    team: str = ""
    owner: str = ""
    pager: str = ""
    expected_gpus: int | None = None

    def target_labels(self, cluster: str, site: str = "") -> dict[str, str]:
        """Return the labels of its target that are known, of the site's cluster if it has none."""
        labels = {
            "site": site,
            "cluster": self.cluster or cluster,
            "node": self.node,
            "rack": self.rack,
            "row": self.row,
            "hall": self.hall,
            "node_partition": self.node_partition,
            "team": self.team,
            "owner": self.owner,
            "pager": self.pager,
        }
        return {name: value for name, value in labels.items() if value}


def of_slurm(nodes: Mapping[str, SlurmNode], port: int) -> dict[str, SiteNode]:
    """Return Slurm's nodes by name; each one's agent listens on ``port``."""
    return {
        name: SiteNode(
            node=name,
            address=f"{name}:{port}",
            node_partition=node.partition,
            state=node.state,
            expected_gpus=node.gpus,
        )
        for name, node in nodes.items()
    }


def merge(declared: Iterable[SiteNode], scheduled: Mapping[str, SiteNode]) -> tuple[SiteNode, ...]:
    """Return the nodes of both: their places as declared, the rest as the scheduler says.

    A node that is drained or down is one of them: it draws power all the same. The scheduler is
    that of the site's first cluster.
    """
    nodes = {(node.cluster, node.node): node for node in declared}
    for name, told in scheduled.items():
        known = nodes.get(("", name))
        nodes["", name] = (
            told
            if known is None
            else dataclasses.replace(
                known,
                state=told.state,
                node_partition=known.node_partition or told.node_partition,
                expected_gpus=told.expected_gpus
                if known.expected_gpus is None
                else known.expected_gpus,
            )
        )
    return tuple(nodes.values())
