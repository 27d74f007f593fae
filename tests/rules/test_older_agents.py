"""Agents of a release before and of now under the rules of now: a fleet in the midst of a roll-out.

What the older one serves is kept as it was served (``tests/expositions``); what this one serves is
asked of it. The same eight GPUs, two of them held by a job, one of these two idle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.expositions.record import record
from tests.rules.test_promtool import RULES, groups, run
from tests.support.servers import ROOT, require

OLDER = ROOT / "tests" / "expositions" / "1f1d492.prom"
MINUTES = 30

FLEETS = ("older older", "older newer", "newer newer")

EXPECTED = {
    "cluster:gpumon_gpus_up:sum": 16,
    'cluster:gpumon_gpus_in_state:count{state="ok"}': 16,
    'cluster:gpumon_gpus_in_state:count{state="lost"}': 0,
    "sum(cluster:gpumon_gpus_to_repair:count)": 0,
    "cluster:gpumon_gpus_held:count": 4,
    "cluster:gpumon_gpus_active:count": 2,
    "cluster:gpumon_gpu_power_watts:sum": 2 * 548.56,
    "cluster:gpumon_gpu_power_limit_watts:sum": 2 * 5600,
    "cluster:gpumon_gpu_power_limit_default_watts:sum": 2 * 5600,
    "cluster:gpumon_gpu_temperature_margin_celsius:min": 58,
    "job_id:gpumon_job_power_watts:sum": 2 * 2 * 68.57,
    "job_id:gpumon_job_gpus:count": 4,
    "job_id:gpumon_job_activity_ratio:avg": 0.875 / 2,
    "job_id:gpumon_job_idle_gpus:count": 2,
}
"""What two such nodes are together, whichever agents they have."""

GROWTH = {"gpumon_node_gpu_energy_joules_total": 8}
"""By how much a counter grows in a minute, if it is not 1: it is that of eight GPUs."""


@pytest.fixture(scope="module")
def expositions(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What the older agent served, and what this one serves."""
    newer = record(tmp_path_factory.mktemp("newer"), "jobfiles")
    return {"older": OLDER.read_text("utf-8"), "newer": newer}


def series(number: int, exposition: str) -> Iterator[dict[str, str]]:
    """Yield a node's series as promtool takes them; counters grow by the minute."""
    target = f'job="gpumon",instance="n{number}:9842",cluster="c",node="n{number}"'
    yield {"series": f"up{{{target}}}", "values": f"1x{MINUTES}"}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels = "".join(f',{name}="{value}"' for name, value in sample.labels.items())
            growth = GROWTH.get(sample.name, 1) if sample.name.endswith("_total") else 0
            yield {
                "series": f"{sample.name}{{{target}{labels}}}",
                "values": f"{sample.value:.12g}+{growth}x{MINUTES}",
            }


def checks(expected: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Yield what promtool is to find, to a millionth, without labels."""
    for expr, value in expected.items():
        yield {
            "expr": f"round(sum({expr}), 1e-6)",
            "eval_time": "20m",
            "exp_samples": [{"labels": "{}", "value": round(value, 6)}],
        }


def write(folder: Path, texts: list[str], expected: Mapping[str, float]) -> Path:
    """Write a file for promtool that evaluates every rule on some nodes."""
    inputs = [each for number, text in enumerate(texts) for each in series(number, text)]
    document = {
        "rule_files": [str(path) for path in sorted(RULES.glob("*.yml"))],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in groups()],
        "tests": [
            {
                "interval": "1m",
                "input_series": inputs,
                "promql_expr_test": list(checks(expected)),
            }
        ],
    }
    file = folder / "fleet.yml"
    file.write_text(yaml.safe_dump(document), "utf-8")
    return file


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fleet", FLEETS)
def test_a_fleet_is_the_same_whatever_agents_it_has(
    tmp_path: Path, expositions: Mapping[str, str], fleet: str
) -> None:
    """Levels, joules and jobs: rules fall back on the GPUs if the agent does not add them up."""
    texts = [expositions[agent] for agent in fleet.split()]
    expected = {**EXPECTED, "cluster:gpumon_gpu_energy_joules:rate5m": 16 / 60}
    run(require("promtool"), write(tmp_path, texts, expected))


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_an_agents_own_sums_are_what_rules_read(
    tmp_path: Path, expositions: Mapping[str, str]
) -> None:
    """Without one of its GPUs' readings a node is what its agent says that it is."""
    text = re.sub(
        r"(?m)^gpumon_(gpu_power_limit_watts|job_gpu_share)\{.*\n", "", expositions["newer"]
    )
    assert "gpumon_job_gpu_share{" not in text
    expected = {
        name: value / 2
        for name, value in EXPECTED.items()
        if re.search("held|power_limit_watts|job_power|job_gpus", name)
    }
    run(require("promtool"), write(tmp_path, [text], expected))
