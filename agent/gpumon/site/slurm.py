"""The nodes that Slurm knows, from ``sinfo --json``."""

from __future__ import annotations

import json
import re
from typing import Any

from gpumon.site.nodes import SiteNode
from gpumon.workloads.slurm.slurmcommand import SlurmError, plain, run_command

_GPUS = re.compile(r"gpu(?::([^:(,]+))?:(\d+)")
_MIG = re.compile(r"(?:^|_)\d+g\.")
"""Instances of divided GPUs (gpu:1g.10gb:7) are no GPUs to be counted."""


async def ask_nodes(port: int) -> dict[str, SiteNode]:
    """Return the nodes by name; SlurmError where Slurm does not answer, or not sense."""
    return parse_nodes(await run_command("sinfo", "--json"), port)


def parse_nodes(text: str, port: int) -> dict[str, SiteNode]:
    """Return the nodes of a ``sinfo --json``; SlurmError where it is none.

    Slurm 22.05 lists nodes; from 23.02 on groups of nodes that are alike, one for each partition.
    """
    try:
        document = json.loads(text)
        if "sinfo" in document:
            found = [pair for group in document["sinfo"] for pair in _of_group(group, port)]
        else:
            found = [_of_node(node, port) for node in document["nodes"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SlurmError(
            f"sinfo --json answered something else ({type(error).__name__}: {error})"
        ) from None
    nodes: dict[str, SiteNode] = {}
    for node in found:
        nodes.setdefault(node.node, node)
    return nodes


def _of_node(node: dict[str, Any], port: int) -> SiteNode:
    partitions = node.get("partitions") or [""]
    return _node(
        str(node["name"]),
        [node["state"], *node.get("state_flags", [])],
        str(partitions[0]),
        str(node.get("gres", "")),
        port,
    )


def _of_group(group: dict[str, Any], port: int) -> list[SiteNode]:
    return [
        _node(
            str(name),
            group["node"]["state"],
            str((group.get("partition") or {}).get("name", "")),
            str((group.get("gres") or {}).get("total", "")),
            port,
        )
        for name in group["nodes"]["nodes"]
    ]


def _node(name: str, states: list[str], partition: str, gres: str, port: int) -> SiteNode:
    found = _GPUS.findall(gres)
    divided = any(_MIG.search(kind) for kind, _ in found)
    return SiteNode(
        node=plain(name),
        address=f"{plain(name)}:{port}",
        node_partition=plain(partition),
        state=state_of([str(state).lower() for state in states]),
        expected_gpus=None if divided else sum(int(count) for _, count in found),
    )


def state_of(states: list[str]) -> str:
    """Return the one word that matters to whoever looks: down and drained before all others."""
    for word in ("down", "drain", "fail", "maint", "reserved"):
        if any(state.startswith(word) for state in states):
            return {"drain": "drained"}.get(word, word)
    return states[0] if states else "unknown"
