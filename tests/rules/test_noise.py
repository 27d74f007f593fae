"""``gpumon rules noise``: how often alerts began to fire, and which of these page."""

from __future__ import annotations

import re

from gpumon.prometheus.api import Series
from gpumon.rules.noise import noise
from gpumon.views.rules import noise_lines
from tests.rules.test_export import gpumon

COUNTS = {
    "alertname": [
        ("RackHot", "critical", 2),
        ("GpuLost", "warning", 7),
        ("GpuLost", "critical", 1),
    ],
    "node": [("n1", "warning", 3), ("n2", "critical", 2), ("", "critical", 1)],
}


def ask(query: str) -> list[Series]:
    """Answer as a Prometheus with these counts."""
    found = re.match(r"sum by \((\w+), severity\)", query)
    assert found
    assert "[30d:1m]" in query
    label = found[1]
    return [Series({label: n, "severity": s}, [(0.0, float(c))]) for n, s, c in COUNTS[label]]


def test_those_with_most_pages_come_first() -> None:
    """Of one alert with two severities both are counted; what is of no node is no node's."""
    found = noise(ask, 30)
    assert [(one.name, one.fires, one.pages) for one in found.alerts] == [
        ("RackHot", 2, 2),
        ("GpuLost", 8, 1),
    ]
    assert [(one.name, one.fires, one.pages) for one in found.nodes] == [("n2", 2, 2), ("n1", 3, 0)]
    assert found.verdict.startswith("10 times an alert began to fire in 30 days, 3 of them pages")
    lines = noise_lines(found, 1)
    assert [line.split()[0] for line in lines] == ["alert", "RackHot", "node", "n2"]


def test_a_quiet_month_is_no_error() -> None:
    """There is nothing to list, and the verdict says so."""
    found = noise(lambda _: [], 30)
    assert noise_lines(found, 10) == []
    assert "0 times" in found.verdict


def test_what_is_no_prometheus_is_refused() -> None:
    """With what to write."""
    done = gpumon("rules", "noise", "n17:9842")
    assert done.returncode == 2
    assert "prom:http://HOST:9090" in done.stderr
