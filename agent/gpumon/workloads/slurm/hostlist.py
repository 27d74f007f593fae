"""Slurm's short form of lists: ``a1,n[01-03,7]`` for names, ``0-1,3`` for numbers."""

from __future__ import annotations

import re


def ranges(text: str) -> list[int]:
    """Return the numbers of ``0-1,3``."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found += range(int(first), int(last or first) + 1)
    return found


def expand(nodes: str) -> list[str]:
    """Return the names of a host list such as ``a1,n[01-03,7]``."""
    names: list[str] = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\])?[^,\[]*", nodes):
        found = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", part)
        if found is None:
            names.append(part)
            continue
        for one in found.group(2).split(","):
            first, _, last = one.partition("-")
            if first.isdigit() and (last or first).isdigit():
                names += [
                    f"{found.group(1)}{number:0{len(first)}d}{found.group(3)}"
                    for number in range(int(first), int(last or first) + 1)
                ]
    return names
