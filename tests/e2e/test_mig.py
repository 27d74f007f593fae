"""MIG instances through the running agent: found, followed, and never given the whole GPU's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver, profiles
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e


def divide(driver: FakeDriver, gpu: int, *instances: int, sms: int = 16) -> None:
    """Have the GPU be divided into these instances (by GPU instance id), and no others."""
    with driver.batch():
        driver.set(gpu, "mig_mode.current", int(bool(instances)))
        # A divided GPU answers less (nvml.h).
        driver.set(gpu, "utilization.gpu", "!3" if instances else 11)
        for position in range(7):
            unit = f"{gpu}/{position}"
            if position >= len(instances):
                driver.unset(unit, "gpu_instance_id")
                continue
            number = instances[position]
            driver.set(unit, "gpu_instance_id", number)
            driver.set(unit, "compute_instance_id", 0)
            driver.set(unit, "uuid", f"MIG-{gpu}-{number}")
            driver.set(unit, "name", "NVIDIA H100 80GB HBM3 MIG 1g.10gb")
            driver.set(unit, "memory.total", 10_468_982_784)
            driver.set(unit, "memory.used", number * 1_048_576)
            driver.set(unit, "attributes.multiprocessors", sms)
            driver.set(unit, "gpm.2", number * 10)


def instances_of(agent: Agent) -> set[str]:
    """Return the instances that are exposed."""
    return {
        dict(labels)["mig_uuid"] for labels in Exposition(agent.metrics()).all("gpumon_mig_info")
    }


def test_instances_are_found_followed_and_forgotten(tmp_path: Path, driver: FakeDriver) -> None:
    """Their memory, activity and joules are theirs; utilisation is the GPU's when it is whole."""
    divide(driver, 1, 7, 9)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        wait_for(lambda: instances_of(agent) == {"MIG-1-7", "MIG-1-9"}, 10, "the instances")
        seen = Exposition(agent.metrics())
        assert seen.value("gpumon_gpu_mig_mode", gpu="1") == 1
        assert seen.value("gpumon_gpu_mig_mode", gpu="0") == 0
        (facts,) = seen.all("gpumon_mig_info", mig_uuid="MIG-1-9")
        assert dict(facts) | {"profile": "1g.10gb", "gpu_instance": "9"} == dict(facts)
        assert dict(facts)["uuid"] == profiles.identity(1)["uuid"]
        assert seen.value("gpumon_mig_memory_used_bytes", mig_uuid="MIG-1-9") == 9 * 1_048_576
        assert not seen.all("gpumon_gpu_utilization_ratio", gpu="1")
        names = seen.names(mig_uuid="MIG-1-9")
        assert not any("power" in name or "temperature" in name for name in names)

        def activity() -> float | None:
            values = Exposition(agent.metrics()).all(
                "gpumon_mig_sm_active_ratio", mig_uuid="MIG-1-9"
            )
            return next(iter(values.values()), None)

        assert wait_for(activity, 5, "two samples of activity") == pytest.approx(0.9)
        wait_for(
            lambda: (
                sum(Exposition(agent.metrics()).all("gpumon_mig_energy_joules_total").values())
                > 100
            ),
            10,
            "joules of the instances",
        )
        seen = Exposition(agent.metrics())
        a, b = (seen.value("gpumon_mig_energy_joules_total", mig_uuid=f"MIG-1-{n}") for n in (7, 9))
        assert b / a == pytest.approx(9 / 7, rel=0.25)  # before the second sample: by SMs
        (method,) = seen.all("gpumon_mig_energy_info", mig_uuid="MIG-1-7")
        assert dict(method)["method"] == "sm_activity"
        document = agent.get("/api/v1/snapshot").json()["gpus"][1]
        assert [m["mig_uuid"] for m in document["mig"]] == ["MIG-1-7", "MIG-1-9"]

        divide(driver, 1, 8, 9)
        wait_for(lambda: instances_of(agent) == {"MIG-1-8", "MIG-1-9"}, 15, "the other layout")
        divide(driver, 1)
        wait_for(lambda: not instances_of(agent), 15, "the GPU to be whole")
        assert "gpumon_mig_" not in agent.metrics()
        wait_for(
            lambda: Exposition(agent.metrics()).all("gpumon_gpu_utilization_ratio", gpu="1"),
            15,
            "what only a whole GPU answers",
        )
        assert agent.ready()


def test_an_instance_that_dies_costs_its_gpu_nothing(tmp_path: Path, driver: FakeDriver) -> None:
    """Its handle is invalid from one call to the next: the GPU's own readings go on."""
    divide(driver, 0, 7)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        wait_for(lambda: instances_of(agent) == {"MIG-0-7"}, 10, "the instance")
        driver.fail("0/0", 2)
        wait_for(lambda: not instances_of(agent), 5, "it to be gone")
        seen = Exposition(agent.metrics())
        assert seen.value("gpumon_gpu_up", gpu="0") == 1
        assert sum(seen.all("gpumon_gpu_up").values()) == 8
        assert "reloaded" not in agent.log
        driver.recover()
        wait_for(lambda: instances_of(agent) == {"MIG-0-7"}, 15, "it to be back")


def test_a_gpu_with_mig_but_without_gpm_shares_its_joules_by_sms(
    tmp_path: Path, library: Path
) -> None:
    """A100: inventory and memory, and the method is named."""
    driver = FakeDriver(tmp_path / "driver", profiles.a100(1), library=library)
    divide(driver, 0, 1, 2, sms=42)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        wait_for(lambda: instances_of(agent) == {"MIG-0-1", "MIG-0-2"}, 10, "the instances")
        wait_for(
            lambda: (
                sum(Exposition(agent.metrics()).all("gpumon_mig_energy_joules_total").values()) > 50
            ),
            10,
            "joules",
        )
        seen = Exposition(agent.metrics())
        assert {dict(k)["method"] for k in seen.all("gpumon_mig_energy_info")} == {"sm_share"}
        a, b = seen.all("gpumon_mig_energy_joules_total").values()
        assert a == pytest.approx(b, abs=0.01)
        assert not seen.all("gpumon_mig_sm_active_ratio")
    driver.recover()
