"""Agents of a release before and of now under the rules of now: a fleet in the midst of a roll-out.

What the older one serves is kept as it was served (``tests/expositions``); what this one serves is
asked of it. The same eight GPUs, two of them held by a job, one of these two idle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gpumon.model import Tier
from gpumon.model.catalogue import rows
from gpumon.rules import Alert, RecordingRule, RuleGroup, load
from gpumon.rules.feeds import ALWAYS, Need, needs
from gpumon.rules.model import Rule
from gpumon.thresholds import shipped
from tests.expositions.record import record
from tests.rules.fleets import Labels, firing, vectors
from tests.rules.test_layers import named
from tests.rules.test_promtool import RULES, groups, run
from tests.support.servers import ROOT, require

EXPOSITIONS = ROOT / "tests" / "expositions"
OLDER = "1f1d492"
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
    """What the older agent served, and what this one serves, on a node that is well and sick."""
    found = {}
    for sick, ending in ((False, ""), (True, "-sick")):
        older = (EXPOSITIONS / f"{OLDER}{ending}.prom").read_text("utf-8")
        # Slurm's collector read the job files then.
        found[f"older{ending}"] = older.replace('manager="slurm"', 'manager="pbs"')
        folder = tmp_path_factory.mktemp("newer")
        found[f"newer{ending}"] = record(folder, "jobfiles", sick=sick)
    return found


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


def write(folder: Path, fleets: Sequence[list[str]], asked: Sequence[dict[str, Any]]) -> Path:
    """Write a file for promtool that evaluates every rule on the nodes of some fleets."""
    document = {
        "rule_files": [str(path) for path in sorted(RULES.glob("*.yml"))],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in groups()],
        "tests": [
            {
                "interval": "1m",
                "input_series": [one for n, text in enumerate(texts) for one in series(n, text)],
                "promql_expr_test": list(asked),
            }
            for texts in fleets
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
    run(require("promtool"), write(tmp_path, [texts], list(checks(expected))))


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
    run(require("promtool"), write(tmp_path, [[text]], list(checks(expected))))


GROWN = "10m"
BILL = (
    "instance:gpumon_unallocated_energy_joules:sum",
    "instance_job_id:gpumon_job_gpu_energy_joules:sum",
    "instance_job_id:gpumon_job_idle_energy_joules:sum",
    "instance_job_id:gpumon_job_gpu_seconds:sum",
)
"""What reports and bills are made of: totals since the agents began, so their growth counts."""

NOT_OF_THE_GPUS = (
    r"[a-z_]+:gpumon_(agent_|collectors_failing|gpu_sample_age|nodes_by_thresholds|nodes_deaf).*"
    r"|rack_digest:.*|[a-z_]+:gpumon_.*_seconds:sum|[a-z_]+:gpumon_.*energy_joules:sum"
)
"""What the agents themselves are, and totals."""

ONLY_OF_OLDER_AGENTS = r"instance_job_id:gpumon_job_(power|gpus|activity|idle_gpus).*"
"""Sums of a node's job that a newer agent serves itself."""

NEWER = {"ClockWrong": "gpumon_clock_synchronized"}
"""Alerts on what older agents do not know, with the metric."""


def compared(samples: Mapping[Labels, float]) -> dict[Labels, float]:
    """Return what must be equal: a 0 of what another agent leaves out is no difference."""
    return {
        labels: round(value, 6)
        for labels, value in samples.items()
        if round(value, 6)
        and dict(labels).get("alertname") not in NEWER
        and dict(labels).get("reason") != "sync_boost"  # at the full tier now
        and not re.fullmatch(
            f"{NOT_OF_THE_GPUS}|{ONLY_OF_OLDER_AGENTS}", dict(labels).get("__name__", "")
        )
    }


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_a_sick_fleet_has_the_same_series_alerts_and_bill(
    tmp_path: Path, expositions: Mapping[str, str]
) -> None:
    """GPUs that are lost, hot, to be reset, outside their fabric: whatever agents say so."""
    fleets = [[expositions[f"{agent}-sick"] for agent in fleet.split()] for fleet in FLEETS]
    growth = (f'label_replace({n} - {n} offset {GROWN}, "bill", "{n}", "", "")' for n in BILL)
    asked = ('{__name__=~"[a-z_]+:gpumon.+|ALERTS"}', " or ".join(growth))
    file = write(tmp_path, fleets, [{"expr": one, "eval_time": "25m"} for one in asked])
    found = vectors(require("promtool"), file)
    assert len(found) == len(asked) * len(fleets)
    recorded, bills = [compared(one) for one in found[::2]], found[1::2]
    assert recorded[0] == recorded[1] == recorded[2]
    assert compared(bills[0]) == compared(bills[1]) == compared(bills[2])
    assert {dict(labels)["bill"] for labels in bills[0]} == {*BILL}
    fired = {each["alertname"] for each in firing(found[0])}
    assert fired >= {"GpuLost", "GpuNeedsReset", "GpuHardwareSlowdown", "FabricNotReady"}


ABOUT_AGENTS = {"gpumon-fit", "gpumon-deaf"}
"""Groups that record what agents lack."""


def needs_of(rule: Rule, newer: frozenset[str]) -> tuple[Need, ...]:
    """Return what a rule reads of an agent itself, one need or another; none if nothing."""
    # Series that come with a job say themselves whether an agent has them.
    expr = re.sub(rf"\b({'|'.join(newer)})\b", "gpumon_node_gpus_held", rule.expr)
    alone = Alert(alert="X", expr=expr, severity="", team="", summary="", description="", action="",
                  why="")  # fmt: skip
    return needs([RuleGroup(file="", name="", rules=(alone,))]).get("X", ())


def without_fallback(rules: Iterable[Rule]) -> set[str]:
    """Return the rules that have no value without a metric that older agents do not serve."""
    known = frozenset((EXPOSITIONS / f"{OLDER}.metrics").read_text("utf-8").split())
    newer = frozenset(metric.name for _, metric in rows(Tier.STANDARD)) - known
    assert known >= ALWAYS
    assert {"gpumon_node_gpus_held", *NEWER.values()} <= newer
    return {
        named(rule)
        for rule in rules
        if (needed := needs_of(rule, newer))
        and all(any(selector.metric in newer for selector in need) for need in needed)
    }


def test_what_older_agents_do_not_serve_has_a_fallback() -> None:
    """Every rule can do with what the release served, or is an alert that is listed as newer."""
    groups = [group for group in load(shipped()) if group.name not in ABOUT_AGENTS]
    assert without_fallback(rule for group in groups for rule in group.rules) == NEWER.keys()


@pytest.mark.parametrize(
    ("expr", "found"),
    [
        ("max by (job_id) (gpumon_job_gpus) > 0", True),
        ("gpumon_node_gpus_active * on (instance) group_left () gpumon_gpus", True),
        ("gpumon_node_gpus_active or sum by (instance) (gpumon_gpu_processes)", False),
        ("gpumon_gpu_processes unless gpumon_job_gpus", False),
    ],
)
def test_a_rule_without_a_fallback_is_found(expr: str, *, found: bool) -> None:
    """A value of a job counts too, which agents without jobs do not serve either."""
    assert without_fallback([RecordingRule(record="a:b:c", expr=expr)]) == (
        {"a:b:c"} if found else set()
    )


def test_alerts_that_are_newer_are_listed_as_deaf_on_older_agents() -> None:
    """By the list of the alerts that cannot fire."""
    assert needs(load(shipped())).keys() >= NEWER.keys()
