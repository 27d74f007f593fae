"""How often alerts began to fire, and which of them wake, or would wake, somebody."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from gpumon.prometheus.api import Series

STEP = "1m"
"""An alert that is away for less counts once."""

_BEGUN = (
    'ALERTS{{alertstate="firing",alertname!="Watchdog"}}'
    ' unless ALERTS{{alertstate="firing",alertname!="Watchdog"}} offset {step}'
)


@dataclasses.dataclass(frozen=True, slots=True)
class Noisy:
    """An alert or a node, how often alerts began to fire, and how many of these page.

    On trial they would page: what counts is the severity.
    """

    name: str
    fires: int
    pages: int


@dataclasses.dataclass(frozen=True, slots=True)
class Noise:
    """The noise of some days: by alert and by node, those with most pages first."""

    alerts: tuple[Noisy, ...]
    nodes: tuple[Noisy, ...]
    days: int

    @property
    def verdict(self) -> str:
        """One line on all of it."""
        fires = sum(one.fires for one in self.alerts)
        pages = sum(one.pages for one in self.alerts)
        return (
            f"{fires} times an alert began to fire in {self.days} days, {pages} of them pages:"
            f" {pages / (3 * self.days):.1f} a shift of eight hours"
        )


def noise(ask: Callable[[str], Sequence[Series]], days: int) -> Noise:
    """Return how noisy the alerts of some days were; ``ask`` returns the vector of a query now."""
    return Noise(_by("alertname", ask, days), _by("node", ask, days), days)


def _by(label: str, ask: Callable[[str], Sequence[Series]], days: int) -> tuple[Noisy, ...]:
    begun = _BEGUN.format(step=STEP)
    fires: dict[str, int] = {}
    pages: dict[str, int] = {}
    query = f"sum by ({label}, severity) (sum_over_time(({begun})[{days}d:{STEP}]))"
    for series in ask(query):
        name, count = series.labels.get(label, ""), round(series.points[0][1])
        if not name:
            continue
        fires[name] = fires.get(name, 0) + count
        if series.labels.get("severity") == "critical":
            pages[name] = pages.get(name, 0) + count
    found = (Noisy(name, count, pages.get(name, 0)) for name, count in fires.items())
    return tuple(sorted(found, key=lambda one: (-one.pages, -one.fires, one.name)))
