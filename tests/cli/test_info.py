"""Everything known of a GPU, and what is denied."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver
from tests.support.servers import run_agent


def info(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "gpumon", "info", *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
    )


def test_each_value_has_its_metric_and_where_it_is_read(driver: FakeDriver) -> None:
    """From the driver itself; what it denies is listed with what it needs."""
    driver.set(2, "field.185", 330_123)
    driver.deny("*", "field.144")
    done = info("--gpu", "2", env=driver.env())
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "gpumon_gpu_power_watts " in line]
    assert line.split() == ["gpumon_gpu_power_watts", "330.123", "field", "185"]
    assert "gpumon_gpu_state{state=ok}" in done.stdout
    assert "gpumon_gpu_nvlink_link_up{link=17}" in done.stdout
    assert "gpu 3" not in done.stdout
    head, _, denied = done.stdout.partition("needs more rights")
    assert "gpumon_gpu_row_remap_pending: root" in denied
    assert "gpumon_gpu_fan_speed_ratio" in head.partition("not reported")[2]


@pytest.mark.e2e
def test_an_agent_tells_what_of_the_node_it_may_not_read(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Over HTTP the same lines; a log that is not there is a collector that fails."""
    with run_agent(
        tmp_path, "nvml", "--kernel-log", str(tmp_path / "none"), env=driver.env()
    ) as agent:
        done = info(agent.target)
        assert "gpumon_node_memory_total_bytes" in done.stdout
        assert "gpumon_gpu_sram_threshold_exceeded: root" in done.stdout
        assert 'gpumon_collector_success{collector="kernel_log"} 0' in agent.metrics()
    assert done.returncode == 0


def test_a_gpu_that_is_not_there_is_refused_in_a_line() -> None:
    """With those that are."""
    done = info("sim:2xH100", "--gpu", "5")
    assert done.returncode == 2
    assert done.stderr == "gpumon: no GPU 5 here: there are: 0, 1\n"


def test_a_number_alone_is_a_gpu_of_this_machine(driver: FakeDriver) -> None:
    """After a target it is that one's; a GPU is named by its UUID as well."""
    by_flag = info("--gpu", "1", env=driver.env())
    by_number = info("1", env=driver.env())
    assert by_number.returncode == 0, by_number.stderr
    heads = [done.stdout.splitlines()[0] for done in (by_flag, by_number)]
    assert heads[0] == heads[1]
    uuid = heads[0].split()[2]
    assert info(uuid, env=driver.env()).stdout.splitlines()[0] == heads[0]
    assert info("sim:2xH100", "1").stdout.startswith("gpu 1 ")
    done = info("sim:2xH100", "1", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_programs_get_the_unit_the_meaning_and_the_origin(driver: FakeDriver) -> None:
    """Of each sample; what is not answered and what is denied are lists."""
    driver.set(2, "field.185", 330_123)
    driver.deny("*", "field.144")
    document = json.loads(info("2", "-o", "json", env=driver.env()).stdout)
    (gpu,) = document["gpus"]
    (power,) = [each for each in gpu["known"] if each["metric"] == "gpumon_gpu_power_watts"]
    assert (power["value"], power["origin"]) == (330.123, "field 185")
    assert power["meaning"].startswith("Power drawn")
    assert "gpumon_gpu_row_remap_pending" in gpu["denied"]
    assert "gpumon_gpu_fan_speed_ratio" in gpu["not_answered"]
