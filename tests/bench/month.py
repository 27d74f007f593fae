"""``python -m tests.bench.month``: a month of a thousand nodes, reported out of a Prometheus.

Writes 30 days of hourly recorded series, one job a day on each node, has ``promtool`` make blocks
of them, and times ``gpumon report prom:URL --by user``. Needs 3 GB of disk for a while.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from gpumon.report.quantities import (
    HOST,
    IDLE,
    INFO_RECORDED,
    JOBS,
    NODE,
    SECONDS,
    UNALLOCATED,
    Quantity,
)
from gpumon.times import format_time
from tests.bench.measure import Spread, wall_seconds
from tests.support.servers import require, run_prometheus

DAYS, HOUR = 30, 3600
BEGIN = 490_000 * HOUR
SILENT_NODE, SILENT_HOURS = 7, range(100, 200)
"""One node is not heard of for a while, which the report has to say."""


@click.command()
@click.option("--nodes", type=click.IntRange(min=1), default=1000, show_default=True)
def main(nodes: int) -> None:
    """Time the report of a month."""
    with tempfile.TemporaryDirectory(prefix="gpumon-month-") as name:
        folder = Path(name)
        text = folder / "series.om"
        with text.open("w") as file:
            file.writelines(_lines(nodes))
            file.write("# EOF\n")
        argv = [require("promtool"), "tsdb", "create-blocks-from", "--max-block-duration=1440h"]
        subprocess.run(
            [*argv, "openmetrics", "-q", str(text), str(folder / "tsdb")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        text.unlink()
        with run_prometheus(folder, "", "--storage.tsdb.retention.time=50y") as prometheus:
            span = (format_time(BEGIN), format_time(BEGIN + DAYS * 24 * HOUR))
            report = [sys.executable, "-m", "gpumon", "report", f"prom:{prometheus.url}"]
            report += ["--since", span[0], "--until", span[1], "--by", "user"]
            taken = Spread.of(wall_seconds(report, 3))
    click.echo(f"{DAYS} days of {nodes} nodes: {taken.text('{:.1f}', ' s')}")


def _lines(nodes: int) -> Iterator[str]:
    """Yield the series in OpenMetrics, each metric's together."""
    method = ',method="measured"'
    for quantity, extra, each in (
        (UNALLOCATED, "", 1e6),
        (NODE, f'{method},source="ipmi"', 3.6e7),
    ):
        for node in range(nodes):
            hours = range(DAYS * 24 + 1)
            yield from _series(quantity, node, extra, hours, each)
    for quantity, extra, each in (
        (JOBS, "", 2e7),
        (IDLE, "", 1e5),
        (HOST, method, 5e6),
        (SECONDS, ',state="active"', 14_000),
        (SECONDS, ',state="idle"', 14_000),
    ):
        for node in range(nodes):
            for day in range(DAYS):
                first = day * 24 + 1
                yield from _series(
                    quantity,
                    node,
                    f',job_id="{day * nodes + node}"{extra}',
                    range(first + 1, first + 24),
                    each,
                )
    for job in range(DAYS * nodes):
        labels = f'cluster="a",job_id="{job}",user="u{job % 97}",account="a{job % 11}"'
        for hour in range(job // nodes * 24 + 2, job // nodes * 24 + 25):
            yield (
                f'{INFO_RECORDED}{{{labels},partition="gpu",name="train",manager="slurm"}} 1 '
                f"{BEGIN + hour * HOUR}\n"
            )


def _series(quantity: Quantity, node: int, extra: str, hours: range, each: float) -> Iterator[str]:
    """Yield a counter that grows by ``each`` every hour, from 0 at the first."""
    place = f'cluster="a",instance="n{node}:9842",node="n{node}",rack="r{node // 16}"'
    head = f"{quantity.recorded}{{{place}{extra}}}"
    for hour in hours:
        if node != SILENT_NODE or hour not in SILENT_HOURS:
            yield f"{head} {each * (hour - hours[0])} {BEGIN + hour * HOUR}\n"


if __name__ == "__main__":
    main()
