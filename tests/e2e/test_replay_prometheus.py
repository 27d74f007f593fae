"""A real training run, from its log through the agent into a real Prometheus."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from gpumon.sources.replay.smilog import SmiLog
from gpumon.times import format_time
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
    source = f"replay:{path},gpus=8,speed=60,tz=Z"
    end = format_time(max(frame.time for frame in SmiLog(path, 8, dt.timezone.utc).frames()))
    with (
        run_agent(tmp_path, source) as agent,
        run_prometheus(tmp_path, shipped_prometheus_config(agent.target)) as prometheus,
    ):
        wait_for(
            lambda: agent.get("/api/v1/snapshot").json()["time"] == end, 90, "the end", every=0.5
        )
        gpus = agent.get("/api/v1/snapshot").json()["gpus"]
        total = pytest.approx(sum(gpu["energy_joules"] for gpu in gpus))
        joules = wait_for(
            lambda: (
                (value := prometheus.value("sum(gpumon_gpu_energy_joules_total)")) == total
                and value
            ),
            30,
            "the end to be scraped",
            every=0.5,
        )
        assert prometheus.value("count(gpumon_gpu_energy_joules_total)") == 8
        methods = prometheus.query("count by (method, scope) (gpumon_gpu_energy_info)")
        (target,) = [t for t in prometheus.targets() if t["labels"]["job"] == "gpumon"]
        assert prometheus.value("max(gpumon_node_gpu_power_peak_watts)") is not None
    assert joules == pytest.approx(1000 * kilojoules, rel=0.001)
    assert [m["metric"] for m in methods] == [{"method": "integral", "scope": "gpu"}]
    assert target["health"] == "up"
