"""Where a report's hours come from: this machine's memory, a Prometheus, or a recording."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from gpumon.errors import UnavailableError, UsageError
from gpumon.ledger.hours import HOUR_SECONDS, Hours, Progress, silent
from gpumon.prometheus.api import PrometheusApi
from gpumon.report.asking import Scope
from gpumon.report.meter import Curve, Reckoned, integral_of, read_meter
from gpumon.report.prometheus import load_prometheus
from gpumon.report.recording import hours_of_span, load_recording
from gpumon.report.sums import Terms
from gpumon.sources.spec import SourceSpec
from gpumon.statedb.hours import load_hours

_MOST_POINTS = 10_000
"""Of a meter; Prometheus gives 11,000 at most."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for: hours since 1970, ``until`` excluded.

    ``target`` is ``prom:URL``, ``replay:FILE``, or empty for the state file at ``memory``. Only a
    Prometheus is asked for less than all, as ``scope`` says. In a recording, a GPU that was held is
    active from ``active_ratio`` on; elsewhere an agent has decided that.
    """

    target: str
    since: int
    until: int
    memory: Path
    node: str
    scope: Scope
    active_ratio: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Hours (since 1970, ``until`` excluded), and the finer account if there is one."""

    hours: Hours
    since: int
    until: int
    fine: Reckoned | None = None


def gather(wanted: Wanted, progress: Progress = silent) -> Gathered:
    """Return the hours; raises UsageError and UnavailableError with the next step."""
    kind, _, rest = wanted.target.partition(":")
    if kind == "prom":
        with PrometheusApi(rest) as api:
            hours = load_prometheus(api, wanted.since, wanted.until, wanted.scope, progress)
        return Gathered(hours=hours, since=wanted.since, until=wanted.until)
    if kind == "replay":
        recorded = load_recording(SourceSpec.parse(wanted.target), wanted.active_ratio, wanted.node)
        since, until = hours_of_span(recorded.since, recorded.until)
        fine = Reckoned(
            curve=recorded.curve,
            boundary="gpu",
            gain_error=recorded.hours.error_ratio,
            edge_joules=recorded.edge_joules,
            unknown_joules=recorded.unknown_joules,
        )
        return Gathered(hours=recorded.hours, since=since, until=until, fine=fine)
    if wanted.target:
        raise UsageError(
            f"{wanted.target!r} is nothing to report from",
            "write prom:http://HOST:9090, replay:FILE, or nothing for this machine",
        )
    hours = load_hours(wanted.memory, wanted.since, wanted.until, wanted.node)
    return Gathered(hours=hours, since=wanted.since, until=wanted.until)


def reckoned(gathered: Gathered, terms: Terms) -> Reckoned:
    """Return the account to hold against a meter, at the boundary of the terms."""
    if gathered.fine is not None and terms.boundary == "gpu":
        return gathered.fine
    by_hour: dict[int, float] = {}
    for row in gathered.hours.rows:
        joules = row.joules * (terms.share(row) or 0.0)
        by_hour[row.hour] = by_hour.get(row.hour, 0.0) + joules
    if not by_hour:
        raise UnavailableError("there is nothing to hold against a meter", "see --since")
    hours = range(min(by_hour), max(by_hour) + 1)
    total = itertools.accumulate((by_hour.get(hour, 0.0) for hour in hours), initial=0.0)
    moments = (hour * HOUR_SECONDS for hour in range(hours.start, hours.stop + 1))
    return Reckoned(
        curve=Curve(
            [(float(moment), joules) for moment, joules in zip(moments, total, strict=True)]
        ),
        boundary=terms.boundary,
        gain_error=gathered.hours.error_ratio,
        grain=HOUR_SECONDS,
    )


def metered(meter: str, target: str, since: int, until: int) -> Curve:
    """Return what a meter counted: of a file, or of a query for watts to the same Prometheus.

    Raises UsageError and UnavailableError with the next step.
    """
    path = Path(meter)
    if path.exists() or not target.startswith("prom:"):
        return read_meter(path)
    begin, end = float(since * HOUR_SECONDS), float(until * HOUR_SECONDS)
    step = max(60.0, (end - begin) / _MOST_POINTS)
    with PrometheusApi(target.partition(":")[2]) as api:
        found = api.range(meter, begin, end, step)
    if len(found) != 1 or len(found[0].points) < 2:
        raise UsageError(
            f"--meter {meter!r} gives {len(found)} series", "it is a query for watts: sum(…)"
        )
    return integral_of(found[0].points)
