"""A driver that says what cannot be, through the running agent: no joule of a neighbour is lost."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3  # the tests look at the tables
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver, profiles
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e

ONES = 2**32 - 1
ALL_ONES = f"u64:{2**64 - 1}"

SICK = {
    "field.83": ALL_ONES,
    "energy": ALL_ONES,
    "utilization.gpu": ONES,
    "field.185": f"u32:{ONES}",
    "temperature": -1,
    "memory.used": 2**64 - 1,
    "pcie.link_width": ONES,
    "field.94": f"u32:{ONES}",
    "field.145": f"u32:{ONES}",
    "clocks_event_reasons": 2**64 - 1,
    "max_mig_devices": ONES,
    "processes.compute": f"{ONES}:5",
}
"""What a GPU says that knows nothing."""

REFUSED = {
    "gpu_energy",
    "gpu_utilization",
    "gpu_power",
    "gpu_temperature",
    "gpu_memory_used",
    "gpu_pcie_link_width",
    "gpu_pcie_replays",
    "gpu_row_remap_failed",
    "gpu_throttled",
    "gpu_process_id",
}


def seen(agent: Agent) -> Exposition:
    """Return what the agent exposes now."""
    return Exposition(agent.metrics())


def ledger(agent: Agent, gpu: int) -> float:
    """Return the joules that are booked of a GPU."""
    return seen(agent).value("gpumon_ledger_energy_joules_total", gpu=str(gpu), uuid=uuid(gpu)) or 0


def uuid(gpu: int) -> str:
    """Return a GPU's uuid."""
    return str(profiles.identity(gpu)["uuid"])


def kept(folder: Path) -> dict[str, float]:
    """Return the joules in the state file, by uuid."""
    with contextlib.closing(sqlite3.connect(folder / "state" / "state.db")) as db:
        rows = db.execute("SELECT uuid, total FROM ledger_gpus").fetchall()
    return {name: total / 1000 for name, total in rows}


def test_an_energy_counter_with_all_bits_set_stops_nobodys_books(
    tmp_path: Path, library: Path
) -> None:
    """A second: no GPU of the node was written, and a restart took a healthy one's joules away."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(2), library=library)
    driver.set(1, "field.83", ALL_ONES)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        wait_for(lambda: ledger(agent, 0) > 200, 20, "joules of the healthy GPU")
        exposition = seen(agent)
        assert exposition.all("gpumon_gpu_energy_joules_total", gpu="1") == {}
        assert (exposition.value("gpumon_refused_readings_total", quantity="gpu_energy") or 0) >= 2
        assert "OverflowError" not in agent.log
        assert agent.log.count("reports energy_joules") == 1
        assert ledger(agent, 1) > 0  # by its power
    booked = kept(tmp_path)
    assert booked[uuid(0)] > 200
    assert 0 < booked[uuid(1)] <= booked[uuid(0)] * 2
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        wait_for(lambda: ledger(agent, 0) > booked[uuid(0)], 10, "joules after the restart")


def test_whatever_a_gpu_says_it_is_absent_counted_and_said_by_doctor(
    tmp_path: Path, library: Path
) -> None:
    """Everything at once; its neighbour has all of its readings, and it has its others."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(2), library=library)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        healthy = {*seen(agent).names(gpu="0")}
        with driver.batch():
            for key, value in SICK.items():
                driver.set(1, key, value)
        counted: dict[str, float] = {}

        def all_counted() -> bool:
            found = seen(agent).all("gpumon_refused_readings_total")
            counted.update({dict(labels)["quantity"]: value for labels, value in found.items()})
            return counted.keys() >= REFUSED

        with contextlib.suppress(AssertionError):
            wait_for(all_counted, 25, "every quantity to be refused")
        assert counted.keys() >= REFUSED
        exposition = seen(agent)
        for name in (
            "gpumon_gpu_utilization_ratio",
            "gpumon_gpu_power_watts",
            "gpumon_gpu_temperature_celsius",
            "gpumon_gpu_throttled",
            "gpumon_gpu_row_remap_failed",
        ):
            assert exposition.all(name, gpu="1") == {}, name
            assert exposition.all(name, gpu="0"), name
        assert exposition.value("gpumon_gpu_up", gpu="1", uuid=uuid(1)) == 1
        assert healthy <= {*exposition.names(gpu="0")}
        done = subprocess.run(
            [sys.executable, "-m", "gpumon", "doctor", "--agent", agent.url, "-o", "json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        findings = {each["item"]: each for each in json.loads(done.stdout)["findings"]}
        assert findings["readings"]["level"] == "warn"
        assert all(name in findings["readings"]["evidence"] for name in REFUSED)
        assert agent.log.count("reports utilization_ratio") == 1
    assert "Traceback" not in agent.log


def test_a_driver_before_510_lacks_memory_and_processes_and_doctor_says_so(
    tmp_path: Path, library: Path
) -> None:
    """Those calls have other names there; what is read all the same is read."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(1), library=library)
    driver.set_system("driver_version", "470.256.02")
    driver.fail("all", 13, "nvmlDeviceGetMemoryInfo_v2")
    driver.fail("all", 13, "nvmlDeviceGetComputeRunningProcesses_v3")
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", "doctor", "-o", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **driver.env()},
    )
    findings = json.loads(done.stdout)["findings"]
    (age,) = [each for each in findings if each["item"] == "driver-version"]
    assert age["level"] == "warn"
    assert "needs NVIDIA driver 525 or later" in age["evidence"]
    assert "memory, processes" in age["evidence"]
