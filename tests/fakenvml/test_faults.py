"""What can go wrong with a driver, switched on and off while a process runs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from . import FakeDriver, build_library, profiles
from .probe import TIMEOUT, NvmlError, Probe

if TYPE_CHECKING:
    from pathlib import Path

Entered = Callable[[str, int], None]


def power(gpu: int) -> str:
    """The call that most tests make."""
    return f"nvmlDeviceGetPowerUsage(gpu({gpu}))"


def test_a_lost_gpu_answers_lost_and_the_others_go_on(driver: FakeDriver, probe: Probe) -> None:
    """Every call on it answers 15, its handle by index or UUID too; it still counts."""
    uuid = probe.ask("nvmlDeviceGetUUID(gpu(3))").encode()
    driver.lose(3)
    for call in (power(3), "fields(gpu(3), 185)", f"nvmlDeviceGetHandleByUUID({uuid!r})"):
        assert probe.error(call) == 15
    assert probe.ask(power(2)) == 68570
    assert probe.ask("nvmlDeviceGetCount()") == 8
    driver.recover(3)
    assert probe.ask(power(3)) == 68570


def test_a_gpu_can_require_a_reset(driver: FakeDriver, probe: Probe) -> None:
    """Every call on it answers 16."""
    driver.require_reset(0)
    assert probe.error(power(0)) == 16
    assert probe.ask(power(1)) == 68570


def test_one_function_can_fail(driver: FakeDriver, probe: Probe) -> None:
    """A code for one function, named with or without its version suffix."""
    driver.fail(1, 999, "nvmlDeviceGetMemoryInfo")
    assert probe.error("nvmlDeviceGetMemoryInfo(gpu(1), nvmlMemory_v2)") == 999
    assert probe.ask(power(1)) == 68570
    driver.recover(1, "nvmlDeviceGetMemoryInfo")
    assert probe.ask("nvmlDeviceGetMemoryInfo(gpu(1)).total") == 81559 * 2**20


def test_a_hanging_gpu_leaves_the_others_free(
    driver: FakeDriver, probe: Probe, entered: Entered
) -> None:
    """A call on GPU 3 stands still; GPU 0 answers meanwhile; released, the call returns."""
    probe.ask("keep('g', gpu(3))")
    driver.hang(3)
    stuck = probe.start("nvmlDeviceGetPowerUsage(kept['g'])")
    entered("nvmlDeviceGetPowerUsage", 1)
    for _ in range(100):
        assert probe.ask(power(0)) == 68570
    assert not stuck.done()
    driver.release(3)
    assert stuck.result(TIMEOUT) == 68570


def test_one_function_of_one_gpu_can_hang(
    driver: FakeDriver, probe: Probe, entered: Entered
) -> None:
    """Field batches of GPU 1 stand still, its other calls do not."""
    driver.hang(1, "nvmlDeviceGetFieldValues")
    stuck = probe.start("fields(gpu(1), 185)")
    entered("nvmlDeviceGetFieldValues", 1)
    assert probe.ask(power(1)) == 68570
    assert probe.ask("fields(gpu(0), 185)") == [[0, 1, 68570]]
    assert not stuck.done()
    driver.release(1)
    assert stuck.result(TIMEOUT) == [[0, 1, 68570]]


def test_the_whole_driver_can_hang(driver: FakeDriver, probe: Probe, entered: Entered) -> None:
    """The global lock: calls on every GPU, event waits and nvmlInit of another process."""
    probe.ask("[keep(i, gpu(i)) for i in range(8)]")
    probe.ask("keep('set', nvmlEventSetCreate())")
    driver.hang("all")
    with Probe(driver.env()) as another:
        stuck = [probe.start(f"nvmlDeviceGetPowerUsage(kept[{i}])") for i in range(8)]
        waiting = probe.start("nvmlEventSetWait_v2(kept['set'], 0)")
        starting = another.start("nvmlInit()")
        entered("nvmlDeviceGetPowerUsage", 8)
        entered("nvmlEventSetWait_v2", 1)
        entered("nvmlInitWithFlags", 2)
        assert not any(future.done() for future in [*stuck, waiting, starting])
        driver.release()
        assert [future.result(TIMEOUT) for future in stuck] == [68570] * 8
        assert starting.result(TIMEOUT) is None
        with pytest.raises(NvmlError, match="Timeout"):
            waiting.result(TIMEOUT)


def test_a_hanging_call_can_end_in_a_lost_gpu(
    driver: FakeDriver, probe: Probe, entered: Entered
) -> None:
    """What a hanging call answers is what holds when it returns."""
    probe.ask("keep('g', gpu(3))")
    driver.hang(3)
    stuck = probe.start("nvmlDeviceGetPowerUsage(kept['g'])")
    entered("nvmlDeviceGetPowerUsage", 1)
    with driver.batch():
        driver.lose(3)
        driver.release(3)
    with pytest.raises(NvmlError) as raised:
        stuck.result(TIMEOUT)
    assert raised.value.code == 15


def test_init_can_hang(driver: FakeDriver, entered: Entered) -> None:
    """Only nvmlInit stands still, whichever of its names is called."""
    driver.hang("all", "nvmlInit")
    with Probe(driver.env()) as probe:
        starting = probe.start("nvmlInit()")
        entered("nvmlInitWithFlags", 1)
        assert not starting.done()
        driver.release()
        assert starting.result(TIMEOUT) is None
        assert probe.ask(power(0)) == 68570


@pytest.mark.parametrize("code", [9, 18])
def test_init_can_fail_and_later_succeed(driver: FakeDriver, code: int) -> None:
    """Driver not loaded, or another version than the library; then it is there."""
    driver.fail_init(code)
    with Probe(driver.env()) as probe:
        assert probe.error("nvmlInit()") == code
        assert probe.error("nvmlDeviceGetCount()") == 1
        driver.recover()
        probe.ask("nvmlInit()")
        assert probe.ask("nvmlDeviceGetCount()") == 8


def test_calls_can_be_slow(driver: FakeDriver, probe: Probe) -> None:
    """A slow GPU takes at least its time for each call; PCIe throughput always 20 ms."""
    timed = "[__import__('time').monotonic(), {}, __import__('time').monotonic()]"
    probe.ask("[keep(i, gpu(i)) for i in range(2)]")
    driver.slow(0, 80)
    start, _, end = probe.ask(timed.format("nvmlDeviceGetPowerUsage(kept[0])"))
    assert end - start >= 0.08
    start, _, end = probe.ask(timed.format("nvmlDeviceGetPcieThroughput(kept[1], 0)"))
    assert end - start >= 0.02
    driver.slow("all", 40, "nvmlDeviceGetFieldValues")
    start, _, end = probe.ask(timed.format("fields(kept[1], 185)"))
    assert end - start >= 0.04


def test_a_call_can_kill_its_process_once(driver: FakeDriver, probe: Probe) -> None:
    """SIGSEGV in the driver; the next process finds it working again."""
    driver.crash(2)
    assert probe.ask(power(1)) == 68570
    probe.start(power(2))
    assert probe.exit_status() == -signal.SIGSEGV
    with Probe(driver.env()) as restarted:
        restarted.ask("nvmlInit()")
        assert restarted.ask(power(2)) == 68570


def test_a_crash_can_repeat(driver: FakeDriver) -> None:
    """A process that is started again dies again until the fault is taken back."""
    driver.crash("all", "nvmlInit", once=False)
    for _ in range(2):
        with Probe(driver.env()) as probe:
            probe.start("nvmlInit()")
            assert probe.exit_status() == -signal.SIGSEGV
    driver.recover()
    with Probe(driver.env()) as probe:
        probe.ask("nvmlInit()")


@pytest.mark.newest_binding
def test_a_struct_version_can_be_refused(driver: FakeDriver, probe: Probe) -> None:
    """An older driver: version 3 of the fabric struct answers 25, version 2 works."""
    ask = (
        "struct_of(nvmlDeviceGetGpuFabricInfoV, gpu(0),"
        " 'nvmlGpuFabricInfo_v{0}_t', nvmlGpuFabricInfo_v{0}).state"
    )
    driver.refuse_version("nvmlDeviceGetGpuFabricInfoV", 0x3000028)
    assert probe.error(ask.format(3)) == 25
    assert probe.ask(ask.format(2)) == 3


@pytest.mark.newest_binding
def test_symbols_can_be_missing(tmp_path: Path) -> None:
    """A library built without a function: pynvml raises FunctionNotFound (13)."""
    omit = ["nvmlDeviceGetMarginTemperature", "nvmlGpmQueryDeviceSupport"]
    library = build_library(tmp_path / "old", omit=omit)
    driver = FakeDriver(tmp_path / "driver", profiles.h100(1), library=library)
    with Probe(driver.env()) as probe:
        probe.ask("nvmlInit()")
        assert probe.error("nvmlDeviceGetMarginTemperature(gpu(0))") == 13
        assert probe.error("nvmlGpmQueryDeviceSupport(gpu(0))") == 13
        assert probe.ask(power(0)) == 68570


def test_a_misspelt_symbol_is_noticed(tmp_path: Path) -> None:
    """Omitting a function that does not exist is a mistake in the test, and says so."""
    with pytest.raises(ValueError, match="nvmlDeviceGetMarginTemperatur"):
        build_library(tmp_path, omit=["nvmlDeviceGetMarginTemperatur"])


def test_changes_are_seen_at_once(driver: FakeDriver, probe: Probe) -> None:
    """A call that starts after a change has been written never answers from before it."""
    probe.ask("keep('g', gpu(0))")
    for value in range(300000, 300500):
        driver.set(0, "power_usage", value)
        assert probe.ask("nvmlDeviceGetPowerUsage(kept['g'])") == value


def test_a_hand_written_control_file_needs_no_harness(tmp_path: Path, library: Path) -> None:
    """Without the doorbell a change is seen within milliseconds; no file, no driver."""
    control = tmp_path / "control"
    env = {"FAKENVML_CONTROL": str(control), "LD_LIBRARY_PATH": str(library)}
    with Probe(env) as probe:
        assert probe.error("nvmlInit()") == 9
        control.write_text("gpus 1  # one\n# a comment\n0 power_usage 1000 \n")
        probe.ask("nvmlInit()")
        assert probe.ask(power(0)) == 1000
        control.write_text("gpus 1\n0 power_usage 20000\n")
        deadline = time.monotonic() + TIMEOUT
        while probe.ask(power(0)) != 20000:
            assert time.monotonic() < deadline
