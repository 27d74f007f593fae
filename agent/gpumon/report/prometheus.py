"""Hours out of a Prometheus.

Counters are taken by the highest value of each hour, and their differences are the hours' joules:
``increase()`` would lose what a job drew before its first scrape. Where the recorded series of
``deploy/prometheus/rules/report.yml`` are there they are read, which are eight times fewer.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypedDict

from gpumon.errors import UnavailableError
from gpumon.model import Job
from gpumon.promapi import PrometheusApi, Series
from gpumon.report.counters import Counter, Key, Span
from gpumon.report.hours import HOUR_SECONDS, Demand, HourRow, Hours, Progress, silent
from gpumon.report.quantities import (
    FACTS,
    HOST,
    IDLE,
    INFO,
    INFO_RECORDED,
    JOBS,
    NODE,
    PLACE,
    QUANTITIES,
    SECONDS,
    TARGET,
    UNALLOCATED,
    Quantity,
    window_of,
)
from gpumon.sources.energy import SENSOR_ERROR

CHUNK_HOURS = 24
"""Hours asked for at once, so that no answer is larger than a server allows."""

BASELINE = "1d"
"""How far back before the span a counter's value at its beginning is looked for."""

QUARTER_SECONDS = 900.0

MOST_MISSING = 10
"""Nodes without data that are named; of the others the number is said."""

_Ask = Callable[[str], list[Series]]


class _Where(TypedDict, total=False):
    """Where a row's joules were drawn: fields of HourRow."""

    node: str
    place: Mapping[str, str]
    gpu: int | None
    uuid: str


_DEMANDS = {
    "gpu": ("instance:gpumon_gpu_power_watts:sum", "gpumon_node_gpu_power_watts"),
    "node": ("instance:gpumon_node_power_watts:sum", "gpumon_node_power_watts"),
}


def load_prometheus(
    api: PrometheusApi,
    since: int,
    until: int,
    *,
    hourly: bool = True,
    by_gpu: bool = False,
    progress: Progress = silent,
) -> Hours:
    """Return the hours from ``since`` up to, not including, ``until`` (since 1970).

    Without ``hourly`` a row may stand for a whole day; with ``by_gpu`` each is of one GPU.
    Raises UnavailableError where the server does not answer, or knows nothing of that time.
    """
    loader = _Loader(api, since, hourly=hourly, by_gpu=by_gpu)
    chunks = [
        Span(start, min(start + CHUNK_HOURS, until)) for start in range(since, until, CHUNK_HOURS)
    ]
    for done, chunk in enumerate(chunks):
        progress(done, len(chunks))
        loader.load(chunk, last=chunk is chunks[-1])
    progress(len(chunks), len(chunks))
    return loader.hours(until)


class _Loader:
    """Reads chunk after chunk, in order."""

    def __init__(self, api: PrometheusApi, since: int, *, hourly: bool, by_gpu: bool) -> None:
        self._api = api
        self._since = since
        self._step = 1 if hourly else CHUNK_HOURS
        self._last = False
        self._labels: tuple[str, ...] = ("gpu", "uuid") if by_gpu else ()
        self._counters = {
            quantity: Counter(begins_at_zero="job_id" in quantity.labels) for quantity in QUANTITIES
        }
        self._sums: dict[Quantity, dict[tuple[int, Key], float]] = {
            quantity: collections.defaultdict(float) for quantity in QUANTITIES
        }
        self._known: dict[Key, set[int]] = collections.defaultdict(set)
        self._places: dict[Key, dict[str, str]] = {}
        self._facts: dict[tuple[str, str], Job] = {}
        self._demands: dict[str, Demand] = {}

    def load(self, chunk: Span, *, last: bool) -> None:
        """Read one chunk; into the ``last`` the recording rules may not have got."""
        self._last = last
        self._load_targets(chunk)
        for quantity in self._wanted():
            if chunk.start == self._since:
                self._load_baseline(quantity)
            # Whether there are data is to be known of each hour.
            step = 1 if quantity is UNALLOCATED else min(self._step, chunk.hours)
            for span, key, value in self._values(quantity, chunk, step):
                self._count(quantity, span, key, value)
        self._load_facts(chunk)
        for boundary, metrics in _DEMANDS.items():
            self._load_demand(boundary, metrics, chunk)

    def _wanted(self) -> Iterable[Quantity]:
        """Return what can be told: of one GPU only its joules, and whose they are."""
        return (UNALLOCATED, JOBS) if self._labels else QUANTITIES

    def _count(self, quantity: Quantity, span: Span, key: Key, value: float) -> None:
        target = key[: len(TARGET)]
        if quantity is UNALLOCATED:
            self._known[target].add(span.start)
        counter = self._counters[quantity]
        # A job whose node was read, and that was not there, had ended: it has begun anew.
        anew = "job_id" in quantity.labels and any(
            hour in self._known[target] for hour in counter.away(key, span)
        )
        for hour, amount in counter.count(key, span, value, anew=anew):
            self._sums[quantity][self._row_hour(hour), key] += amount

    def _row_hour(self, hour: int) -> int:
        """Return the first hour of the row that an hour belongs to."""
        return hour - (hour - self._since) % self._step

    def _load_baseline(self, quantity: Quantity) -> None:
        """Read where counters stood when the span began."""
        for series in self._ask(
            quantity, BASELINE, lambda query: self._api.instant(query, self._since * HOUR_SECONDS)
        ):
            key = self._key(quantity, series.labels)
            self._counters[quantity].begin(key, self._since, series.points[0][1])

    def _values(
        self, quantity: Quantity, chunk: Span, step: int
    ) -> Iterator[tuple[Span, Key, float]]:
        """Yield each series' highest value of each span of a chunk, in order for each series."""
        highest: dict[Key, dict[int, float]] = collections.defaultdict(dict)
        first = (chunk.start + step) * HOUR_SECONDS
        last = chunk.end * HOUR_SECONDS
        for series in self._ask(
            quantity,
            window_of(step),
            lambda query: self._api.range(query, first, last, step * HOUR_SECONDS),
        ):
            values = highest[self._key(quantity, series.labels)]
            for time, value in series.points:
                end = round(time / HOUR_SECONDS)
                values[end] = max(value, values.get(end, value))
        for key, values in highest.items():
            for end in sorted(values):
                yield Span(end - step, end), key, values[end]

    def _ask(self, quantity: Quantity, window: str, ask: _Ask) -> list[Series]:
        """Return the recorded series, or where there are none (yet) the raw ones."""
        found = [] if self._labels else ask(quantity.query(quantity.recorded, window))
        if found and not self._last:
            return found
        return [*found, *ask(quantity.query(quantity.metric, window, self._labels))]

    def _key(self, quantity: Quantity, labels: Mapping[str, str]) -> Key:
        names = (*TARGET, *quantity.labels, *self._labels)
        return tuple(labels.get(name, "") for name in names)

    def _load_targets(self, chunk: Span) -> None:
        """Note which agents there are to hear of, and where they stand."""
        by = ", ".join((*TARGET, *PLACE))
        recorded = False
        for metric in (UNALLOCATED.recorded, UNALLOCATED.metric, 'up{job="gpumon"}'):
            if recorded and metric == UNALLOCATED.metric:
                continue
            found = self._api.instant(
                f"group by ({by}) (max_over_time({metric}[{window_of(chunk.hours)}]))",
                chunk.end * HOUR_SECONDS,
            )
            for series in found:
                target = tuple(series.labels.get(name, "") for name in TARGET)
                self._known[target]  # makes it known, with no hours
                self._places[target] = {
                    name: value for name, value in series.labels.items() if name in PLACE
                }
            recorded = recorded or bool(found)

    def _load_facts(self, chunk: Span) -> None:
        """Read whose the jobs are."""
        by = ", ".join(("cluster", *FACTS))
        for metric in (INFO_RECORDED, INFO):
            found = self._api.instant(
                f"group by ({by}) (max_over_time({metric}[{window_of(chunk.hours)}]))",
                chunk.end * HOUR_SECONDS,
            )
            for series in found:
                job = Job(**{name: series.labels.get(name, "") for name in FACTS})
                key = series.labels.get("cluster", ""), job.job_id
                if key not in self._facts or job.user:  # some servers may not see users
                    self._facts[key] = job
            if found:
                return

    def _load_demand(self, boundary: str, metrics: Sequence[str], chunk: Span) -> None:
        """Look for the quarter of an hour in which most was drawn."""
        for metric in metrics:
            found = self._api.range(
                "sum(max by (cluster, instance) "
                f"(avg_over_time({metric}[{QUARTER_SECONDS:.0f}s])))",
                chunk.start * HOUR_SECONDS + QUARTER_SECONDS,
                chunk.end * HOUR_SECONDS,
                QUARTER_SECONDS,
            )
            for series in found:
                time, watts = max(series.points, key=lambda point: point[1])
                known = self._demands.get(boundary)
                if known is None or watts > known.watts:
                    self._demands[boundary] = Demand(time - QUARTER_SECONDS, watts)
            if found:
                return

    def hours(self, until: int) -> Hours:
        """Return all that was read; UnavailableError where that is nothing."""
        if not any(self._known.values()) and not self._sums[JOBS]:
            raise UnavailableError(
                f"{self._api.url} knows no energy of gpumon's in this span",
                "look elsewhere with --since, or see its targets page for the job gpumon",
            )
        clusters = {target[0] for target in self._known}
        rows = [*self._job_rows(many=len(clusters) > 1), *self._host_rows(many=len(clusters) > 1)]
        for (hour, key), joules in self._sums[UNALLOCATED].items():
            rows.append(HourRow(hour=hour, joules=joules, **self._where(key)))
        ratio, missing = self._missing(until)
        return Hours(
            rows=tuple(rows),
            without_data_ratio=ratio,
            missing=missing,
            demands=self._demands,
            error_ratio=SENSOR_ERROR,
        )

    def _job_rows(self, *, many: bool) -> Iterator[HourRow]:
        idle, seconds = self._sums[IDLE], self._sums[SECONDS]
        for (hour, key), joules in self._sums[JOBS].items():
            yield HourRow(
                hour=hour,
                joules=joules,
                job=self._job(key, many=many),
                idle_joules=idle.get((hour, key), 0.0),
                active_seconds=seconds.get((hour, (*key, "active")), 0.0),
                idle_seconds=seconds.get((hour, (*key, "idle")), 0.0),
                **self._where(key),
            )

    def _host_rows(self, *, many: bool) -> Iterator[HourRow]:
        """Yield what nodes drew beyond their GPUs: the jobs' parts, and the rest as nobody's."""
        jobs: dict[tuple[int, Key], float] = collections.defaultdict(float)
        for (hour, key), joules in self._sums[HOST].items():
            *_, method = key
            jobs[hour, (*key[:2], method)] += joules
            yield HourRow(
                hour=hour,
                joules=joules,
                job=self._job(key, many=many),
                method=method,
                **self._where(key),
            )
        gpus: dict[tuple[int, Key], float] = collections.defaultdict(float)
        for quantity in (JOBS, UNALLOCATED):
            for (hour, key), joules in self._sums[quantity].items():
                gpus[hour, key[:2]] += joules
        nodes: dict[tuple[int, Key], dict[str, float]] = collections.defaultdict(dict)
        for (hour, key), joules in self._sums[NODE].items():
            by_method = nodes[hour, key[:2]]
            by_method[key[2]] = by_method.get(key[2], 0.0) + joules
        for (hour, target), methods in nodes.items():
            # While both methods were in use, the GPUs' joules are divided as the node's are.
            whole = sum(methods.values())
            for method, joules in methods.items():
                mine = gpus[hour, target] * (joules / whole if whole else 0.0)
                rest = joules - mine - jobs[hour, (*target, method)]
                if rest > 0:
                    yield HourRow(hour=hour, joules=rest, method=method, **self._where(target))

    def _job(self, key: Key, *, many: bool) -> Job:
        """Return a job; where there are many clusters its id says in which."""
        cluster, job_id = key[0], key[2]
        job = self._facts.get((cluster, job_id)) or Job(job_id=job_id, manager="unknown")
        return dataclasses.replace(job, job_id=f"{cluster}/{job_id}") if many else job

    def _where(self, key: Key) -> _Where:
        target = key[: len(TARGET)]
        place = self._places.get(target, {})
        where = _Where(node=place.get("node") or target[1], place={"cluster": target[0], **place})
        if self._labels:
            gpu, where["uuid"] = key[-2:]
            where["gpu"] = int(gpu) if gpu.isdecimal() else None
        return where

    def _missing(self, until: int) -> tuple[float, tuple[str, ...]]:
        """Return the share of the nodes' hours without data, and the worst of them in words."""
        hours = until - self._since
        without = {
            target: hours - len(known)
            for target, known in self._known.items()
            if len(known) < hours
        }
        worst = sorted(without.items(), key=lambda item: (-item[1], item[0]))
        said = [
            f"{self._where(target)['node']}: nothing known of {count} of {hours} hours"
            for target, count in worst[:MOST_MISSING]
        ]
        if len(worst) > MOST_MISSING:
            said.append(f"and {len(worst) - MOST_MISSING} more nodes with hours missing")
        return round(sum(without.values()) / (len(self._known) * hours), 6), tuple(said)
