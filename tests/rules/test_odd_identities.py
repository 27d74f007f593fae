"""Every rule on GPUs whose identities are not as they should be: none fails for anybody.

A rule that fails does so for the whole site: "duplicate series" of one node's GPUs, and the watts
of ten thousand are not recorded. The series are an agent's own, with a value for each metric of the
catalogue, so that no join is spared for want of data.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gpumon.exposition import Encoder, Format
from gpumon.exposition.owners import owners_of
from gpumon.model import (
    EnergyInfo,
    FabricInfo,
    GpuIdentity,
    GpuReading,
    GpuState,
    Job,
    JobGpuReading,
    JobReading,
    Kind,
    LedgerReading,
    LedgerState,
    Metric,
    NodeReading,
    NodeTotals,
    Snapshot,
    SourceInfo,
    Tier,
    group_of,
)
from gpumon.model.agent import AgentReading
from tests.rules.test_promtool import RULES, groups, run
from tests.support.servers import missing, require

MINUTES = 45
"""Long enough for the slowest group (10 min) to read what it has recorded, and its offset."""

JOB = "4711"

CASES: Mapping[str, Sequence[Sequence[str]]] = {
    "two GPUs of a node without a uuid": [("", "")],
    "two nodes with equal uuids": [("GPU-a", "GPU-b"), ("GPU-a", "GPU-b")],
    "two GPUs of a node with one uuid": [("GPU-a", "GPU-a")],
    "without a uuid, on two nodes": [("", ""), ("", "")],
    "what the agent publishes instead": [("unknown:gpu0", "unknown:00000000:18:00.0")],
}
"""The uuids of the GPUs of each node."""

_INFO = {
    "identity": None,
    "energy_info": EnergyInfo("counter"),
    "fabric_info": FabricInfo("0", 0),
}


def filled(metric: Metric) -> Any:
    """Return a value for a metric: whatever it is, it is there."""
    if metric.kind is Kind.INFO:
        return _INFO.get(metric.field)
    if metric.field in ("xid_errors", "xid_last_timestamp_seconds", "xid_unresolved"):
        return {"31": 1, "48": 1, "94": 1}
    if metric.field == "xid_events":
        return {"application": 1, "driver": 1, "hardware": 1}
    if metric.states:
        word = metric.states[-1]
        return frozenset(metric.states) if metric.field in _SETS else word
    if metric.labels:
        # The last label may be one that nobody could list, as a link's number.
        keys = [(*key, *"1" * (len(metric.labels) - len(key))) for key in metric.keys or [()]]
        return {key if len(key) > 1 else key[0]: 1 for key in keys}
    return 1


_SETS = ("throttle_reasons", "energy_suspect")


def gpu(index: int, uuid: str) -> GpuReading:
    """Return a GPU with a value for every metric; two of a node are different boards."""
    read = {field.name for field in dataclasses.fields(GpuReading)}  # the rest follows from it
    values = {
        m.field: filled(m)
        for m in group_of(GpuReading).metrics
        if m.field in read - {"identity", "state"}
    }
    model = ("NVIDIA H100 80GB HBM3", "NVIDIA H200")[index]
    identity = GpuIdentity(index, uuid, model, "Hopper", f"165{index}", f"{index}", index, "9", "9")
    return GpuReading(
        identity=identity,
        state=GpuState.OK,
        read_at=1.0,
        **{name: value for name, value in values.items() if value is not None},
    )


def exposition(uuids: Sequence[str]) -> str:
    """Return what an agent exposes whose GPUs have these uuids, with a job on all of them."""
    job = Job(job_id=JOB, user="ada", account="ml", manager="slurm")
    gpus = tuple(gpu(index, uuid) for index, uuid in enumerate(uuids))
    snapshot = Snapshot(
        time=0.0,
        source=SourceInfo("nvml", driver_version="580"),
        gpus=gpus,
        power=NodeReading(1.0, 1.0, 1.0, 1.0),
        totals=NodeTotals(**{m.field: filled(m) for m in group_of(NodeTotals).metrics}),
        ledger=LedgerState(
            jobs=(JobReading(job=job, gpu_seconds={"active": 1.0, "idle": 1.0}),),
            shares=tuple(
                JobGpuReading(job_id=JOB, gpu=i, uuid=u, share=1.0, energy_joules=1.0)
                for i, u in enumerate(uuids)
            ),
            gpus=tuple(
                LedgerReading(
                    gpu=i,
                    uuid=u,
                    unallocated_energy_joules=1.0,
                    ended_jobs_energy_joules=1.0,
                    ledger_energy_joules=1.0,
                )
                for i, u in enumerate(uuids)
            ),
        ),
    )
    agent = AgentReading(
        source_info=snapshot.source,
        source_up=True,
        released=False,
        gpus=2,
        gpus_expected=2,
        collector_success={"reader": 1},
        collector_duration_seconds={"reader": 0.1},
        build=_Build(),
    )
    owners = {AgentReading: [agent], **owners_of(snapshot, 2.0)}
    return Encoder(Format.TEXT, Tier.FULL).encode(owners).decode()


@dataclasses.dataclass(frozen=True)
class _Build:
    version: str = "1"
    python_version: str = "3.11"


def series(case: Sequence[Sequence[str]]) -> Iterator[dict[str, str]]:
    """Yield the series of a case's nodes as promtool takes them; counters grow by the minute."""
    for number, uuids in enumerate(case):
        target = {
            "job": "gpumon",
            "instance": f"n{number}:9842",
            "cluster": "c",
            "node": f"n{number}",
        }
        yield {"series": f"up{_labels(target)}", "values": f"1x{MINUTES}"}
        for family in text_string_to_metric_families(exposition(uuids)):
            for sample in family.samples:
                growth = "+1" if sample.name.endswith("_total") else "+0"
                labels = _labels({**sample.labels, **target})
                yield {
                    "series": f"{sample.name}{labels}",
                    "values": f"{sample.value:g}{growth}x{MINUTES}",
                }


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def write(case: Sequence[Sequence[str]], folder: Path, rules: Path = RULES) -> Path:
    """Write a file for promtool that evaluates every rule on a case."""
    watts = "job_id:gpumon_job_power_watts:sum"
    there = {"expr": f"count({watts}) > 0", "eval_time": "10m", "exp_samples": [_SAMPLE]}
    document = {
        "rule_files": [str(path) for path in sorted(rules.glob("*.yml"))],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in groups()],
        "tests": [
            {
                "interval": "1m",
                "input_series": list(series(case)),
                "promql_expr_test": [there, *models(case)],
            }
        ],
    }
    file = folder / "odd.yml"
    file.write_text(yaml.safe_dump(document), "utf-8")
    return file


_SAMPLE = {"labels": "{}", "value": 1}


def models(case: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Yield what the whole site would lose: the watts of all models, each GPU's once."""
    yield {
        "expr": "sum(model:gpumon_gpu_power_watts:sum)",
        "eval_time": "20m",
        "exp_samples": [{"labels": "{}", "value": sum(map(len, case))}],
    }


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES)
def test_no_rule_fails(tmp_path: Path, case: str) -> None:
    """Promtool evaluates every rule at every step, and fails with each that returns an error."""
    run(require("promtool"), write(CASES[case], tmp_path))


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES)
def test_no_rule_fails_in_prometheus_3(tmp_path: Path, case: str) -> None:
    """The same."""
    promtool = os.environ.get("GPUMON_TEST_PROMTOOL3")
    run(
        promtool or missing("a promtool of Prometheus 3 (make promtool3)"),
        write(CASES[case], tmp_path),
    )


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_a_join_that_is_not_guarded_is_found(tmp_path: Path) -> None:
    """The test can fail: one rule without its guard, and promtool names it."""
    rules = tmp_path / "rules"
    rules.mkdir()
    for path in RULES.glob("*.yml"):
        text = path.read_text("utf-8")
        text = text.replace(
            "topk by (cluster, instance, uuid) (1, gpumon_gpu_info)", "gpumon_gpu_info"
        )
        (rules / path.name).write_text(text, "utf-8")
    file = write(CASES["two GPUs of a node with one uuid"], tmp_path, rules)
    with pytest.raises(AssertionError, match="model:gpumon_gpu_power_watts:sum"):
        run(require("promtool"), file)
