"""The benchmark's own parts: what it measures with, counts and judges."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.bench import measure, scrape
from tests.bench.budgets import HELP, Results, Row, judge
from tests.bench.contenders import GPUMON, NODE, NVITOP
from tests.bench.report import describe_machine, render
from tests.bench.ticks import CallLog
from tests.bench.trial import Figures

BUSY = "import time\nwhile time.process_time() < {}: pass\n"


@pytest.fixture
def idle_child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has spent 0.1 s of CPU in a child of its own, and says so, and waits."""
    program = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {BUSY.format(0.1)!r}])\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child


class TestMeasure:
    """CPU time, memory and spreads."""

    def test_cpu_of_a_child_that_ended_counts(self, idle_child: subprocess.Popen[bytes]) -> None:
        """What a process's child spent before it ended is part of the process's CPU time."""
        assert measure.cpu_seconds(idle_child.pid) >= 0.09

    def test_memory_of_a_process(self, idle_child: subprocess.Popen[bytes]) -> None:
        """A Python process has megabytes, and no fewer when counted as if it were alone."""
        memory = measure.memory(idle_child.pid)
        assert 1 < memory.pss <= memory.alone < 100

    def test_wall_seconds_of_each_run(self) -> None:
        """Each run but the warming one gives a time."""
        taken = measure.wall_seconds(["true"], 2)
        assert len(taken) == 2
        assert all(seconds > 0 for seconds in taken)

    @pytest.mark.parametrize(
        ("values", "text"), [([3.0, 1.0, 2.0], "2.0 s (1.0 to 3.0)"), ([4.0, 4.01], "4.0 s")]
    )
    def test_spread_says_the_range_where_it_shows(self, values: list[float], text: str) -> None:
        """The range is left out where it rounds to nothing."""
        assert measure.Spread.of(values).text("{:.1f}", " s") == text


def test_exposition_is_counted() -> None:
    """Families of GPUs have a number for a GPU; NaN, no sample and other labels do not count."""
    size = scrape.count(
        "# TYPE a gauge\n"
        'a{uuid="GPU-1"} 1.5\n'
        'a{uuid="GPU-2",note="x } 1"} NaN\n'
        "# TYPE b counter\n"
        'b_total{uuid="GPU-1"} NaN\n'
        "# TYPE c gauge\n"
        'c{node="n"} 1\n'
        "# TYPE d gauge\n"
        "# EOF\n"
    )
    assert (size.samples, size.families, size.gpu_families) == (4, 4, 1)


def test_repeated_calls_are_seen_once_a_tick() -> None:
    """A call with the same arguments is repeated; with others, or after a new tick, it is not."""
    log = CallLog()
    log.note("f", (1, None))
    log.note("f", (2, None))
    assert log.repeated() == {}
    log.note("f", (1, None))
    log.note("f", (1, None))
    assert log.repeated() == {"f(1, NULL)": 2}


class TestVerdict:
    """Met or missed, by the median."""

    @pytest.mark.parametrize(
        ("row", "verdict"),
        [
            (Row("x", 0.1, measure.Spread(0.0, 0.1, 0.9)), "met"),
            (Row("x", 0.1, measure.Spread(0.0, 0.25, 0.9)), "missed: 2.50 times the budget"),
            (Row("x", 2, measure.Spread(2.0, 2.0, 2.0), more=True), "missed: 100% of the budget"),
            (Row("x", 2, measure.Spread(2.5, 2.5, 2.5), more=True), "met"),
            (Row("x", 0, measure.Spread(3, 3, 3), "{:.0f}"), "missed: 3 too many"),
            (Row("x", 0.1, None, why="no peer"), "not measured"),
        ],
    )
    def test_verdict(self, row: Row, verdict: str) -> None:
        """At most means not above; more than means above."""
        assert row.verdict == verdict


def _figures(name: str, cost: float, families: int) -> Figures:
    return Figures(
        name,
        "1.2.3",
        scrape.Exposition(100, 20, families, 5000, 500),
        between=[cost, 2 * cost],
        scrape={encoding: [cost, 2 * cost] for encoding in scrape.ENCODINGS},
        latency={encoding: [cost, cost] for encoding in scrape.ENCODINGS},
        memory=[measure.Memory(40.0, 50.0)],
        calls={"nvmlDeviceGetSamples": 16.0, "fields": 99.0, "nvmlDeviceGetFieldValues[3]": 1.0},
    )


@pytest.fixture
def results() -> Results:
    """Figures made up: the agent costs a quarter of nvitop-exporter; node_exporter is missing."""
    return Results(
        figures={GPUMON: _figures(GPUMON, 0.01, 45), NVITOP: _figures(NVITOP, 0.04, 15)},
        missing={NODE: "it is not here"},
        commands={HELP: [0.1, 0.3, 0.2]},
        repeated={"f(1)": 2},
    )


class TestReport:
    """The page from made-up figures."""

    def test_ratios_compare_the_same_round(self, results: Results) -> None:
        """A quarter in each round is a quarter, with no spread."""
        rows = {row.what: row for row in judge(results)}
        assert rows["CPU between scrapes, of nvitop-exporter's at 1 Hz"].measured == "0.250"
        assert rows["GPU metric families, of nvitop-exporter's"].measured == "3.000"
        assert rows["`gpumon --help`"].measured == "200 ms (100 to 300)"

    def test_page(self, results: Results) -> None:
        """The page has verdicts, what is missing and why, versions, and calls without details."""
        page = render(results, [("Python", "3.x")])
        quarter = (
            "| CPU per sample of a scrape (gzip), of nvitop-exporter's | at most 0.1 | 0.250 |"
        )
        assert f"{quarter} missed: 2.50 times the budget |" in page
        assert "of node_exporter's | at most 0.1 | not measured: it is not here |" in page
        assert "* `f(1)`, 2 times" in page
        assert "| Python | 3.x |" in page
        assert "| node_exporter | not measured: it is not here |" in page
        assert "| **all** | 16.0 | 16.0 |" in page
        assert "[3]" not in page

    def test_machine_is_described_without_its_name(self) -> None:
        """The page tells what the machine is, not whose."""
        assert [what for what, _ in describe_machine()] == ["date", "processor", "kernel", "Python"]
