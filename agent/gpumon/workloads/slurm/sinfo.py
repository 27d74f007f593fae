"""The nodes that Slurm knows, from ``sinfo --json``."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from gpumon.workloads.labels import plain
from gpumon.workloads.slurm.gres import GPU, NotKnownError, parse_gres
from gpumon.workloads.slurm.slurmcommand import SlurmError, run_command

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
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SlurmError(
            f"sinfo --json answered something else ({type(error).__name__}: {error})"
        ) from None
    nodes: dict[str, SlurmNode] = {}
    for node in found:
        nodes.setdefault(node.name, node)
    return nodes


def _of_node(node: dict[str, Any]) -> SlurmNode:
    return _node(
        str(node["name"]),
        [*_words(node["state"]), *_words(node.get("state_flags"))],
        next(iter(_words(node.get("partitions"))), ""),
        str(node.get("gres") or ""),
    )


def _of_group(group: dict[str, Any]) -> list[SlurmNode]:
    return [
        _node(
            str(name),
            _words(group["node"]["state"]),
            str((group.get("partition") or {}).get("name", "")),
            str((group.get("gres") or {}).get("total", "")),
        )
        for name in group["nodes"]["nodes"]
    ]


def _words(value: Any) -> list[str]:
    """Return the words of a list, or of one word: newer Slurms list states and flags."""
    if value is None:
        return []
    return [str(word) for word in value] if isinstance(value, list) else [str(value)]


def _node(name: str, states: list[str], partition: str, gres: str) -> SlurmNode:
    return SlurmNode(
        name=plain(name),
        partition=plain(partition),
        state=state_of([state.lower() for state in states]),
        gpus=_gpus(gres),
    )


def _gpus(text: str) -> int | None:
    """Return how many GPUs a node has, by its resources; None if they are divided, or not known."""
    try:
        found = [gres for gres in parse_gres(text) if gres.name == GPU]
    except NotKnownError:
        return None
    divided = any(_MIG.search(gres.type) for gres in found)
    return None if divided else sum(gres.count for gres in found)


def state_of(states: list[str]) -> str:
    """Return the one word that matters most: down and drained before all others."""
    for word in ("down", "drain", "fail", "maint", "reserved"):
        if any(state.startswith(word) for state in states):
            return {"drain": "drained"}.get(word, word)
    return states[0] if states else "unknown"
