"""What a release's own rules make of a fault: promtool evaluates all of them, minute by minute."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.bench.week.kinds import MINUTES, Kind
from tests.support.servers import require

RECORD = Path(__file__).with_name("record.py")

OTHERS = 30
"""Nodes beside those that fail. One of them is then less than what a cluster's alerts ask for, as
it is among a thousand."""

COUNTED = re.compile(
    r"(up|gpumon_(source_up|gpus|gpus_expected|released|gpu_up|gpu_state|node_gpus|build_info"
    r"|source_info|site_node_info|site_expected_gpus))\{"
)
"""What is served of the others: what rules need to count them."""

Labels = Mapping[str, str]
Firing = list[list[Labels]]
"""The alerts that fire, minute by minute."""

_SAMPLE = re.compile(r'\{((?:\w+="(?:[^"\\]|\\.)*"(?:, )?)+)\}')
_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def firing(tree: Path, kind: Kind, folder: Path, minutes: int = MINUTES) -> Firing:
    """Return which alerts fire under a release's rules while there is a fault of a kind."""
    series = recorded(tree, kind, minutes)
    series.update(others(series, f"n{kind.count + 1:04}", minutes))
    return evaluated(tree, series, folder, minutes)


def recorded(tree: Path, kind: Kind, minutes: int) -> dict[str, str]:
    """Return what a release's simulator serves: the nodes that fail, and a healthy one."""
    nodes = [f"n{number:04}" for number in range(1, kind.count + 1)]
    wish = {"nodes": kind.count + 1, "minutes": minutes, "faults": list(kind.texts(nodes))}
    done = subprocess.run(
        [sys.executable, str(RECORD)],
        input=json.dumps(wish),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tree / "agent")},
    )
    if done.returncode:
        raise RuntimeError(f"{tree}: {done.stderr[-2000:]}")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def others(series: Mapping[str, str], healthy: str, minutes: int) -> dict[str, str]:
    """Return the series of nodes that are like a healthy one at its begin, for all the time."""
    model = {
        name: values.split("+")[0].split(" ")[0]
        for name, values in series.items()
        if f'node="{healthy}"' in name and COUNTED.match(name) and not values.startswith("_")
    }
    return {
        name.replace(healthy, f"b{number:04}").replace('"GPU-', f'"GPU-b{number}-'): (
            f"{value}+0x{minutes - 1}"
        )
        for number in range(OTHERS)
        for name, value in model.items()
    }


def evaluated(tree: Path, series: Mapping[str, str], folder: Path, minutes: int) -> Firing:
    """Return what fires at each minute.

    promtool shows what it found only if it is not what a test expects: nothing.
    """
    rules = sorted((tree / "deploy" / "prometheus" / "rules").glob("*.yml"))
    groups = [group for rule in rules for group in yaml.safe_load(rule.read_text())["groups"]]
    document = {
        "rule_files": [str(rule) for rule in rules],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in groups],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "promql_expr_test": [
                    {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{minute}m"}
                    for minute in range(minutes)
                ],
            }
        ],
    }
    file = folder / "week.yml"
    file.write_text(json.dumps(document), "utf-8")
    done = subprocess.run(
        [require("promtool"), "test", "rules", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    return _parsed(done.stdout + done.stderr, minutes)


def _parsed(text: str, minutes: int) -> Firing:
    """Return the samples that promtool reports, by the minute of each expectation."""
    found: Firing = [[] for _ in range(minutes)]
    parts = re.split(r"time: (\w+),", text)
    if len(parts) == 1 and "SUCCESS" not in text:
        raise RuntimeError(text[-2000:])
    for at, got in zip(parts[1::2], parts[2::2], strict=True):
        found[_minute(at)] = [dict(_PAIR.findall(sample)) for sample in _SAMPLE.findall(got)]
    return found


def _minute(text: str) -> int:
    parts = re.findall(r"(\d+)([dhms])", text)
    return sum(int(n) * {"d": 1440, "h": 60, "m": 1, "s": 0}[unit] for n, unit in parts)


def names(alerts: Iterable[Iterable[Labels]]) -> list[str]:
    """Return the names of all alerts that fire at any time."""
    return sorted({alert["alertname"] for each in alerts for alert in each})


def config(tree: Path) -> Mapping[str, Any]:
    """Return a release's own Alertmanager configuration."""
    path = tree / "deploy" / "alertmanager" / "alertmanager.yml"
    loaded: Mapping[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return loaded
