"""Rules in stages, for an engine that does not wait for what it has just written.

vmalert writes what it records asynchronously, so that a rule which reads another one's series finds
the value of the evaluation before: one interval late with each step. Groups that hold one step
each, and are evaluated one after the other within the interval (``eval_offset``,
https://docs.victoriametrics.com/victoriametrics/vmalert/#groups), find the value of this one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from gpumon.rules.layers import OFTEN
from gpumon.rules.model import RecordingRule, Rule, RuleGroup
from gpumon.times import parse_duration, scaled

APART = 4.5
"""Seconds between two steps: an evaluation, the write, and until the store finds what is new.

VictoriaMetrics looks every two seconds for rows that have waited for two: it takes up to four.
"""

SPREAD = (0.0, 0.25, 0.5, 0.75)
"""Seconds by which groups of one step are apart: a store refuses too many queries at once."""

INTERVAL = "10s"
"""The interval of groups that are evaluated most often: each step is late already."""

_RECORDED = re.compile(r"\b[a-z_]+(?::[a-z0-9_]+){2}")


def staged(groups: Sequence[RuleGroup], time_scale: float = 1.0) -> tuple[RuleGroup, ...]:
    """Return groups of one step each, with their offsets, divided by ``time_scale``."""
    steps = steps_of(groups)
    found: list[RuleGroup] = []
    for number, group in enumerate(groups):
        by_step: dict[int, list[Rule]] = {}
        for rule in group.rules:
            by_step.setdefault(steps[rule], []).append(rule)
        for step, rules in sorted(by_step.items()):
            interval = _interval(group, time_scale)
            offset = APART * step + SPREAD[number % len(SPREAD)]
            if interval == _scaled(INTERVAL, time_scale):
                # The last steps are evaluated within the next interval, before its own.
                offset %= parse_duration(INTERVAL)
            found.append(
                dataclasses.replace(
                    group,
                    name=f"{group.name}-{step + 1}" if len(by_step) > 1 else group.name,
                    rules=tuple(rules),
                    interval=interval,
                    offset=f"{round(offset * 1000 / time_scale)}ms",
                )
            )
    return tuple(found)


def _interval(group: RuleGroup, time_scale: float) -> str:
    """Return a group's interval; an engine's own is another one with vmalert, a minute."""
    if group.interval in ("", scaled(OFTEN, time_scale)):
        return _scaled(INTERVAL, time_scale)
    return group.interval


def _scaled(interval: str, time_scale: float) -> str:
    return f"{round(parse_duration(interval) * 1000 / time_scale)}ms"


def steps_of(groups: Sequence[RuleGroup]) -> Mapping[Rule, int]:
    """Return how many recorded series each rule stands upon, one upon another."""
    rules = [rule for group in groups for rule in group.rules]
    recorded = {rule.record: rule for rule in rules if isinstance(rule, RecordingRule)}
    steps: dict[Rule, int] = {}

    def step(rule: Rule) -> int:
        if rule not in steps:
            own = rule.record if isinstance(rule, RecordingRule) else ""
            # What a rule remembers of itself is of the evaluation before in any case.
            below = set(_RECORDED.findall(rule.expr)) & recorded.keys() - {own}
            steps[rule] = 1 + max((step(recorded[name]) for name in below), default=-1)
        return steps[rule]

    for rule in rules:
        step(rule)
    return steps
