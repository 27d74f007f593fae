"""What panels show for a node of which everything is known: exact numbers, by promtool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.dashboards import committed
from tests.support.servers import require

TARGET = 'job="gpumon",instance="n1"'

SICK = {
    # GPU 0 is well, 1 is lost, 2 waits for a reset and is held down by heat and by its power cap.
    'gpumon_gpu_up{gpu="0"}': 1,
    'gpumon_gpu_up{gpu="1"}': 0,
    'gpumon_gpu_up{gpu="2"}': 1,
    'gpumon_gpu_state{gpu="0",state="ok"}': 1,
    'gpumon_gpu_state{gpu="0",state="lost"}': 0,
    'gpumon_gpu_state{gpu="1",state="ok"}': 0,
    'gpumon_gpu_state{gpu="1",state="lost"}': 1,
    'gpumon_gpu_recovery_action{gpu="0",action="none"}': 1,
    'gpumon_gpu_recovery_action{gpu="0",action="gpu_reset"}': 0,
    'gpumon_gpu_recovery_action{gpu="2",action="none"}': 0,
    'gpumon_gpu_recovery_action{gpu="2",action="gpu_reset"}': 1,
    'gpumon_gpu_throttled{gpu="0",reason="sw_power_cap"}': 1,
    'gpumon_gpu_throttled{gpu="0",reason="hw_thermal"}': 0,
    'gpumon_gpu_throttled{gpu="2",reason="sw_power_cap"}': 1,
    'gpumon_gpu_throttled{gpu="2",reason="hw_thermal"}': 1,
    'gpumon_gpu_row_remap_pending{gpu="0"}': 0,
    'gpumon_gpu_row_remap_failed{gpu="0"}': 0,
    'gpumon_gpu_row_remap_pending{gpu="2"}': 1,
    'gpumon_gpu_row_remap_failed{gpu="2"}': 1,
    "gpumon_gpus_expected{}": 4,
    'gpumon_source_info{source="replay"}': 1,
}

BARE = {"gpumon_gpus_expected{}": 8, 'gpumon_source_info{source="nvml"}': 1}
"""A node whose driver is not there."""


def expressions(where: str) -> list[str]:
    """Return a panel's queries on the node of these tests."""
    found = [
        q
        for q in committed.panel_queries()
        if q.dashboard == "gpumon-node" and q.where.rpartition(" ")[0] == where
    ]
    assert found, where
    return [query.filled({"cluster": ".*", "instance": "n1"}) for query in found]


def by_gpu(values: dict[str, int]) -> dict[str, int]:
    """Return expected values by promtool's way of writing a series."""
    return {f'{{gpu="{gpu}"}}': value for gpu, value in values.items()}


@pytest.mark.parametrize(
    ("series", "panel", "expected"),
    [
        (SICK, "State by GPU", [by_gpu({"0": 0, "1": 1})]),
        (SICK, "Action the driver asks for, by GPU", [by_gpu({"0": 0, "2": 1})]),
        (SICK, "Worst reason by GPU", [by_gpu({"0": 1, "2": 3})]),
        (SICK, "GPUs", [{"{}": 2}, {"{}": 4}]),
        (SICK, "GPUs missing", [{"{}": 2}]),
        (SICK, "Where these numbers come from", [{"{}": 2}]),
        (BARE, "GPUs", [{"{}": 0}, {"{}": 8}]),
        (BARE, "GPUs missing", [{"{}": 8}]),
        (BARE, "Where these numbers come from", [{"{}": 0}]),
        ({}, "GPUs missing", [{}]),
        ({}, "Where these numbers come from", [{}]),
    ],
)
def test_a_known_node_is_shown_as_it_is(
    tmp_path: Path, series: dict[str, int], panel: str, expected: list[dict[str, int]]
) -> None:
    """The worst state is the one that shows, missing GPUs are counted, nothing is made up."""
    inputs = [
        {"series": name.replace("{", f"{{{TARGET},").replace(",}", "}"), "values": f"{value}x5"}
        for name, value in series.items()
    ]
    checks = [
        {
            "expr": expr,
            "eval_time": "2m",
            "exp_samples": [{"labels": labels, "value": v} for labels, v in samples.items()],
        }
        for expr, samples in zip(expressions(panel), expected, strict=True)
    ]
    tests = [{"interval": "1m", "input_series": inputs, "promql_expr_test": checks}]
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [], "tests": tests}))  # JSON is YAML
    done = subprocess.run(
        [require("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
