"""Enumerations of which one value holds: nobody reads them as if all values were there.

``gpumon_gpu_state`` and the like export the value that holds, and their good one always. A series
of any other value is there only while it is 1: it is never 0, its mean is 1, and it has no changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gpumon.model.catalogue import METRICS
from gpumon.rules import load
from gpumon.thresholds import shipped
from tests.dashboards.committed import panel_queries
from tests.support.servers import ROOT

GOOD = {metric.name: (metric.labels[-1], metric.good) for metric in METRICS if metric.good}

SELECTOR = re.compile(rf"\b({'|'.join(GOOD)})\b(\{{[^}}]*\}})?(\[[^\]]*\])?(?:\s+offset\s+\w+)?")
NEVER = re.compile(r"\s*\)*\s*(?:==\s*(?:bool\s*)?0|!=\s*(?:bool\s*)?1|<=?\s*(?:bool\s*)?[01]\b)")
BLIND = {
    *("avg", "min", "stddev", "quantile"),
    *("avg_over_time", "min_over_time", "changes", "resets", "delta", "deriv", "rate", "increase"),
}
"""Functions that mean something else if a series is there only while it is 1."""


def misread(expr: str) -> Iterator[str]:
    """Yield each use of an enumeration that takes an absent value for a 0."""
    for found in SELECTOR.finditer(expr):
        label, good = GOOD[found[1]]
        if re.search(rf'\b{label}="{good}"', found[2] or ""):
            continue
        functions = BLIND & set(enclosing(expr[: found.start()]))
        if functions or NEVER.match(expr, found.end()):
            yield f"{found[0]} in {expr}"


def enclosing(before: str) -> Iterator[str]:
    """Yield the functions and aggregations whose parentheses are open at the end of a text."""
    depth = 0
    for at in range(len(before) - 1, -1, -1):
        if before[at] == ")":
            depth += 1
        elif before[at] == "(":
            depth -= 1
            if depth < 0:
                depth = 0
                called = re.search(
                    r"(\w+)\s*(?:(?:by|without)\s*\([^)]*\)\s*)?$", before[:at], re.IGNORECASE
                )
                if called:
                    yield called[1]


def read() -> Iterator[tuple[str, str]]:
    """Yield all PromQL that ships, with where it stands: of rules, panels, and documents."""
    for group in load(shipped()):
        for rule in group.rules:
            yield group.name, rule.expr
    for query in panel_queries():
        yield f"{query.dashboard} {query.where}", query.expr
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for line in page.read_text("utf-8").splitlines():
            if line.startswith("    "):
                yield page.name, line.strip()


def test_enumerations_are_those_of_which_one_holds() -> None:
    """Sets, of which several may hold, are none."""
    assert GOOD == {
        "gpumon_gpu_state": ("state", "ok"),
        "gpumon_gpu_recovery_action": ("action", "none"),
        "gpumon_gpu_fabric_state": ("state", "completed"),
    }


def test_nobody_takes_an_absent_value_for_zero() -> None:
    """In rules, panels and runbooks."""
    expressions = list(read())
    assert sum(bool(SELECTOR.search(expr)) for _, expr in expressions) > 20
    wrong = [f"{where}: {each}" for where, expr in expressions for each in misread(expr)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "expr",
    [
        'gpumon_gpu_state{state="lost"} == 0',
        "count(gpumon_gpu_state == bool 0)",
        'max without (state) (gpumon_gpu_state{state=~"lost|hung"}) < 1',
        "avg by (gpu) (gpumon_gpu_state)",
        'avg_over_time(gpumon_gpu_recovery_action{action="gpu_reset"}[5m]) > 0.5',
        'sum by (gpu) (changes(gpumon_gpu_state{instance="n", state="hung"}[1h]))',
        'gpumon_gpu_fabric_state{state!="completed"} != 1',
        'min(up) or min(sum by (x) (gpumon_gpu_state{state!="ok"}))',
    ],
)
def test_a_misreading_is_found(expr: str) -> None:
    """The lint can fail."""
    assert list(misread(expr))


@pytest.mark.parametrize(
    "expr",
    [
        'gpumon_gpu_state{state="lost"} == 1 unless on (cluster, instance) gpumon_source_up == 0',
        'gpumon_gpu_recovery_action{node!="",action="none"} == 0',
        'avg_over_time(gpumon_gpu_state{state="ok"}[1h])',
        'changes(gpumon_gpu_state{state="ok"}[1d])',
        'sum without (gpu, uuid) (gpumon_gpu_recovery_action{action!="none"})',
        "avg(gpumon_gpu_power_watts) and max(gpumon_gpu_state)",
    ],
)
def test_a_right_reading_is_left_alone(expr: str) -> None:
    """Of the good value, of what holds, and of other metrics."""
    assert not list(misread(expr))
