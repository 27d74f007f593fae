"""A site's own alerts: the tables ``[alerts.NAME]`` and ``[alerts.defaults]`` of its one file.

The file is that of the thresholds. Here is what may stand in these tables; whether an alert of a
name exists is known to the rules (``gpumon.rules.own``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from gpumon.errors import UsageError, hint
from gpumon.times import parse_duration

SECTION = "alerts"
DEFAULTS = "defaults"
SEVERITIES = ("critical", "warning", "info")
"""What a site may set; ``none`` is the Watchdog's alone."""

_OWN_LABELS = ("severity", "team")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_NOT_LABELS = frozenset({"alertname", "alertstate", "shadow", "would_page", *_OWN_LABELS})
_URLS = {"runbook_url": "http://site:9843/runbooks/{alert}", "grafana_url": "http://grafana:3000"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AlertSetting:
    """What a site sets of an alert; None is what it does not set.

    ``hold`` is the key ``for``, a duration as text. A ``live`` alert notifies also while all others
    are exported as shadows. ``labels`` are pairs in the file's order.
    """

    severity: str | None = None
    enabled: bool | None = None
    hold: str | None = None
    team: str | None = None
    live: bool | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """A site's own alerts: for all (``defaults``), and by name.

    ``file`` names where they are from, for messages; empty if there are none. The two URLs are of
    the runbooks (with ``{alert}`` in it) and of Grafana, empty if the site does not say.
    """

    defaults: AlertSetting = dataclasses.field(default_factory=AlertSetting)
    by_name: tuple[tuple[str, AlertSetting], ...] = ()
    runbook_url: str = ""
    grafana_url: str = ""
    file: str = dataclasses.field(default="", compare=False)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of what they say; empty if they say nothing."""
        if self == AlertSettings():
            return ""
        said = repr(dataclasses.replace(self, file=""))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def parse_alerts(tables: object, file: str) -> AlertSettings:
    """Return what the section ``alerts`` says; UsageError, with the key, if it is wrong."""
    if not isinstance(tables, Mapping):
        raise UsageError(f"{file}: {SECTION} is not a section", "write [alerts.NAME]")
    rest = dict(tables)
    shared = _table(rest.pop(DEFAULTS, {}), f"{file}: [{SECTION}.{DEFAULTS}]")
    urls = {key: _url(key, shared.pop(key), file) for key in _URLS if key in shared}
    return AlertSettings(
        defaults=_setting(shared, f"{file}: [{SECTION}.{DEFAULTS}]", also=tuple(_URLS)),
        by_name=tuple(
            (name, _setting(_table(table, where), where))
            for name, table in rest.items()
            for where in [f"{file}: [{SECTION}.{name}]"]
        ),
        file=file,
        **urls,
    )


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} is not a table", "write [alerts.NAME] with keys below it")
    return dict(value)


def _url(key: str, value: object, file: str) -> str:
    usual = _URLS[key]
    if (
        not isinstance(value, str)
        or not re.fullmatch(r"https?://[^\s\"]+", value)
        or ("{alert}" in usual and "{alert}" not in value)
    ):
        raise UsageError(
            f"{file}: [{SECTION}.{DEFAULTS}] {key} = {value!r}", f'it is a URL such as "{usual}"'
        )
    return value.rstrip("/")


def _setting(table: Mapping[str, Any], where: str, also: tuple[str, ...] = ()) -> AlertSetting:
    for key in table:
        if key not in _KEYS:
            known = [*_KEYS, *also]
            raise UsageError(
                f"{where}: unknown key {key}", f"known are {', '.join(known)}{hint(key, known)}"
            )
    for key, value in table.items():
        wanted = _KEYS[key](value)
        if wanted:
            raise UsageError(f"{where} {key} = {value!r}", f"it is {wanted}")
    return AlertSetting(
        severity=table.get("severity"),
        enabled=table.get("enabled"),
        hold=table.get("for"),
        team=table.get("team"),
        live=table.get("live"),
        labels=tuple(table.get("labels", {}).items()),
    )


def _severity(value: object) -> str:
    return "" if value in SEVERITIES else f"one of {', '.join(SEVERITIES)}"


def _enabled(value: object) -> str:
    return "" if isinstance(value, bool) else "true or false"


def _hold(value: object) -> str:
    wanted = 'a duration such as "10m" ("0s" for at once)'
    try:
        return "" if isinstance(value, str) and 0 <= parse_duration(value) < 1e9 else wanted
    except ValueError:
        return wanted


def _team(value: object) -> str:
    right = isinstance(value, str) and re.fullmatch(r"[\w.@ -]+", value)
    return "" if right else "a name of letters, digits, blanks and . _ @ -"


def _labels(value: object) -> str:
    if not isinstance(value, Mapping):
        return 'a table such as { service = "gpu" }'
    for name, text in value.items():
        if not _LABEL.fullmatch(str(name)) or name in _NOT_LABELS:
            return f"without {name}: a label is letters, digits and _; severity and team are keys"
        if not isinstance(text, str) or not text.isprintable() or not text:
            return f"a table of texts, and {name} is not a text"
    return ""


_KEYS = {
    "severity": _severity,
    "enabled": _enabled,
    "for": _hold,
    "team": _team,
    "live": _enabled,
    "labels": _labels,
}
"""What may be set, with what returns what a value has to be if it is not."""
