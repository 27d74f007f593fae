"""MIG instances and GPM metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from . import FakeDriver, Machine, profiles
from .probe import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METRICS = """
[nvmlGpmMetricsGet(m) and [[m.metrics[i].nvmlReturn, m.metrics[i].value] for i in range({n})]
 for m in [c_nvmlGpmMetricsGet_t(version=1, numMetrics={n}, sample1=kept['a'], sample2=kept['b'])]
 for _ in [[setattr(m.metrics[i], 'metricId', k) for i, k in enumerate({ids})]]][0]
""".replace("\n", "")


def metrics(probe: Probe, *ids: int) -> list[list[float]]:
    """Return code and value of each metric between the samples a and b."""
    found: list[list[float]] = probe.ask(METRICS.format(n=len(ids), ids=list(ids)))
    return found


def allocate(probe: Probe) -> None:
    """The samples a and b."""
    probe.ask("[keep(name, nvmlGpmSampleAlloc()) for name in 'ab']")


def test_gpm_metrics_are_what_the_second_sample_saw(driver: FakeDriver, probe: Probe) -> None:
    """Percentages and MiB/s as given, an unknown metric NOT_SUPPORTED by itself."""
    assert probe.ask("nvmlGpmQueryDeviceSupport(gpu(0)).isSupportedDevice") == 1
    allocate(probe)
    probe.ask("nvmlGpmSampleGet(gpu(0), kept['a']) and None")
    with driver.batch():
        driver.set(0, "gpm.2", 61.25)
        driver.set(0, "gpm.60", 123456.5)
        driver.deny(0, "gpm.5")
    probe.ask("nvmlGpmSampleGet(gpu(0), kept['b']) and None")
    driver.set(0, "gpm.2", 5)  # after the window: must not show
    assert metrics(probe, 2, 60, 5, 470) == [[0, 61.25], [0, 123456.5], [4, 0], [3, 0]]


def test_gpm_samples_must_fit_together(probe: Probe) -> None:
    """A sample never taken, or two of different GPUs, are invalid arguments."""
    allocate(probe)
    probe.ask("nvmlGpmSampleGet(gpu(0), kept['a']) and None")
    get = METRICS.format(n=1, ids=[2])
    assert probe.error(get) == 2
    probe.ask("nvmlGpmSampleGet(gpu(1), kept['b']) and None")
    assert probe.error(get) == 2


def test_ampere_has_no_gpm(tmp_path: Path, library: Path) -> None:
    """The question succeeds with "not supported"; taking a sample fails."""
    driver = FakeDriver(tmp_path / "driver", profiles.a100(1), library=library)
    with Probe(driver.env()) as probe:
        probe.ask("nvmlInit()")
        allocate(probe)
        assert probe.ask("nvmlGpmQueryDeviceSupport(gpu(0)).isSupportedDevice") == 0
        assert probe.error("nvmlGpmSampleGet(gpu(0), kept['a'])") == 3


@pytest.fixture
def mig(tmp_path: Path, library: Path) -> Iterator[Probe]:
    """One H100 with MIG instances at positions 0 and 2."""
    driver = FakeDriver(tmp_path / "mig", profiles.h100(1), library=library)
    with driver.batch():
        driver.set(0, "mig_mode.current", 1)
        for position, instance in ((0, 7), (2, 9)):
            unit = f"0/{position}"
            driver.set(unit, "gpu_instance_id", instance)
            driver.set(unit, "compute_instance_id", 0)
            driver.set(unit, "uuid", f"MIG-{instance}")
            driver.set(unit, "name", "NVIDIA H100 80GB HBM3 MIG 1g.10gb")
            driver.set(unit, "memory.total", instance * 1000)
            driver.set(unit, "memory.free", instance * 900)
            driver.set(unit, "memory.used", instance * 100)
            driver.set(unit, "processes.compute", f"{4000 + instance}:1024:{instance}:0")
            driver.set(unit, "attributes.multiprocessors", 16)
            driver.set(unit, "attributes.memory_mib", 9984)
            driver.set(unit, "gpm.2", instance * 10)
        driver.set(0, "utilization.gpu", "!3")
    with Probe(driver.env()) as probe:
        probe.ask("nvmlInit()")
        yield probe


INSTANCE = "nvmlDeviceGetMigDeviceHandleByIndex(gpu(0), {0})"


def test_mig_instances_are_enumerated_with_holes(mig: Probe) -> None:
    """Seven places; where there is no instance, NOT_FOUND (6)."""
    assert mig.ask("nvmlDeviceGetMaxMigDeviceCount(gpu(0))") == 7
    for position in (1, 3, 6):
        assert mig.error(INSTANCE.format(position)) == 6
    for position, instance in ((0, 7), (2, 9)):
        handle = INSTANCE.format(position)
        assert mig.ask(f"nvmlDeviceGetUUID({handle})") == f"MIG-{instance}"
        assert mig.ask(f"nvmlDeviceGetGpuInstanceId({handle})") == instance
        assert mig.ask(f"nvmlDeviceGetComputeInstanceId({handle})") == 0
        assert mig.ask(f"nvmlDeviceIsMigDeviceHandle({handle}).value") == 1
        parent = f"nvmlDeviceGetDeviceHandleFromMigDeviceHandle({handle})"
        assert mig.ask(f"nvmlDeviceGetIndex({parent})") == 0
    assert mig.ask("nvmlDeviceGetIndex(nvmlDeviceGetHandleByUUID(b'MIG-9'))") == 2


def test_a_mig_instance_has_its_own_readings_only(mig: Probe) -> None:
    """Memory, processes, attributes; power and the like are not inherited from the GPU."""
    handle = INSTANCE.format(2)
    memory = mig.ask(f"nvmlDeviceGetMemoryInfo({handle})")
    assert memory == {"total": 9000, "free": 8100, "used": 900}
    processes = mig.ask(f"nvmlDeviceGetComputeRunningProcesses({handle})")
    assert [(p["pid"], p["gpuInstanceId"]) for p in processes] == [(4009, 9)]
    attributes = mig.ask(f"nvmlDeviceGetAttributes_v2({handle})")
    assert (attributes["multiprocessorCount"], attributes["memorySizeMB"]) == (16, 9984)
    for getter in ("PowerUsage", "UtilizationRates", "PerformanceState"):
        assert mig.error(f"nvmlDeviceGet{getter}({handle})") == 3
    assert mig.ask("nvmlDeviceGetPowerUsage(gpu(0))") == 68570
    assert mig.error("nvmlDeviceGetUtilizationRates(gpu(0))") == 3


def test_gpm_of_mig_instances(mig: Probe) -> None:
    """By the instance's handle or, from the GPU, by its GPU instance id."""
    allocate(mig)
    for name in "ab":
        mig.ask(f"nvmlGpmMigSampleGet(gpu(0), 9, kept['{name}']) and None")
    assert metrics(mig, 2) == [[0, 90]]
    for name in "ab":
        mig.ask(f"nvmlGpmSampleGet({INSTANCE.format(0)}, kept['{name}']) and None")
    assert metrics(mig, 2) == [[0, 70]]
    assert mig.error("nvmlGpmMigSampleGet(gpu(0), 5, kept['a'])") == 6


def test_a_machine_can_state_mig_facts(tmp_path: Path, library: Path) -> None:
    """In a Machine, "0:uuid" is a fact of the GPU's first instance."""
    machine = Machine(gpus=({"uuid": "GPU-1", "0:uuid": "MIG-1", "0:gpu_instance_id": 3},))
    driver = FakeDriver(tmp_path / "driver", machine, library=library)
    with Probe(driver.env()) as probe:
        probe.ask("nvmlInit()")
        assert probe.ask(f"nvmlDeviceGetUUID({INSTANCE.format(0)})") == "MIG-1"
