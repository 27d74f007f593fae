"""``python -m tests.bench.rules``: what rules cost, those of now and of a release before.

Serves the exposition of a node of eight GPUs as many times as there are nodes, to a Prometheus with
the rules of now, and then that of the release before to one with its rules. After some minutes each
rule is asked for three times, and the fastest counts: the times of all rules over their intervals
are the share of a core that they take. The machine's noise is in both; the ratio is what counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from tests.expositions.record import record
from tests.support.halls import serving
from tests.support.servers import ROOT, Prometheus, get, run_prometheus, wait_for

BEFORE = "1f1d492"
"""The release that is compared with: its rules come from git, its exposition is kept."""

RACK = 8
"""Nodes of a rack; ten racks a row, ten rows a hall."""

SETTLE_SECONDS = 90
REPEATS = 9
DEFAULT_INTERVAL = 15.0


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the rules of one release cost at one size."""

    release: str
    nodes: int
    cores: float
    series_a_node: float
    series_a_job: float


def rules_of(release: str, folder: Path) -> list[dict[str, Any]]:
    """Write a release's rules into a folder, and return its groups."""
    folder.mkdir()
    where = "deploy/prometheus/rules"
    names = _git("ls-tree", "--name-only", f"{release}:{where}").split()
    for name in names:
        (folder / name).write_text(_git("show", f"{release}:{where}/{name}"), "utf-8")
    texts = [file.read_text("utf-8") for file in sorted(folder.glob("*.yml"))]
    return [group for text in texts for group in yaml.safe_load(text)["groups"]]


def _git(*argv: str) -> str:
    return subprocess.run(
        ["git", *argv], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def node_texts(exposition: str, nodes: int) -> dict[str, str]:
    """Return what each node serves, by path: boards of its own, one job over four nodes."""
    texts = {}
    for number in range(nodes):
        text = re.sub(r'(uuid="[^"]*)', rf"\1-{number}", exposition)
        texts[f"/n{number}"] = text.replace('job_id="4711"', f'job_id="{4711 + number // 4}"')
    return texts


def targets(address: str, nodes: int) -> list[dict[str, Any]]:
    """Return all nodes as one list of targets."""
    return [
        {
            "targets": [address],
            "labels": {
                "cluster": "c",
                "node": f"n{number}",
                "instance": f"n{number}:9842",
                "rack": f"r{number // RACK}",
                "row": f"w{number // (10 * RACK)}",
                "hall": f"h{number // (100 * RACK)}",
                "node_partition": "train",
                "__metrics_path__": f"/n{number}",
            },
        }
        for number in range(nodes)
    ]


@contextlib.contextmanager
def running(folder: Path, exposition: str, nodes: int) -> Iterator[Prometheus]:
    """Run a Prometheus with the rules in ``folder/rules`` over so many nodes."""
    with serving(node_texts(exposition, nodes)) as address:
        config = {
            "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
            "rule_files": [f"{folder}/rules/*.yml"],
            "scrape_configs": [
                {"job_name": "gpumon", "static_configs": targets(address, nodes)},
            ],
        }
        with run_prometheus(folder, yaml.safe_dump(config)) as prometheus:
            up = f"sum(up) == {nodes}"
            wait_for(lambda: prometheus.query(up), 120, "all nodes", every=1)
            yield prometheus


def asked(prometheus: Prometheus, expr: str) -> tuple[float, Sequence[Mapping[str, str]]]:
    """Return how long an expression takes in seconds, at best, and the labels of its series."""
    best, found = float("inf"), []
    query = urllib.parse.urlencode({"query": expr, "stats": "all"})
    for _ in range(REPEATS):
        answer = get(f"{prometheus.url}/api/v1/query?{query}", timeout=120).json()
        data = answer["data"]
        best = min(best, data["stats"]["timings"]["evalTotalTime"])
        found = [series["metric"] for series in data["result"]]
    return best, found


def cost(release: str, exposition: str, nodes: int) -> Cost:
    """Return what the rules of a release cost over so many nodes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        groups = rules_of(release, folder / "rules")
        with running(folder, exposition, nodes) as prometheus:
            time.sleep(SETTLE_SECONDS)
            cores, recorded, of_jobs = 0.0, 0, 0
            for group in groups:
                interval = _seconds(group["interval"]) if "interval" in group else DEFAULT_INTERVAL
                for rule in group["rules"]:
                    seconds, series = asked(prometheus, rule["expr"])
                    cores += seconds / interval
                    if "record" in rule:
                        recorded += len(series)
                        of_jobs += sum("job_id" in labels for labels in series)
    return Cost(
        release=release,
        nodes=nodes,
        cores=cores,
        series_a_node=recorded / nodes,
        series_a_job=exposition.count('job_id="') + of_jobs / nodes,
    )


def _seconds(text: str) -> float:
    number, unit = re.findall(r"^(\d+)([smh])$", text)[0]
    return int(number) * {"s": 1.0, "m": 60.0, "h": 3600.0}[unit]


@click.command()
@click.option("--nodes", multiple=True, type=int, default=(250, 500, 1000), show_default=True)
def main(nodes: tuple[int, ...]) -> None:
    """Print the table, and each cost as a line of JSON before it."""
    before = (ROOT / "tests" / "expositions" / f"{BEFORE}.prom").read_text("utf-8")
    with tempfile.TemporaryDirectory() as name:
        now = record(Path(name), "jobfiles")
    rows = []
    for count in nodes:
        pair = [cost(BEFORE, before, count), cost("HEAD", now, count)]
        for one in pair:
            click.echo(json.dumps(dataclasses.asdict(one)))
        rows.append(pair)
    click.echo("nodes  rules, cores  ratio  recorded series a node  series of a job, a node")
    for old, new in rows:
        click.echo(
            f"{old.nodes:5}  {old.cores:.3f} {new.cores:.3f}  {new.cores / old.cores:.2f}  "
            f"{old.series_a_node:.0f} {new.series_a_node:.0f}  "
            f"{old.series_a_job:.0f} {new.series_a_job:.0f}"
        )


if __name__ == "__main__":
    main()
