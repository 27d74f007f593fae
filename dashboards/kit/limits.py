"""The numbers at which alerts fire (thresholds.toml), as panels draw and colour them."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders

from dashboards.kit import style
from gpumon.derive.energy_check import DIVERGENCE
from gpumon.sources.energy import DUTY_ERROR, SENSOR_ERROR
from gpumon.thresholds import shipped


def limit(name: str) -> float:
    """Return a threshold that ships, by ``section.name``."""
    number = shipped().values[name]
    assert not isinstance(number, str), name
    return number


def percent(ratio: float) -> str:
    """Return a ratio in words."""
    return f"{100 * ratio:.0f} %"


LOWEST_MARGIN = limit("heat.margin_low_celsius")
LOW_MARGIN = 2 * LOWEST_MARGIN
"""Degrees to the nearest slowdown at which to act, and to look closer."""

MEMORY_HOT = limit("heat.hbm_celsius")
IDLE = limit("activity.idle_ratio")
IDLE_WORDS = percent(IDLE)
BUDGET_NEAR = limit("power.budget_near_ratio")
MANY_AGENTS_DOWN = limit("monitor.many_down_ratio")
STRAGGLES = limit("straggler.z")
STALE = limit("monitor.stale_seconds")


JOULES_ERROR = (
    f"How far off they may be. Normal: {percent(SENSOR_ERROR)}, by which boards' own sensors "
    f"differ; {percent(DUTY_ERROR)} where an A100's power is integrated; 0 in a simulation."
)
COUNTER_IN_DOUBT = (
    f"Diverging: {percent(DIVERGENCE)} off the power over minutes. Stuck: it stands still under "
    "power. Jump: ahead of what the power limit allows, and left out."
)


def joules_error() -> builders.ThresholdsConfig:
    """Colour an error of joules that is more than its source's own; a mean may be just at it."""
    return style.worsening(1.02 * SENSOR_ERROR, 1.1 * DUTY_ERROR)


def budget() -> builders.ThresholdsConfig:
    """Colour the part of a budget that is used."""
    return style.worsening(BUDGET_NEAR, 1)


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
