"""Hours out of a Prometheus.

Counters are taken by the highest value of each hour, and their differences are the hours' joules:
``increase()`` would lose what a job drew before its first scrape.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from gpumon.errors import UnavailableError
from gpumon.ledger.hours import Demand, HourRow, Hours, Progress, silent
from gpumon.model import Job
from gpumon.prometheus.api import PrometheusApi
from gpumon.report.asking import CHUNK_HOURS, Answers, Asker, Scope
from gpumon.report.counters import HourSpan, Key, SpanCounter
from gpumon.report.quantities import (
    FACTS,
    HOST,
    IDLE,
    JOBS,
    NODE,
    PLACE,
    QUANTITIES,
    SECONDS,
    TARGET,
    UNALLOCATED,
    Quantity,
)
from gpumon.sources.energy import SENSOR_ERROR

AHEAD = 3
"""Chunks that are asked for at a time; Prometheus answers twenty queries at once."""

MOST_MISSING = 10
"""Nodes without data that are named; of the others the number is said."""


class _Where(TypedDict, total=False):
    """Where a row's joules were drawn: fields of HourRow."""

    node: str
    place: Mapping[str, str]
    gpu: int | None
    uuid: str


def load_prometheus(
    api: PrometheusApi,
    since: int,
    until: int,
    scope: Scope,
    progress: Progress = silent,
) -> Hours:
    """Return the hours from ``since`` up to, not including, ``until`` (since 1970).

    Raises UnavailableError if the server does not answer, or knows nothing of that time.
    """
    chunks = [
        HourSpan(start, min(start + CHUNK_HOURS, until))
        for start in range(since, until, CHUNK_HOURS)
    ]
    asker = Asker(api, scope)
    books = _Books(since, scope)
    books.begin(asker.baselines(since))
    for done, (chunk, answers) in enumerate(_ask_all(asker, chunks)):
        progress(done, len(chunks))
        books.enter(chunk, answers)
    progress(len(chunks), len(chunks))
    if books.empty:
        raise UnavailableError(
            f"{api.url} knows no energy of gpumon's in this span",
            "look elsewhere with --since, or see its targets page for the job gpumon",
        )
    return books.hours(until)


def _ask_all(asker: Asker, chunks: Sequence[HourSpan]) -> Iterator[tuple[HourSpan, Answers]]:
    """Yield each chunk's answers, in order; the server works on the next ones meanwhile."""
    waiting: collections.deque[tuple[HourSpan, concurrent.futures.Future[Answers]]]
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(AHEAD) as threads:
        for chunk in chunks:
            if len(waiting) == AHEAD:
                first, answers = waiting.popleft()
                yield first, answers.result()
            waiting.append((chunk, threads.submit(asker.ask, chunk, last=chunk is chunks[-1])))
        while waiting:
            first, answers = waiting.popleft()
            yield first, answers.result()


WHOSE = ("user", "account")
"""Who pays for a job; other facts of it are only shown."""

DOUBTFUL = "\n"
"""Stands for two that contradict each other; no user is called that."""


def _agreed(one: str, other: str) -> str:
    """Return what two say together, of which either may not know it."""
    known = {one, other} - {""}
    return known.pop() if len(known) == 1 else DOUBTFUL if known else ""


class _Books:
    """Adds up chunk after chunk, in order."""

    def __init__(self, since: int, scope: Scope) -> None:
        self._since = since
        self._step = 1 if scope.hourly else CHUNK_HOURS
        self._by_gpu = scope.by_gpu
        self._counters = {
            quantity: SpanCounter(begins_at_zero="job_id" in quantity.labels)
            for quantity in QUANTITIES
        }
        self._sums: dict[Quantity, dict[tuple[int, Key], float]] = {
            quantity: collections.defaultdict(float) for quantity in QUANTITIES
        }
        self._known: dict[Key, dict[int, int]] = collections.defaultdict(dict)
        self._places: dict[Key, dict[str, str]] = {}
        self._facts: dict[tuple[str, str], dict[int, Job]] = {}
        self._demands: dict[str, Demand] = {}
        self._wheres: dict[Key, _Where] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not any(self._known.values()) and not self._sums[JOBS]

    def begin(self, baselines: Mapping[Quantity, Mapping[Key, float]]) -> None:
        """Take the values of the counters at the beginning of the span."""
        for quantity, values in baselines.items():
            for key, value in values.items():
                self._counters[quantity].begin(key, self._since, value)

    def enter(self, chunk: HourSpan, answers: Answers) -> None:
        """Enter what was found in a chunk."""
        for labels in answers.targets:
            target = tuple(labels.get(name, "") for name in TARGET)
            self._known[target]  # makes it known, with no hours
            self._places[target] = {name: value for name, value in labels.items() if name in PLACE}
        for target, hours in answers.known.items():
            self._known[target].update(hours)
        for labels in answers.facts:
            self._meet(labels, chunk.start)
        for boundary, demand in answers.demands.items():
            known = self._demands.get(boundary)
            if known is None or demand.watts > known.watts:
                self._demands[boundary] = demand
        step = min(self._step, chunk.hours)
        for quantity, series in answers.values.items():
            for key, values in series.items():
                self._count(quantity, key, values, step)

    def _count(self, quantity: Quantity, key: Key, values: Mapping[int, float], step: int) -> None:
        """Enter a series' highest value of each span, by the hour at its end."""
        counter, sums = self._counters[quantity], self._sums[quantity]
        known = self._known[key[: len(TARGET)]]
        of_job = "job_id" in quantity.labels
        for end in sorted(values):
            span = HourSpan(end - step, end)
            # A job whose node was heard of while it was not there had ended: it has begun anew.
            anew = of_job and any(map(known.get, counter.away(key, span)))
            for hour, amount in counter.count(key, span, values[end], anew=anew):
                sums[self._row_hour(hour), key] += amount

    def _chunk(self, hour: int) -> int:
        return hour - (hour - self._since) % CHUNK_HOURS

    def _row_hour(self, hour: int) -> int:
        """Return the first hour of the row that an hour belongs to."""
        return hour - (hour - self._since) % self._step

    def _meet(self, labels: Mapping[str, str], hour: int) -> None:
        """Take note of whose a job is in a chunk; some servers may not see users.

        A number may come back later as another job, of another user. Of two in one chunk it is not
        known whose each hour is.
        """
        job = Job(**{name: labels.get(name, "") for name in FACTS})
        key = labels.get("cluster", ""), job.job_id
        facts = self._facts.setdefault(key, {})
        known = facts.setdefault(hour, job)
        whose = {name: _agreed(getattr(known, name), getattr(job, name)) for name in WHOSE}
        facts[hour] = dataclasses.replace(job if job.user else known, **whose)

    def hours(self, until: int) -> Hours:
        """Return all that was entered."""
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
                job=self._job(key, hour, many=many),
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
                job=self._job(key, hour, many=many),
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

    def _job(self, key: Key, hour: int, *, many: bool) -> Job:
        """Return a job at an hour; if there are many clusters its id says in which."""
        cluster, job_id = key[0], key[2]
        facts = self._facts.get((cluster, job_id))
        if facts:
            at = self._chunk(hour)
            # A day that says nothing is of the nearest one: a job may be known a day later.
            found = facts.get(at) or facts[min(facts, key=lambda day: (abs(day - at), day))]
            whose = {name: getattr(found, name) for name in WHOSE}
            job = dataclasses.replace(
                found, **{name: "" for name in WHOSE if whose[name] == DOUBTFUL}
            )
        else:
            job = Job(job_id=job_id, manager="unknown")
        return dataclasses.replace(job, job_id=f"{cluster}/{job_id}") if many else job

    def _where(self, key: Key) -> _Where:
        """Return where a row's joules were drawn; one answer serves many rows."""
        place = key if self._by_gpu else key[: len(TARGET)]
        known = self._wheres.get(place)
        if known is None:
            known = self._wheres[place] = self._find(place)
        return known

    def _find(self, key: Key) -> _Where:
        target = key[: len(TARGET)]
        place = self._places.get(target, {})
        where = _Where(node=place.get("node") or target[1], place={"cluster": target[0], **place})
        if self._by_gpu:
            gpu, where["uuid"] = key[-2:]
            where["gpu"] = int(gpu) if gpu.isdecimal() else None
        return where

    def _missing(self, until: int) -> tuple[float, tuple[str, ...]]:
        """Return the share of the nodes' hours without data, and the worst of them in words."""
        hours = until - self._since
        lost = {target: hours - sum(known.values()) for target, known in self._known.items()}
        without = {target: count for target, count in lost.items() if count}
        worst = sorted(without.items(), key=lambda item: (-item[1], item[0]))
        said = [
            f"{self._where(target)['node']}: nothing known of {count} of {hours} hours"
            for target, count in worst[:MOST_MISSING]
        ]
        if len(worst) > MOST_MISSING:
            said.append(f"and {len(worst) - MOST_MISSING} more nodes with hours missing")
        return round(sum(without.values()) / (len(self._known) * hours), 6), tuple(said)
