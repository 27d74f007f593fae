"""What Slurm writes of generic resources: what a node has, and what a job was given of it.

    gpu:h200:4(S:0-1),vgpu:4                             a node's (sinfo, scontrol show node)
    gpu:h200:1(IDX:0),gpu:a100:1(IDX:2),lscratch(CNT:10)  a job's on one node (gres_detail)

Names and types are the administrator's words; no user writes any of this.
"""

from __future__ import annotations

import dataclasses
import re

from gpumon.workloads.slurm.hostlist import HostlistError, ranges

GPU = "gpu"

SHARED = frozenset({"mps", "shard"})
"""Parts of a GPU: Slurm numbers them by the GPU that they are of (gres.html, "Sharding")."""

_COUNT = re.compile(r"(\d{1,18})([KMGTPkmgtp]?)", re.ASCII)
_SHARES = re.compile(r"\d+/\d+(?:,\d+/\d+)*", re.ASCII)
_WORD = re.compile(r"[^\s:,()=]+")


class NotKnownError(Exception):
    """It cannot be said which GPUs are meant; the words say why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Gres:
    """A resource of one name and type; ``details`` is what stands in parentheses."""

    name: str
    type: str = ""
    count: int = 1
    details: str = ""


def parse_gres(text: str) -> list[Gres]:
    """Return the resources in a text; NotKnownError if it is something else."""
    if text.strip() in ("", "(null)", "N/A"):
        return []
    return [_one(part) for part in _parts(text.strip())]


def _one(text: str) -> Gres:
    head, bracket, details = text.partition("(")
    if bracket and not details.endswith(")"):
        raise NotKnownError(f"this is not a generic resource: {text[:80]!r}")
    name, *words = head.split(":")
    words = [word for word in words if word != "no_consume"]
    count, factor = 1, ""
    if words and (found := _COUNT.fullmatch(words[-1])):
        words.pop()
        count, factor = int(found[1]), found[2].upper()
    if len(words) > 1 or not all(map(_WORD.fullmatch, (name, *words))):
        raise NotKnownError(f"this is not a generic resource: {text[:80]!r}")
    return Gres(
        name=name,
        type=words[0] if words else "",
        count=count * 1024 ** (" KMGTP".index(factor) if factor else 0),
        details=details.removesuffix(")"),
    )


def _parts(text: str) -> list[str]:
    """Return what stands between the commas outside of parentheses."""
    parts, depth, begin = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append(text[begin:at])
            begin = at + 1
        if depth not in (0, 1):
            break
    if depth:
        raise NotKnownError(f"its parentheses do not match: {text[:80]!r}")
    return [*parts, text[begin:]]


def gpu_numbers(text: str) -> tuple[int, ...]:
    """Return Slurm's numbers of the GPUs that a job has on a node, whole or in part.

    They count over all gpu records of the node's gres.conf, whatever their type. NotKnownError if
    the text counts GPUs without saying which, or contradicts itself.
    """
    found: dict[int, None] = {}
    for gres in parse_gres(text):
        if gres.name == GPU:
            numbers = _numbers(gres)
            if len(set(numbers)) != gres.count:
                raise NotKnownError(f"Slurm counts {gres.count} GPUs and names {len(numbers)}")
        elif gres.name in SHARED:
            numbers = _numbers(gres)
            if gres.count and not numbers:
                raise NotKnownError(f"Slurm does not say of which GPU the {gres.name} is")
        else:
            continue
        found.update(dict.fromkeys(numbers))
    return tuple(found)


def _numbers(gres: Gres) -> list[int]:
    """Return the numbers of ``IDX:0-1,3``, or of those shares that are not 0 in ``0/4,2/4``."""
    kind, _, listed = gres.details.partition(":")
    if kind == "IDX":
        if listed in ("", "N/A"):
            return []
        try:
            return ranges(listed)
        except HostlistError as error:
            raise NotKnownError(f"IDX is {error}") from None
    if gres.name in SHARED and _SHARES.fullmatch(gres.details):
        shares = gres.details.split(",")
        return [at for at, share in enumerate(shares) if int(share.partition("/")[0])]
    raise NotKnownError(f"Slurm counts {gres.count} of {gres.name} and does not say which")
