"""``python -m tests.bench.fleet``: a thousand simulated nodes in a real Prometheus with all rules.

Runs ``gpumon simulate`` and Prometheus side by side as a site would (15 s scrapes, the rules that
ship, nothing scaled), lets them settle, and then watches what each costs, whether any scrape or
rule is late, and how long the questions of a fleet dashboard take. Writes its section of
``docs/performance.md``.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import psutil

from gpumon.rules.check import problems_of_ours
from gpumon.thresholds import shipped
from tests.bench.report import describe_machine, put_section
from tests.dashboards.committed import Query, panel_queries
from tests.support.fleet import fleet_config, run_fleet
from tests.support.servers import ROOT, Prometheus, get, run_prometheus, wait_for

SETTLE_SECONDS = 330
"""Longer than the usual window of the rules, so that they have what they read."""

INTERVAL = 15
REPEATS = 20

QUERIES = [query for query in panel_queries() if query.dashboard == "gpumon-fleet"]
"""What the fleet dashboard asks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was seen."""

    nodes: int
    gpus: int
    samples_a_scrape: float
    simulator_cores: float
    simulator_megabytes: float
    prometheus_cores: float
    prometheus_megabytes: float
    scrapes: float
    scrapes_missed: float
    slowest_scrape: float
    rules: int
    slowest_group: tuple[str, float, float]
    groups_missed: float
    alerts: tuple[str, ...]
    query_seconds: dict[str, float]
    status_seconds: float
    bytes_a_sample: float
    series: float


@click.command()
@click.option("--nodes", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--gpus", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--seconds", type=click.IntRange(min=60), default=300, show_default=True)
@click.option("--settle", type=click.IntRange(min=30), default=SETTLE_SECONDS, show_default=True)
def main(nodes: int, gpus: int, seconds: int, settle: int) -> None:
    """Measure a fleet, and write the section of docs/performance.md."""
    with tempfile.TemporaryDirectory(prefix="gpumon-fleet-") as name:
        outcome = _measure(Path(name), nodes, gpus, seconds, settle)
    put_section(ROOT / "docs" / "performance.md", section(outcome))
    click.echo(section(outcome))


def _measure(folder: Path, nodes: int, gpus: int, seconds: int, settle: int) -> Outcome:
    rules = folder / "rules"
    export = [sys.executable, "-m", "gpumon", "rules", "export", "--to", str(rules)]
    subprocess.run(export, check=True, capture_output=True)
    with run_fleet(folder, "--nodes", str(nodes), "--gpus", str(gpus)) as fleet:
        config = fleet_config(
            fleet, cluster="sim", interval=f"{INTERVAL}s", refresh="1m", rules=rules
        )
        with run_prometheus(folder, config, "--web.enable-admin-api") as prometheus:
            server = psutil.Process(fleet.pid)
            judge = _prometheus_process(prometheus)
            up = 'count(up{job="gpumon"} == 1)'
            wait_for(lambda: prometheus.value(up) == nodes, 60 + 2 * INTERVAL, "all nodes")
            time.sleep(settle)
            before = [_cpu(server), _cpu(judge)]
            began, missed = time.monotonic(), _metric(prometheus, _MISSED)
            time.sleep(seconds)
            took = time.monotonic() - began
            cpu = took, _cpu(server) - before[0], _cpu(judge) - before[1]
            return _outcome(prometheus, (nodes, gpus), cpu, (server, judge), missed)


_MISSED = "prometheus_rule_group_iterations_missed_total"


def _outcome(
    prometheus: Prometheus,
    size: tuple[int, int],
    cpu: tuple[float, float, float],
    processes: tuple[psutil.Process, psutil.Process],
    missed: float,
) -> Outcome:
    took, simulator, judge = cpu
    span = f"{int(took)}s"
    scrapes = prometheus.value(f'sum(count_over_time(up{{job="gpumon"}}[{span}]))') or 0.0
    # A scrape at the edge of the span may be in it or not: of each target one.
    least = int(took / INTERVAL) - 1
    short = f'sum(clamp_min({least} - count_over_time(up{{job="gpumon"}}[{span}]), 0))'
    return Outcome(
        nodes=size[0],
        gpus=size[0] * size[1],
        samples_a_scrape=prometheus.value('avg(scrape_samples_scraped{job="gpumon"})') or 0.0,
        simulator_cores=simulator / took,
        simulator_megabytes=processes[0].memory_info().rss / 1e6,
        prometheus_cores=judge / took,
        prometheus_megabytes=processes[1].memory_info().rss / 1e6,
        scrapes=scrapes,
        scrapes_missed=(prometheus.value(short) or 0.0)
        + (prometheus.value(f'sum(count_over_time((up{{job="gpumon"}} == 0)[{span}:15s]))') or 0.0),
        slowest_scrape=prometheus.value(
            f'max(max_over_time(scrape_duration_seconds{{job="gpumon"}}[{span}]))'
        )
        or 0.0,
        rules=int(problems_of_ours(shipped()).verdict.split()[0]),
        slowest_group=_slowest_group(prometheus),
        groups_missed=_metric(prometheus, _MISSED) - missed,
        alerts=tuple(
            sorted(
                sample["metric"]["alertname"]
                for sample in prometheus.query('ALERTS{alertstate="firing"}')
            )
        ),
        query_seconds={query.where: _p95(prometheus, query) for query in QUERIES},
        status_seconds=_status_p95(prometheus),
        bytes_a_sample=_bytes_a_sample(prometheus),
        series=_metric(prometheus, "prometheus_tsdb_head_series"),
    )


def _prometheus_process(prometheus: Prometheus) -> psutil.Process:
    port = int(prometheus.url.rpartition(":")[2])
    for child in psutil.Process().children(recursive=True):
        if any(c.laddr and c.laddr.port == port for c in child.net_connections(kind="tcp")):
            return child
    raise click.ClickException("Prometheus's process was not found")


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _metrics(prometheus: Prometheus) -> Iterator[tuple[str, float]]:
    for line in get(f"{prometheus.url}/metrics").text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            yield name, float(value)


def _metric(prometheus: Prometheus, name: str) -> float:
    """Return the sum of one of Prometheus's own metrics."""
    return sum(v for n, v in _metrics(prometheus) if n == name or n.startswith(f"{name}{{"))


def _slowest_group(prometheus: Prometheus) -> tuple[str, float, float]:
    """Return the group that takes the most of its interval: name, seconds, interval."""
    groups = get(f"{prometheus.url}/api/v1/rules").json()["data"]["groups"]
    worst = max(groups, key=lambda group: group["evaluationTime"] / group["interval"])
    return worst["name"], float(worst["evaluationTime"]), float(worst["interval"])


def _p95(prometheus: Prometheus, query: Query) -> float:
    """Return the 95th percentile of how long a query takes as Grafana asks it, in seconds."""
    now, text = time.time(), query.filled({"cluster": ".*"})
    if query.instant:
        url = f"{prometheus.url}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
    else:
        span = {"query": text, "start": now - 3600, "end": now, "step": INTERVAL}
        url = f"{prometheus.url}/api/v1/query_range?{urllib.parse.urlencode(span)}"
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        get(url, timeout=60)
        taken.append(time.perf_counter() - began)
    return statistics.quantiles(taken, n=20)[-1]


def _status_p95(prometheus: Prometheus) -> float:
    """Return the 95th percentile of ``gpumon status prom:URL``, from start to exit, in seconds."""
    argv = [sys.executable, "-m", "gpumon", "status", f"prom:{prometheus.url}"]
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        subprocess.run(argv, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return statistics.quantiles(taken, n=20)[-1]


def _bytes_a_sample(prometheus: Prometheus) -> float:
    """Return what a sample takes on disk, of a snapshot of all there is."""
    request = urllib.request.Request(f"{prometheus.url}/api/v1/admin/tsdb/snapshot", method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as answer:
        name = json.load(answer)["data"]["name"]
    flags: dict[str, Any] = get(f"{prometheus.url}/api/v1/status/flags").json()["data"]
    folder = Path(flags["storage.tsdb.path"], "snapshots", name)
    samples = sum(
        json.loads(p.read_text())["stats"]["numSamples"] for p in folder.glob("*/meta.json")
    )
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return size / samples if samples else 0.0


def _judged(value: float, most: float) -> str:
    return f"{value:.3f}: {'met' if value <= most else 'missed'}"


def section(outcome: Outcome) -> str:
    """Return the section of docs/performance.md."""
    name, seconds, interval = outcome.slowest_group
    worst = max(outcome.query_seconds.values())
    alerts = ", ".join(dict.fromkeys(outcome.alerts)) or "none"
    rows = [
        ("CPU of the simulator", "at most 0.25 of a core", _judged(outcome.simulator_cores, 0.25)),
        ("scrapes missed or failed", "0", f"{outcome.scrapes_missed:.0f} of {outcome.scrapes:.0f}"),
        ("slowest scrape", "below 15 s", f"{outcome.slowest_scrape:.2f} s"),
        ("rule evaluations missed", "0", f"{outcome.groups_missed:.0f}"),
        (
            "slowest group of rules",
            "within its interval",
            f"{name}: {seconds:.2f} of {interval:.0f} s",
        ),
        ("slowest fleet query, p95", "below 0.5 s", f"{worst:.3f} s"),
        (
            "all queries of the fleet dashboard together, p95 each",
            "below 2 s",
            f"{len(outcome.query_seconds)} queries: {sum(outcome.query_seconds.values()):.2f} s",
        ),
        (
            "`gpumon status prom:URL`, start to exit, p95",
            "below 1 s",
            f"{outcome.status_seconds:.2f} s",
        ),
        ("memory of the simulator", "", f"{outcome.simulator_megabytes:.0f} MB"),
        (
            "CPU and memory of Prometheus",
            "",
            f"{outcome.prometheus_cores:.2f} cores, {outcome.prometheus_megabytes:.0f} MB",
        ),
        (
            "samples of a scrape, series in all",
            "",
            f"{outcome.samples_a_scrape:.0f}, {outcome.series:,.0f}",
        ),
        ("bytes of a sample on disk", "", f"{outcome.bytes_a_sample:.2f}"),
        ("alerts that fired", "the Watchdog", alerts),
    ]
    table = "".join(f"| {what} | {budget} | {figure} |\n" for what, budget, figure in rows)
    machine = dict(describe_machine())
    return (
        "## A simulated fleet\n\n"
        f"{outcome.nodes:,} nodes with {outcome.gpus:,} GPUs by `gpumon simulate`, scraped every\n"
        f"15 s by a Prometheus that evaluates all {outcome.rules} rules as they ship, both on\n"
        "this one machine. Written by `python -m tests.bench.fleet`.\n\n"
        "| | budget | measured |\n|---|---|---|\n"
        f"{table}\n"
        "Both share two cores: the simulator's share is higher beside a Prometheus that evaluates\n"
        "than alone (some 3 ms of CPU for a node's tick and exposition, with eight GPUs). Bytes\n"
        "of a sample are those of the first minutes, when chunks are short.\n\n"
        f"Measured {machine['date']} on {machine['processor']}.\n"
    )


if __name__ == "__main__":
    main()
