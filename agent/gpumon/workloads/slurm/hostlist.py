"""Slurm's short form of lists: ``a1,r[1-2]n[01-03,7]`` for names, ``0-1,3`` for numbers."""

from __future__ import annotations

import itertools
import math
import re

MOST = 100_000
"""Names or numbers in one list: more is a typing error, and would fill the memory."""

_PART = re.compile(r"\[([^\[\]]*)\]|([^\[\],]+)")
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


class HostlistError(ValueError):
    """A text is not such a list; the words say why."""


def ranges(text: str) -> list[int]:
    """Return the numbers of ``0-1,3``; HostlistError if it is something else."""
    return [number for first, last in _spans(text) for number in range(int(first), last + 1)]


def expand(nodes: str) -> list[str]:
    """Return the names of a host list such as ``a1,r[1-2]n[01-03,7]``, in Slurm's own order.

    HostlistError if it is not one, or has more than ``MOST`` names.
    """
    names: list[str] = []
    for part in _parts(nodes):
        pieces = [_piece(*found.groups(default="")) for found in _PART.finditer(part)]
        if len(names) + math.prod(map(len, pieces)) > MOST:
            raise HostlistError(f"it has more than {MOST} names")
        names += ["".join(words) for words in itertools.product(*pieces)]
    return names


def names_node(nodes: str, node: str) -> bool:
    """Return whether a node is in a host list; HostlistError if that is not one."""
    return node in expand(nodes)


def _parts(nodes: str) -> list[str]:
    """Return what stands between the commas outside of brackets."""
    parts, depth, begin = [], 0, 0
    for at, letter in enumerate(nodes):
        if letter == "[":
            depth += 1
        elif letter == "]":
            depth -= 1
        elif letter == "," and not depth:
            parts.append(nodes[begin:at])
            begin = at + 1
        if depth not in (0, 1):
            raise HostlistError(f"its brackets do not match: {nodes[:80]}")
    if depth:
        raise HostlistError(f"its brackets do not match: {nodes[:80]}")
    return [part for part in (*parts, nodes[begin:]) if part]


def _piece(numbers: str, word: str) -> list[str]:
    """Return the words that may stand in one place of a name."""
    if word:
        return [word]
    return [
        f"{number:0{len(first)}d}"
        for first, last in _spans(numbers)
        for number in range(int(first), last + 1)
    ]


def _spans(text: str) -> list[tuple[str, int]]:
    """Return the first number as it is written, and the last, of each span."""
    spans, total = [], 0
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise HostlistError(f"not a range of numbers: {text[:80]}")
        first, last = found[1], int(found[2] or found[1])
        total += last - int(first) + 1
        if last < int(first) or total > MOST:
            raise HostlistError(f"not a range of numbers, or too long: {text[:80]}")
        spans.append((first, last))
    return spans
