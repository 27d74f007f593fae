"""What a rule is, before it is rendered."""

from __future__ import annotations

import dataclasses

SEVERITIES = ("critical", "warning", "info", "none")
"""What a person must do: come now, take a ticket, know; ``none`` is the Watchdog's."""

TEAMS = ("operations", "hardware", "facility", "job_owner")
"""Whose it is."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRule:
    """A series that is computed once for all who ask; ``layer`` is one of layers.Layer's words."""

    record: str
    expr: str
    layer: str = "node"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A condition that somebody should know of.

    ``hold`` and ``keep`` are Prometheus's ``for`` and ``keep_firing_for``, durations as text, empty
    for none; ``why`` is the reason for them and for the severity, ``action`` the next step. Texts
    are Prometheus's templates.

    ``check`` is the check of ``gpumon check`` that finds the same thing on the node; ``no_check``
    is the reason if there is none. One of them is empty.

    ``labels`` are further ones that a site puts on it, in pairs; an alert that is not ``enabled``
    is listed, and not written. A ``live`` one notifies also while all others are shadows.
    ``layer`` is one of layers.Layer's words.
    """

    alert: str
    expr: str
    severity: str
    team: str
    summary: str
    description: str
    action: str
    why: str
    hold: str = ""
    keep: str = ""
    check: str = ""
    no_check: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    enabled: bool = True
    live: bool = False
    layer: str = "node"


Rule = RecordingRule | Alert


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RuleGroup:
    """Rules that are evaluated one after another; ``file`` is the source's, without suffix.

    ``interval`` is a duration, empty for the engine's own; ``offset`` is when within it they are
    evaluated, empty if the engine may choose.
    """

    file: str
    name: str
    rules: tuple[Rule, ...]
    interval: str = ""
    offset: str = ""

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The alerts among the rules."""
        return tuple(rule for rule in self.rules if isinstance(rule, Alert))
