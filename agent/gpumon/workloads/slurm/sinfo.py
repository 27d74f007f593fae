"""The nodes that Slurm knows, from ``sinfo --json``."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from gpumon.workloads.labels import plain
from gpumon.workloads.slurm.slurmcommand import SlurmError, run_command

_GPUS = re.compile(r"gpu(?::([^:(,]+))?:(\d+)")
_MIG = re.compile(r"(?:^|_)\d+g\.")
"""Instances of divided GPUs (gpu:1g.10gb:7) are not counted as GPUs."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SlurmNode:
    """A node as Slurm describes it; ``gpus`` is None if that number is not known."""

    name: str
    partition: str = ""
    state: str = ""
    gpus: int | None = None


async def ask_nodes() -> dict[str, SlurmNode]:
    """Return the nodes by name; SlurmError if Slurm does not answer, or prints nonsense."""
    return parse_nodes(await run_command("sinfo", "--json"))


def parse_nodes(text: str) -> dict[str, SlurmNode]:
    """Return the nodes of a ``sinfo --json``; SlurmError if the text is something else.

    Slurm 22.05 lists nodes; from 23.02 on groups of nodes that are alike, one for each partition.
    """
    try:
        document = json.loads(text)
        if "sinfo" in document:
            found = [node for group in document["sinfo"] for node in _of_group(group)]
        else:
            found = [_of_node(node) for node in document["nodes"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SlurmError(
            f"sinfo --json answered something else ({type(error).__name__}: {error})"
        ) from None
    nodes: dict[str, SlurmNode] = {}
    for node in found:
        nodes.setdefault(node.name, node)
    return nodes


def _of_node(node: dict[str, Any]) -> SlurmNode:
    partitions = node.get("partitions") or [""]
    return _node(
        str(node["name"]),
        [node["state"], *node.get("state_flags", [])],
        str(partitions[0]),
        str(node.get("gres", "")),
    )


def _of_group(group: dict[str, Any]) -> list[SlurmNode]:
    return [
        _node(
            str(name),
            group["node"]["state"],
            str((group.get("partition") or {}).get("name", "")),
            str((group.get("gres") or {}).get("total", "")),
        )
        for name in group["nodes"]["nodes"]
    ]


def _node(name: str, states: list[str], partition: str, gres: str) -> SlurmNode:
    found = _GPUS.findall(gres)
    divided = any(_MIG.search(kind) for kind, _ in found)
    return SlurmNode(
        name=plain(name),
        partition=plain(partition),
        state=state_of([str(state).lower() for state in states]),
        gpus=None if divided else sum(int(count) for _, count in found),
    )


def state_of(states: list[str]) -> str:
    """Return the one word that matters most: down and drained before all others."""
    for word in ("down", "drain", "fail", "maint", "reserved"):
        if any(state.startswith(word) for state in states):
            return {"drain": "drained"}.get(word, word)
    return states[0] if states else "unknown"
