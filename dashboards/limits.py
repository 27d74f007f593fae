"""The numbers at which alerts fire (thresholds.toml), as panels draw and colour them."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders

from dashboards import style
from gpumon.thresholds import shipped


def limit(name: str) -> float:
    """Return a threshold that ships, by ``section.name``."""
    number = shipped()[name]
    assert not isinstance(number, str), name
    return number


LOWEST_MARGIN = limit("heat.margin_low_celsius")
LOW_MARGIN = 2 * LOWEST_MARGIN
"""Degrees to the nearest slowdown at which to act, and to look closer."""

MEMORY_HOT = limit("heat.hbm_celsius")
IDLE = limit("activity.idle_ratio")
STRAGGLES = limit("straggler.z")
STALE = limit("monitor.stale_seconds")


def margin() -> builders.ThresholdsConfig:
    """Colour a margin to the slowdown: low is bad."""
    return style.thresholds(style.BAD, (LOWEST_MARGIN, style.WARNING), (LOW_MARGIN, style.WELL))


def score_lines() -> builders.ThresholdsConfig:
    """Draw the scores beyond which a GPU is a straggler, on either side."""
    return style.thresholds(style.NEUTRAL, (-STRAGGLES, style.BAD), (STRAGGLES, style.BAD))


def score() -> builders.ThresholdsConfig:
    """Colour a straggler's score, whatever its sign was."""
    return style.thresholds(style.NEUTRAL, (STRAGGLES, style.BAD))


def no_more_than(most: float) -> builders.ThresholdsConfig:
    """Colour what is bad from a value on."""
    return style.thresholds(style.WELL, (most, style.BAD))
