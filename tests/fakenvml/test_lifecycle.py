"""Initialisation, driver reload, changing numbers of GPUs, call counting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from . import FakeDriver, profiles
from .probe import TIMEOUT, Probe

if TYPE_CHECKING:
    from pathlib import Path


def test_calls_need_init(driver: FakeDriver) -> None:
    """Before nvmlInit and after nvmlShutdown calls answer UNINITIALIZED (1)."""
    with Probe(driver.env()) as probe:
        probe.ask("nvmlInit()")
        probe.ask("nvmlShutdown()")
        assert probe.error("nvmlDeviceGetCount()") == 1
        assert probe.error("nvmlShutdown()") == 1


def test_init_is_counted(probe: Probe) -> None:
    """Two nvmlInit need two nvmlShutdown, as in NVML."""
    probe.ask("nvmlInit()")
    probe.ask("nvmlShutdown()")
    assert probe.ask("nvmlDeviceGetCount()") == 8
    probe.ask("nvmlShutdown()")
    assert probe.error("nvmlDeviceGetCount()") == 1


def test_a_driver_reload_kills_init_and_handles(driver: FakeDriver, probe: Probe) -> None:
    """Calls answer 1 until shutdown and init, then old handles 2; new ones read anew."""
    probe.ask("keep('old', gpu(0))")
    driver.reload(profiles.h100(8).reversed())
    assert probe.error("nvmlDeviceGetPowerUsage(kept['old'])") == 1
    assert probe.error("nvmlDeviceGetCount()") == 1
    probe.ask("nvmlShutdown()")
    probe.ask("nvmlInit()")
    assert probe.error("nvmlDeviceGetPowerUsage(kept['old'])") == 2
    uuids = probe.ask("[nvmlDeviceGetUUID(gpu(i)) for i in range(8)]")
    assert uuids == [f"GPU-{8 - i:08x}-0000-4000-8000-{8 - i:012x}" for i in range(8)]


def test_a_reload_during_a_hanging_call(driver: FakeDriver, probe: Probe) -> None:
    """A call that hung over a reload returns UNINITIALIZED: its driver is gone."""
    probe.ask("keep('g', gpu(0))")
    driver.hang(0)
    stuck = probe.start("nvmlDeviceGetPowerUsage(kept['g'])")
    while driver.calls().get("nvmlDeviceGetPowerUsage", 0) < 1:
        assert not stuck.done()
    with driver.batch():
        driver.reload()
        driver.release(0)
    with pytest.raises(Exception, match="Uninitialized"):
        stuck.result(TIMEOUT)


@pytest.mark.parametrize("count", [0, 1, 16, 72])
def test_any_number_of_gpus(tmp_path: Path, library: Path, count: int) -> None:
    """Hosts have from none to many GPUs, all with identities of their own."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(count), library=library)
    with Probe(driver.env()) as probe:
        probe.ask("nvmlInit()")
        assert probe.ask("nvmlDeviceGetCount()") == count
        facts = probe.ask(
            "[[nvmlDeviceGetUUID(g), nvmlDeviceGetSerial(g), nvmlDeviceGetPciInfo(g).busId]"
            f" for g in map(gpu, range({count}))]"
        )
    assert len({tuple(fact) for fact in facts}) == count
    assert all(len({fact[i] for fact in facts}) == count for i in range(3))


def test_a_garbage_handle_is_an_invalid_argument(probe: Probe) -> None:
    """Null and nonsense are refused, not followed."""
    assert probe.error("nvmlDeviceGetPowerUsage(c_nvmlDevice_t())") == 2
    garbage = "ctypes.cast(ctypes.c_void_p(0x123456), c_nvmlDevice_t)"
    assert probe.error(f"nvmlDeviceGetPowerUsage({garbage})") == 2


@pytest.mark.newest_binding
def test_calls_are_counted_live(driver: FakeDriver, probe: Probe) -> None:
    """Calls by C function, field batches by GPU, values; over all processes."""
    before = driver.calls()
    probe.ask("[nvmlDeviceGetTemperatureV(gpu(2), 0) for _ in range(5)]")
    probe.ask("fields(gpu(3), 185, 186, 83)")
    with Probe(driver.env()) as another:
        another.ask("nvmlInit()")
        another.ask("fields(gpu(3), 185)")
    counted = {name: n - before.get(name, 0) for name, n in driver.calls().items()}
    assert counted["nvmlDeviceGetTemperatureV"] == 5
    assert counted["nvmlDeviceGetFieldValues"] == 2
    assert counted["nvmlDeviceGetFieldValues[3]"] == 2
    assert counted["fields"] == 4
    assert "nvmlDeviceGetFieldValues[2]" not in counted
    assert "nvmlDeviceGetName" not in counted


def test_counts_are_written_as_text_at_shutdown(driver: FakeDriver, probe: Probe) -> None:
    """Whoever wants to read them without a program finds name and count, a line each."""
    probe.ask("nvmlDeviceGetCount()")
    probe.ask("nvmlShutdown()")
    lines = driver.calls_path.with_name("calls.txt").read_text().splitlines()
    assert "nvmlDeviceGetCount_v2 1" in lines
