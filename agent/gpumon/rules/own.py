"""A site's own alerts: what its file sets, put over the rules as they ship."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from gpumon.alerting import SECTION, AlertSetting, AlertSettings
from gpumon.errors import UsageError, hint
from gpumon.rules.model import Alert, Rule, RuleGroup

WATCHDOG = "Watchdog"
"""It shows that alerting works: what is set for all alerts leaves it alone, but for labels."""

Scale = Callable[[str], str]
"""Returns a duration as Prometheus takes it, divided by a drill's scale."""


def with_settings(
    groups: Sequence[RuleGroup], settings: AlertSettings, scale: Scale
) -> tuple[RuleGroup, ...]:
    """Return the groups with a site's settings in their alerts.

    An alert that is not enabled is still there, marked. Raises UsageError for a setting of an alert
    that does not exist.
    """
    known = [alert.alert for group in groups for alert in group.alerts]
    own = dict(settings.by_name)
    for name in own:
        if name not in known:
            raise UsageError(
                f"{settings.file}: [{SECTION}.{name}] is of no alert",
                f"gpumon rules list has all{hint(name, known)}",
            )

    def changed(rule: Rule) -> Rule:
        if not isinstance(rule, Alert):
            return rule
        shared = settings.defaults
        if rule.alert == WATCHDOG:
            shared = AlertSetting(labels=shared.labels)
        return _set(_set(rule, shared, scale), own.get(rule.alert, AlertSetting()), scale)

    return tuple(
        dataclasses.replace(group, rules=tuple(map(changed, group.rules))) for group in groups
    )


def _set(alert: Alert, setting: AlertSetting, scale: Scale) -> Alert:
    hold = alert.hold
    if setting.hold is not None:
        hold = "" if _is_0(setting.hold) else scale(setting.hold)
    return dataclasses.replace(
        alert,
        severity=setting.severity or alert.severity,
        enabled=alert.enabled if setting.enabled is None else setting.enabled,
        team=setting.team or alert.team,
        hold=hold,
        live=alert.live if setting.live is None else setting.live,
        labels=tuple({**dict(alert.labels), **dict(setting.labels)}.items()),
    )


def _is_0(duration: str) -> bool:
    return duration.strip().rstrip("smhd").strip("0.") == ""


def only_enabled(groups: Iterable[RuleGroup]) -> tuple[RuleGroup, ...]:
    """Return the groups without the alerts that are not enabled, and without empty groups."""
    found = (
        dataclasses.replace(
            group,
            rules=tuple(r for r in group.rules if not isinstance(r, Alert) or r.enabled),
        )
        for group in groups
    )
    return tuple(group for group in found if group.rules)


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A key of an alert that differs from what ships, with both values as text."""

    key: str
    own: str
    shipped: str


def differences(own: Alert, shipped: Alert) -> tuple[Difference, ...]:
    """Return what of an alert is a site's own, in the order of the file's keys."""
    both = zip(_texts(own).items(), _texts(shipped).values(), strict=True)
    return tuple(Difference(key, one, other) for (key, one), other in both if one != other)


def _texts(alert: Alert) -> dict[str, str]:
    return {
        "severity": alert.severity,
        "enabled": "true" if alert.enabled else "false",
        "for": alert.hold or "0s",
        "team": alert.team,
        "live": "true" if alert.live else "false",
        "labels": ", ".join(f"{name}={value}" for name, value in alert.labels) or "none",
        "expr": alert.expr,
    }
