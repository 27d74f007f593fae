"""A past that is made, kept and judged: a fleet's day in minutes.

A simulated fleet goes through its day as fast as it can; what its nodes would have served is put
into a VictoriaMetrics with the times of that day; then every rule is evaluated over the whole of
it, in order, recorded series put back for the rules after them, as a rule engine's replay does.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gpumon.exposition import Encoder, Format
from gpumon.model.site import SiteNodeReading, SiteReading
from gpumon.rules import Alert, Rule, RuleGroup
from gpumon.rules.check import metrics_of
from gpumon.simulate.clock import SteppedClock
from gpumon.simulate.fleet import SimFleet
from gpumon.simulate.fleetplan import FleetPlan
from gpumon.times import parse_duration
from tests.support.servers import answers, free_port, require, run, wait_for

START = 1_793_404_800.0
"""Midnight of the day that is made (UTC): 2026-10-31, since an archive takes no future."""

DAY = 86_400
_BATCH = 4_000_000
_LINE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Archive:
    """A VictoriaMetrics to put the past into."""

    def __init__(self, url: str) -> None:
        """Keep where it listens."""
        self.url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._waiting: list[str] = []
        self._bytes = 0

    def put(self, lines: str) -> None:
        """Put samples in: lines of the exposition format with times in milliseconds."""
        self._waiting.append(lines)
        self._bytes += len(lines)
        if self._bytes > _BATCH:
            self.send()

    def send(self) -> None:
        """Send what waits."""
        body, self._waiting, self._bytes = "".join(self._waiting), [], 0
        if body:
            self._ask("/api/v1/import/prometheus", data=body.encode())

    def flush(self) -> None:
        """Make what was put in findable."""
        self.send()
        self._ask("/internal/force_flush")

    def over(self, expr: str, begin: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the series of an expression, from and to a second of the day."""
        span = {"start": START + begin, "end": START + end, "step": step}
        parameters = {"query": expr, **span, "nocache": 1}
        answer = json.loads(
            self._ask("/api/v1/query_range", data=urllib.parse.urlencode(parameters).encode())
        )
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def _ask(self, path: str, data: bytes | None = None) -> bytes:
        with self._opener.open(f"{self.url}{path}", data=data, timeout=600) as answer:
            body: bytes = answer.read()
        return body


@contextlib.contextmanager
def run_archive(folder: Path) -> Iterator[Archive]:
    """Run VictoriaMetrics in a folder."""
    port = free_port()
    argv = [
        require("victoria-metrics"),
        f"-storageDataPath={folder / 'archive'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=100y",
        "-search.maxQueryDuration=10m",
        "-search.maxUniqueTimeseries=2000000",
    ]
    with run(argv, folder / "victoria-metrics.log", patience=60):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), 30, "VictoriaMetrics")
        yield Archive(f"http://127.0.0.1:{port}")


def make_day(
    plan: FleetPlan,
    archive: Archive,
    rules: Sequence[Rule],
    *,
    step: float,
    stride: int,
    part: tuple[int, int] = (0, 1),
    faults: Sequence[str] = (),
    seconds: float = DAY,
) -> None:
    """Let a fleet go through a day, and put into the archive what the rules read of it.

    ``part`` (n, of) makes only each n-th of ``of`` nodes, for processes side by side; the site is
    the first part's. ``stride`` is the fleet's, in ticks.
    """
    read = {name for rule in rules for name in metrics_of(rule.expr)} | {"up"}
    clock = SteppedClock(START)
    fleet = SimFleet(plan, clock, stride=stride)
    fleet.add_faults(list(faults))
    mine = [node for at, node in enumerate(fleet.nodes.values()) if at % part[1] == part[0]]
    # Prometheus spreads its scrapes over the interval: neighbours are not looked at at once.
    random.Random(plan.seed).shuffle(mine)
    site = Encoder(Format.TEXT)
    cluster = plan.site.cluster
    for _ in range(round(seconds / step)):
        for node in mine:
            clock.step(step / len(mine))
            time = int(fleet.clock.time() * 1000)
            labels = node.place.target_labels(cluster)
            place = _labels({"job": "gpumon", "instance": f"{node.place.node}:9842", **labels})
            archive.put(_stamped(node.scrape(Format.TEXT).decode(), place, time, read))
            archive.put(
                f"up{{{place}}} 1 {time}\nscrape_duration_seconds{{{place}}} 0.004 {time}\n"
            )
        if part[0] == 0:
            time = int(fleet.clock.time() * 1000)
            owners: dict[type, Sequence[SiteReading | SiteNodeReading]] = {
                SiteReading: [fleet.site_reading()],
                SiteNodeReading: fleet.node_readings(),
            }
            place = _labels({"job": "gpumon-site", "instance": "site:9843", "cluster": cluster})
            archive.put(_stamped(site.encode(owners).decode(), place, time, read))
            archive.put(f"up{{{place}}} 1 {time}\n")
    archive.flush()


def judge_day(
    groups: Iterable[RuleGroup], archive: Archive, *, step: float, seconds: float = DAY
) -> dict[str, list[dict[str, str]]]:
    """Evaluate every rule over the day, and return the alerts that fired, with their labels.

    Each group at its own interval, or at the step of the day where that is longer.
    """
    fired: dict[str, list[dict[str, str]]] = {}
    ordered = sorted(groups, key=lambda group: bool(group.alerts))
    for group, rule in ((each, rule) for each in ordered for rule in each.rules):
        every = max(step, parse_duration(group.interval) if group.interval else 0.0)
        found = archive.over(rule.expr, every, seconds, every)
        if isinstance(rule, Alert):
            held = parse_duration(rule.hold) if rule.hold else 0.0
            firing = [s["metric"] for s in found if _lasted(s["values"], every) >= held]
            if firing:
                fired[rule.alert] = firing
        elif found:
            for series in found:
                labels = {k: v for k, v in series["metric"].items() if k != "__name__"}
                head = f"{rule.record}{{{_labels(labels)}}}"
                archive.put(
                    "".join(f"{head} {value} {int(t * 1000)}\n" for t, value in series["values"])
                )
            archive.flush()
    return fired


def _lasted(values: Sequence[tuple[float, str]], step: float) -> float:
    """Return for how many seconds at a time there was a value, at most."""
    longest = began = last = None
    for time, _ in values:
        if last is None or time - last > 1.5 * step:
            began = time
        last = time
        longest = max(longest or 0.0, time - (began or time))
    return longest if longest is not None else -1.0


def _stamped(text: str, place: str, time: int, read: set[str]) -> str:
    """Return the lines of the metrics that are read, with where they are from and when."""
    return "".join(
        f"{name}{{{place},{labels}}} {value} {time}\n"
        for name, labels, value in _LINE.findall(text)
        if name in read
    )


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
