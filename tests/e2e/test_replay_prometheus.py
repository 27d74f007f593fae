"""A real training run, from its log through the agent into a real Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.servers import (
    data,
    run_agent,
    run_prometheus,
    shipped_prometheus_config,
    wait_for,
)

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(("name", "kilojoules"), [("ckpt100", 1523.2), ("ckpt10", 908.0)])
def test_prometheus_ends_with_the_joules_of_the_run(
    tmp_path: Path, name: str, kilojoules: float
) -> None:
    """Eight H100s for eleven minutes at sixty times the speed, within a thousandth."""
    path = data(f"h100x8-training/{name}.csv.gz")
    source = f"replay:{path},gpus=8,speed=60"
    with (
        run_agent(tmp_path, source) as agent,
        run_prometheus(tmp_path, shipped_prometheus_config(agent.target)) as prometheus,
    ):
        # The log is over when the age of the readings grows past its pace.
        wait_for(
            lambda: (prometheus.value("min(gpumon_gpu_sample_age_seconds)") or 0) > 3,
            60,
            "the end of the log to be scraped",
            every=0.5,
        )
        joules = prometheus.value("sum(gpumon_gpu_energy_joules_total)")
        assert prometheus.value("count(gpumon_gpu_energy_joules_total)") == 8
        methods = prometheus.query("count by (method, scope) (gpumon_gpu_energy_info)")
        (target,) = prometheus.targets()
        assert prometheus.value("max(gpumon_node_gpu_power_peak_watts)") is not None
    assert joules == pytest.approx(1000 * kilojoules, rel=0.001)
    assert [m["metric"] for m in methods] == [{"method": "integral", "scope": "gpu"}]
    assert target["labels"]["job"] == "gpumon"
    assert target["health"] == "up"
