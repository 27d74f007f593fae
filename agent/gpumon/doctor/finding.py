"""What was found of an item."""

from __future__ import annotations

import dataclasses

from gpumon.checks import Level


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """How an item is, what shows it, and what to do if it is not well.

    ``missed`` marks a SKIP that should have been checked, and could not be.
    """

    item: str
    level: Level
    evidence: str
    next_step: str = ""
    missed: bool = False


def good(item: str, evidence: str) -> Finding:
    """Return that an item is well."""
    return Finding(item, Level.PASS, evidence)


def odd(item: str, evidence: str, next_step: str) -> Finding:
    """Return that an item should be looked at."""
    return Finding(item, Level.WARN, evidence, next_step)


def bad(item: str, evidence: str, next_step: str) -> Finding:
    """Return that an item keeps gpumon from its work."""
    return Finding(item, Level.FAIL, evidence, next_step)


def unasked(item: str, evidence: str, next_step: str = "") -> Finding:
    """Return that an item was not asked for, or does not apply here."""
    return Finding(item, Level.SKIP, evidence, next_step)


def missed(item: str, evidence: str, next_step: str) -> Finding:
    """Return that an item could not be checked."""
    return Finding(item, Level.SKIP, evidence, next_step, missed=True)
