"""Who hears of alerts that fire: a release's Alertmanager configuration, minute by minute.

Routes, groups and inhibitions as Alertmanager has them, without its waits: what is inhibited within
the minute is not sent, and a group that is empty for a minute has ended. The tests of the
configuration run a real Alertmanager.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.bench.week.evaluate import Firing, Labels

PAGER = "pager"
TICKETS = frozenset({"operations", "hardware", "facility"})

LEFT_OUT = frozenset({"Watchdog", "GpuRepeatOffender"})
"""The one fires always. The other counts times of ten minutes within a week, for which promtool,
which evaluates each group once a minute, is not made; the week counts its boards itself."""

Group = tuple[str, tuple[tuple[str, str], ...]]
"""A receiver, and the labels of a group."""


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """One page or ticket: the alerts in it, and from which minute to which it is open."""

    receiver: str
    alerts: frozenset[str]
    begin: int
    end: int


def messages(config: Mapping[str, Any], firing: Firing) -> list[Message]:
    """Return the pages and tickets that alerts lead to, in the order in which they begin."""
    done: list[Message] = []
    begun: dict[Group, int] = {}
    alerts: dict[Group, set[str]] = collections.defaultdict(set)
    for minute, now in enumerate([*firing, []]):
        groups = [*_groups(config, now)]
        for group, name in groups:
            begun.setdefault(group, minute)
            alerts[group].add(name)
        there = {group for group, _ in groups}
        for group in [group for group in begun if group not in there]:
            names = frozenset(alerts.pop(group))
            done.append(Message(group[0], names, begun.pop(group), minute))
    return sorted(done, key=lambda message: (message.begin, message.receiver))


def _groups(config: Mapping[str, Any], now: Sequence[Labels]) -> Iterator[tuple[Group, str]]:
    for alert in now:
        if alert["alertname"] in LEFT_OUT or _inhibited(config, alert, now):
            continue
        receiver, by = routed(config["route"], alert)
        if receiver == PAGER or receiver in TICKETS:
            key = tuple((name, alert.get(name, "")) for name in by)
            yield (receiver, key), alert["alertname"]


def routed(route: Mapping[str, Any], alert: Labels) -> tuple[str, Sequence[str]]:
    """Return the receiver of an alert, and the labels by which it is grouped."""
    for child in route.get("routes", ()):
        if fits(child["matchers"], alert):
            return routed({**_inherited(route), **child}, alert)
    return route["receiver"], route["group_by"]


def _inherited(route: Mapping[str, Any]) -> dict[str, Any]:
    return {name: route[name] for name in ("receiver", "group_by")}


def _inhibited(config: Mapping[str, Any], alert: Labels, now: Sequence[Labels]) -> bool:
    return any(
        fits(rule["target_matchers"], alert)
        and any(
            source is not alert
            and fits(rule["source_matchers"], source)
            and all(source.get(name, "") == alert.get(name, "") for name in rule["equal"])
            for source in now
        )
        for rule in config["inhibit_rules"]
    )


def fits(matchers: Iterable[str], labels: Labels) -> bool:
    """Return whether all matchers fit an alert's labels."""
    for matcher in matchers:
        found = re.fullmatch(r'(\w+)(=~|!=|!~|=)"(.*)"', matcher)
        assert found, matcher
        name, sign, wanted = found.groups()
        value = labels.get(name, "")
        same = re.fullmatch(wanted, value) is not None if "~" in sign else value == wanted
        if same is sign.startswith("!"):
            return False
    return True
