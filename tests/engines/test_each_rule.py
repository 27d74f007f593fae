"""Each rule on VictoriaMetrics and on Prometheus 3, of the same samples.

Samples of a few nodes are written to both, with the times of the last half hour; then each rule's
expression is asked of both at the same moment, in the order in which rules stand on one another.
What Prometheus records goes to both, so that each difference is its own rule's.
"""

from __future__ import annotations

import functools
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gpumon.rules import load
from gpumon.rules.model import Alert, RecordingRule, Rule
from gpumon.rules.stages import steps_of
from gpumon.thresholds import shipped
from tests.engines.layouts import passing_on, store
from tests.engines.programs import built
from tests.support.halls import NODES, SITE, Series, differences, expositions
from tests.support.servers import Prometheus, run_prometheus, wait_for

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]

STEP = 15
SECONDS = 30 * 60
RECORDED_FOR = 15 * 60

SOME = ("n1", "n2", "n3", "n8")
"""Nodes of both clusters and of two halls: one well, one lost a GPU, one hot, one has no driver."""

SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:{(.*)})? (\S+)$", re.MULTILINE)
GROWING = re.compile(r"^# TYPE (\w+) counter$", re.MULTILINE)

LATE = "storage: {tsdb: {out_of_order_time_window: 1h}}"
"""The writer sends blocks at once, of which an older one may come later."""

EXTRAPOLATED = re.compile(r"\b(rate|increase|delta)\(")
"""VictoriaMetrics counts from the sample before the window, Prometheus extrapolates within it."""


class Both:
    """A Prometheus and a VictoriaMetrics, and who writes the same to both."""

    def __init__(self, prometheus: Prometheus, other: Prometheus, writer: Prometheus) -> None:
        """Keep them."""
        self.prometheus, self.other, self.writer = prometheus, other, writer

    def write(self, lines: list[str]) -> None:
        """Write samples with their times in milliseconds: in order, which Prometheus insists on.

        The writer reads a request of more than 64 KiB in parts, at once.
        """
        body: list[str] = []
        size = 0
        for line in sorted(lines, key=lambda line: line.rpartition(" ")[2]):
            if size + len(line) > 60_000:
                self._send(body)
                body, size = [], 0
            body.append(line)
            size += len(line) + 1
        self._send(body)

    def _send(self, lines: list[str]) -> None:
        body = "".join(f"{line}\n" for line in lines).encode()
        url = f"{self.writer.url}/api/v1/import/prometheus"
        urllib.request.urlopen(urllib.request.Request(url, body)).close()


def samples(texts: Mapping[str, str], end: float) -> Iterator[str]:
    """Return what some nodes, and the site, served until a moment; counters grow unevenly."""
    targets = [(texts[f"/{n.name}"], n.labels | {"job": "gpumon"}) for n in NODES if n.name in SOME]
    targets.append((SITE, {"site": "s", "instance": "s:9843", "job": "gpumon-site"}))
    for text, labels in targets:
        growing = set(GROWING.findall(text))
        own = ",".join(f'{name}="{value}"' for name, value in labels.items())
        for number, (family, inner, value) in enumerate(SAMPLE.findall(text + "up 1\n")):
            named = f"{family}{{{inner}{',' if inner else ''}{own}}}"
            pace = (number % 7) * 1.5 if family in growing else 0
            for step in range(SECONDS // STEP + 1):
                at = end - SECONDS + step * STEP
                grown = float(value) + pace * (step + step * step % 3)
                yield f"{named} {grown!r} {round(at * 1000)}"


def ask(server: Prometheus, kind: str, **parameters: object) -> list[dict[str, Any]]:
    """Return what a query finds."""
    body = urllib.parse.urlencode({**parameters, "nocache": 1}).encode()
    with urllib.request.urlopen(f"{server.url}/api/v1/{kind}", body, timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def at(server: Prometheus, rule: Rule, end: float) -> Series:
    """Return what a rule's expression gives at a moment, as vmalert asks it."""
    found = ask(server, "query", query=rule.expr, time=end, step="5m")
    return {
        tuple(sorted((k, v) for k, v in one["metric"].items() if k != "__name__")): float(
            one["value"][1]
        )
        for one in found
        if not math.isnan(float(one["value"][1]))
    }


def recorded(server: Prometheus, rule: RecordingRule, end: float) -> list[str]:
    """Return the samples that a rule would have recorded."""
    found = ask(
        server, "query_range", query=rule.expr, start=end - RECORDED_FOR, end=end, step=STEP
    )
    return [
        f"{rule.record}{_labels(one['metric'])} {value} {round(float(moment) * 1000)}"
        for one in found
        for moment, value in one["values"]
    ]


def _labels(metric: Mapping[str, str]) -> str:
    inner = ",".join(f"{k}={json.dumps(v)}" for k, v in metric.items() if k != "__name__")
    return f"{{{inner}}}"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both engines, with the half hour that is over."""
    program, folder = built("prometheus"), tmp_path_factory.mktemp("both")
    (folder / "p").mkdir()
    args = "--web.enable-remote-write-receiver"
    with (
        run_prometheus(folder / "p", LATE, args, program=program) as one,
        store(folder / "v") as other,
        passing_on(folder / "agent", one, other, ".+") as writer,
    ):
        yield Both(one, other, writer)


def test_each_rule_gives_the_same(both: Both, tmp_path: Path) -> None:
    """The same series of the same values; rates but for what grew in one interval of scrapes."""
    end = time.time() // STEP * STEP - STEP
    both.write(list(samples(expositions(tmp_path), end)))
    wait_for(lambda: arrived(both, "count(up)", end, len(SOME) + 1), 120, "the samples in both")
    different: dict[str, list[str]] = {}
    for number, stage in enumerate(stages()):
        lines = [f'stage{{number="{number}"}} 1 {round(end * 1000)}']
        for rule in stage:
            one, other = (at(server, rule, end) for server in (both.prometheus, both.other))
            name = rule.record if isinstance(rule, RecordingRule) else rule.alert
            if isinstance(rule, Alert) and EXTRAPOLATED.search(rule.expr):
                # A threshold may lie between two rates.
                one, other = ({k: of[k] for k in one.keys() & other.keys()} for of in (one, other))
            different[name] = differences(one, other, _share(rule))[:3]
            if isinstance(rule, RecordingRule):
                lines += recorded(both.prometheus, rule, end)
        both.write(lines)
        written = functools.partial(arrived, both, f"count(stage) == {number + 1}", end, number + 1)
        wait_for(written, 60, "what is recorded in both")
    assert len(different) > 200
    assert {name: found for name, found in different.items() if found} == {}


def _share(rule: Rule) -> float:
    """Return the share by which two values of a rule may differ."""
    return 0.06 if EXTRAPOLATED.search(rule.expr) else 1e-6


def arrived(both: Both, query: str, end: float, value: float) -> bool:
    """Tell whether both give a value."""
    return all(
        [float(one["value"][1]) for one in ask(server, "query", query=query, time=end)] == [value]
        for server in (both.prometheus, both.other)
    )


def stages() -> list[list[Rule]]:
    """Return all rules, those first that others stand upon."""
    found: dict[int, list[Rule]] = {}
    for rule, step in steps_of(load(shipped())).items():
        found.setdefault(step, []).append(rule)
    return [found[step] for step in sorted(found)]
