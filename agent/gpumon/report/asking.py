"""What a Prometheus is asked for a report, a day at a time."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence

from gpumon.ledger.hours import HOUR_SECONDS, Demand
from gpumon.prometheus.api import PrometheusApi, Series
from gpumon.report.counters import HourSpan, Key
from gpumon.report.quantities import (
    FACTS,
    INFO,
    INFO_RECORDED,
    JOBS,
    PLACE,
    QUANTITIES,
    TARGET,
    UNALLOCATED,
    Quantity,
    window_of,
)

CHUNK_HOURS = 24
"""Hours asked for at once, so that no answer is larger than a server allows."""

BASELINE = "1d"
"""How far back before the span a counter's value at its beginning is looked for."""

QUARTER_SECONDS = 900.0

DEMANDS = {
    "gpu": ("instance:gpumon_gpu_power_watts:sum", "gpumon_node_gpu_power_watts"),
    "node": ("instance:gpumon_node_power_watts:sum", "gpumon_node_power_watts"),
}
"""Power by boundary: recorded, else by node."""

_UP = 'up{job="gpumon"}'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How much is wanted.

    By the hour, or by the day if nothing depends on the hour; each GPU, or a node's together;
    all jobs, or one and what is nobody's.
    """

    hourly: bool = True
    by_gpu: bool = False
    job_id: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was found in one chunk.

    ``targets`` and ``facts`` are labels. ``known`` says of how many hours there are data, by target
    and by the first hour of a row. ``values`` are counters' highest values by the hour (since 1970)
    at the end of each span.
    """

    targets: Sequence[Mapping[str, str]]
    facts: Sequence[Mapping[str, str]]
    known: Mapping[Key, Mapping[int, int]]
    values: Mapping[Quantity, Mapping[Key, Mapping[int, float]]]
    demands: Mapping[str, Demand]


class Asker:
    """Asks for recorded series if there are any (eight times fewer), else for the raw ones."""

    def __init__(self, api: PrometheusApi, scope: Scope) -> None:
        """Prepare to ask a server for as much as is wanted."""
        self._api = api
        self._hourly = scope.hourly
        self._job = "" if scope.job_id is None else f"{{job_id={json.dumps(scope.job_id)}}}"
        self._labels: tuple[str, ...] = ("gpu", "uuid") if scope.by_gpu else ()
        # Of one GPU only its joules are told, and whose they are.
        self._quantities = (UNALLOCATED, JOBS) if scope.by_gpu else QUANTITIES

    def baselines(self, since: int) -> dict[Quantity, dict[Key, float]]:
        """Return where counters stood at an hour; UnavailableError if there is no answer."""
        time = since * HOUR_SECONDS
        return {
            quantity: {
                self._key(quantity, series.labels): series.points[0][1]
                for series in self._counters(
                    quantity, BASELINE, lambda query: self._api.instant(query, time), both=False
                )
            }
            for quantity in self._quantities
        }

    def ask(self, chunk: HourSpan, *, last: bool) -> Answers:
        """Ask for a chunk; the ``last`` may hold what the recording rules have not got yet.

        Raises UnavailableError if there is no answer.
        """
        step = 1 if self._hourly else chunk.hours
        values = {
            quantity: self._values(quantity, chunk, step, both=last)
            for quantity in self._quantities
        }
        return Answers(
            targets=self._targets(chunk),
            facts=self._facts(chunk),
            known=_hours_of(values[UNALLOCATED]) if self._hourly else self._known(chunk),
            values=values,
            demands=self._demands(chunk),
        )

    def _values(
        self, quantity: Quantity, chunk: HourSpan, step: int, *, both: bool
    ) -> dict[Key, dict[int, float]]:
        """Return each series' highest value of each span of a chunk."""
        first, last = ((chunk.start + step) * HOUR_SECONDS, chunk.end * HOUR_SECONDS)
        highest: dict[Key, dict[int, float]] = collections.defaultdict(dict)
        for series in self._counters(
            quantity,
            window_of(step),
            lambda query: self._api.range(query, first, last, step * HOUR_SECONDS),
            both=both,
        ):
            values = highest[self._key(quantity, series.labels)]
            for time, value in series.points:
                end = round(time / HOUR_SECONDS)
                values[end] = max(value, values.get(end, value))
        return highest

    def _counters(
        self,
        quantity: Quantity,
        window: str,
        ask: Callable[[str], list[Series]],
        *,
        both: bool,
    ) -> list[Series]:
        only = self._job if "job_id" in quantity.labels else ""
        found = [] if self._labels else ask(quantity.query(f"{quantity.recorded}{only}", window))
        if found and not both:
            return found
        return [*found, *ask(quantity.query(f"{quantity.metric}{only}", window, self._labels))]

    def _key(self, quantity: Quantity, labels: Mapping[str, str]) -> Key:
        names = (*TARGET, *quantity.labels, *self._labels)
        return tuple(labels.get(name, "") for name in names)

    def _known(self, chunk: HourSpan) -> dict[Key, dict[int, int]]:
        """Return of how many hours of a chunk there are data."""
        found: dict[Key, dict[int, int]] = {}
        for metric in (UNALLOCATED.recorded, UNALLOCATED.metric):
            inner = f"group by ({', '.join(TARGET)}) (max_over_time({metric}[{window_of(1)}]))"
            query = f"count_over_time(({inner})[{window_of(chunk.hours)}:1h])"
            for series in self._api.instant(query, chunk.end * HOUR_SECONDS):
                target = tuple(series.labels.get(name, "") for name in TARGET)
                found[target] = {chunk.start: int(series.points[0][1])}
            if found:
                break
        return found

    def _targets(self, chunk: HourSpan) -> list[Mapping[str, str]]:
        """Return the agents there are to hear of, and where they stand."""
        return [
            *self._labels_of(_UP, (*TARGET, *PLACE), chunk),
            *(
                self._labels_of(UNALLOCATED.recorded, (*TARGET, *PLACE), chunk)
                or self._labels_of(UNALLOCATED.metric, (*TARGET, *PLACE), chunk)
            ),
        ]

    def _facts(self, chunk: HourSpan) -> list[Mapping[str, str]]:
        """Return whose the jobs are."""
        names = ("cluster", *FACTS)
        recorded = self._labels_of(f"{INFO_RECORDED}{self._job}", names, chunk)
        return recorded or self._labels_of(f"{INFO}{self._job}", names, chunk)

    def _labels_of(
        self, metric: str, names: Sequence[str], chunk: HourSpan
    ) -> list[Mapping[str, str]]:
        query = f"group by ({', '.join(names)}) (max_over_time({metric}[{window_of(chunk.hours)}]))"
        return [series.labels for series in self._api.instant(query, chunk.end * HOUR_SECONDS)]

    def _demands(self, chunk: HourSpan) -> dict[str, Demand]:
        """Return the quarter of an hour in which most was drawn, by boundary."""
        found = {}
        for boundary, metrics in DEMANDS.items():
            for metric in metrics:
                highest = self._demand(metric, chunk)
                if highest:
                    found[boundary] = highest
                    break
        return found

    def _demand(self, metric: str, chunk: HourSpan) -> Demand | None:
        window = f"{QUARTER_SECONDS:.0f}s"
        series = self._api.range(
            f"sum(max by ({', '.join(TARGET)}) (avg_over_time({metric}[{window}])))",
            chunk.start * HOUR_SECONDS + QUARTER_SECONDS,
            chunk.end * HOUR_SECONDS,
            QUARTER_SECONDS,
        )
        if not series:
            return None
        time, watts = max(series[0].points, key=lambda point: point[1])
        return Demand(time - QUARTER_SECONDS, watts)


def _hours_of(values: Mapping[Key, Mapping[int, float]]) -> dict[Key, dict[int, int]]:
    """Return of which hours there are values, by target."""
    found: dict[Key, dict[int, int]] = collections.defaultdict(dict)
    for key, by_end in values.items():
        found[key[: len(TARGET)]].update((end - 1, 1) for end in by_end)
    return found
