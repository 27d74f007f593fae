"""The numbers at which alerts fire (thresholds.toml), as panels draw, ask and speak of them.

A site may have others, so none of them is written down here: a ``Limit`` goes through the builders
by its name. It is put in place when the files are written (``dashboards/write.py``), and once more
when a site exports or pushes them (``gpumon.grafana.limits``).
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders

from dashboards.kit import style
from gpumon.derive.energy_check import DIVERGENCE
from gpumon.grafana import limits
from gpumon.sources.energy import DUTY_ERROR, SENSOR_ERROR
from gpumon.thresholds import shipped


class Limit(float):
    """A threshold, or what follows from some: their product, and what is added to it.

    As a number it is what ships; in a text it is a placeholder, so that ``f"{limit}"`` is for
    PromQL and prose, and ``f"{limit:percent}"`` and the like for the words of ``limits.WORDS``.
    """

    names: tuple[str, ...]
    times: float
    plus: float

    def __new__(  # noqa: PYI034 - nothing derives from it
        cls, names: tuple[str, ...], times: float = 1, plus: float = 0
    ) -> Limit:
        """Make what some thresholds are, multiplied by one another and ``times``, and ``plus``."""
        made = super().__new__(cls, limits.filled(_placeholder(names, times, plus), shipped()))
        made.names, made.times, made.plus = names, times, plus
        return made

    @property
    def placeholder(self) -> str:
        """What stands for it as a number."""
        return _placeholder(self.names, self.times, self.plus)

    def __format__(self, words: str) -> str:
        """Return what stands for it in a text; ``words`` are one of ``limits.WORDS``, or none."""
        if words and words not in limits.WORDS:
            raise ValueError(f"{words!r} is not a way to write a threshold: see limits.WORDS")
        return _placeholder(self.names, self.times, self.plus, words)

    def __str__(self) -> str:
        """Return what stands for it in PromQL."""
        return f"{self}"

    def __mul__(self, by: float) -> Limit:
        """Multiply by a number, or by another threshold."""
        if isinstance(by, Limit):
            assert not self.plus
            assert not by.plus
            return Limit((*self.names, *by.names), self.times * by.times)
        return Limit(self.names, self.times * by, self.plus * by)

    __rmul__ = __mul__

    def __truediv__(self, by: float) -> Limit:
        """Divide by a number."""
        return self * (1 / by)

    def __add__(self, more: float) -> Limit:
        """Add a number."""
        return Limit(self.names, self.times, self.plus + more)

    def __sub__(self, less: float) -> Limit:
        """Take a number away."""
        return self + -less

    def __rsub__(self, of: float) -> Limit:
        """Take it away from a number."""
        return self * -1 + of

    def __neg__(self) -> Limit:
        """Turn its sign."""
        return self * -1


def _placeholder(names: tuple[str, ...], times: float, plus: float, words: str = "") -> str:
    product = "*".join([*([f"{times:.10g}"] if times != 1 else []), *names])
    return f"<<{product}{f'{plus:+.10g}' if plus else ''}{f'|{words}' if words else ''}>>"


def limit(name: str) -> Limit:
    """Return a threshold, by ``section.name``; of a duration its seconds."""
    return Limit((name,))


def percent(ratio: float) -> str:
    """Return a ratio in words."""
    return f"{ratio:percent}" if isinstance(ratio, Limit) else limits.percent(ratio)


LOWEST_MARGIN = limit("heat.margin_low_celsius")
LOW_MARGIN = limit("heat.margin_near_factor") * LOWEST_MARGIN
"""Degrees to the nearest slowdown at which to act, and to look closer."""

MEMORY_HOT = limit("heat.hbm_celsius")
IDLE = limit("activity.idle_ratio")
IDLE_WORDS = percent(IDLE)
IDLE_FOR = f"for {limit('activity.idle_window'):span} on end"
WORKING = limit("activity.working_ratio")
BUDGET_NEAR = limit("power.budget_near_ratio")
MANY_AGENTS_DOWN = limit("monitor.many_down_ratio")
STRAGGLES = limit("straggler.z")
STALE = limit("monitor.stale_seconds")
XIDS_FOR = f"for {limit('xid.dashboard_window'):span}"
XIDS_WITHIN = f"within {limit('xid.dashboard_window'):span}"
XIDS_LAST = f"of the last {limit('xid.dashboard_window'):last}"


JOULES_ERROR = (
    f"How far off they may be. Normal: {percent(SENSOR_ERROR)}, by which boards' own sensors "
    f"differ; {percent(DUTY_ERROR)} where an A100's power is integrated; 0 in a simulation."
)
COUNTER_IN_DOUBT = (
    f"Diverging: {percent(DIVERGENCE)} off the power over minutes. Stuck: it stands still under "
    "power. Jump: ahead of what the power limit allows, and left out."
)


def activity(well: str) -> builders.ThresholdsConfig:
    """Colour the activity of a job: idle, hardly working, and from then on ``well``."""
    return style.thresholds(style.BAD, (IDLE, style.WARNING), (WORKING, well))


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
