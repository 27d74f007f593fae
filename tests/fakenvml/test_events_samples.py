"""Event sets, and the driver's own buffer of samples."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from .driver import EVENT_GPU_RECOVERY_ACTION, EVENT_MIG_CONFIG_CHANGE, EVENT_XID
from .probe import TIMEOUT, NvmlError, Probe

if TYPE_CHECKING:
    from . import FakeDriver

WAIT = "nvmlEventSetWait_v2(kept['{0}'], {1})"


def take(probe: Probe, name: str = "set", milliseconds: int = 20000) -> list[int]:
    """GPU index, type and data of the next event."""
    call = WAIT.format(name, milliseconds)
    found: list[int] = probe.ask(
        f"[[nvmlDeviceGetIndex(e.device), e.eventType, e.eventData] for e in [{call}]][0]"
    )
    return found


def register(probe: Probe, name: str = "set", gpus: int = 8, mask: int = EVENT_XID) -> None:
    """An event set of that name, registered for the first GPUs."""
    probe.ask(f"keep('{name}', nvmlEventSetCreate())")
    probe.ask(f"[nvmlDeviceRegisterEvents(gpu(i), {mask}, kept['{name}']) for i in range({gpus})]")


def test_an_xid_wakes_a_waiting_thread(driver: FakeDriver, probe: Probe) -> None:
    """A wait that began before the Xid returns it, with GPU and code."""
    register(probe)
    waiting = probe.start(
        f"[[nvmlDeviceGetIndex(e.device), e.eventType, e.eventData, e.gpuInstanceId]"
        f" for e in [{WAIT.format('set', 20000)}]][0]"
    )
    driver.raise_xid(5, 79)
    assert waiting.result(TIMEOUT) == [5, EVENT_XID, 79, 2**32 - 1]


def test_events_come_once_and_in_order(driver: FakeDriver, probe: Probe) -> None:
    """Each is delivered once to each set that existed before it; then the wait times out."""
    register(probe, "set")
    register(probe, "other")
    driver.raise_xid(1, 48)
    driver.raise_xid(2, 63)
    register(probe, "late")
    for name in ("set", "other"):
        assert take(probe, name) == [1, EVENT_XID, 48]
        assert take(probe, name) == [2, EVENT_XID, 63]
    for name in ("set", "other", "late"):
        assert probe.error(WAIT.format(name, 0)) == 10


def test_only_what_was_registered_is_delivered(driver: FakeDriver, probe: Probe) -> None:
    """Types and GPUs nobody asked for are lost to this set."""
    register(probe, gpus=2)
    driver.raise_xid(7, 79)
    driver.raise_event(0, EVENT_MIG_CONFIG_CHANGE)
    driver.raise_xid(0, 13)
    assert take(probe) == [0, EVENT_XID, 13]


def test_other_event_types(driver: FakeDriver, probe: Probe) -> None:
    """GPU recovery action and MIG reconfiguration arrive as their own types."""
    register(probe, mask=EVENT_GPU_RECOVERY_ACTION | EVENT_MIG_CONFIG_CHANGE)
    driver.raise_event(4, EVENT_GPU_RECOVERY_ACTION, 1)
    driver.raise_event(3, EVENT_MIG_CONFIG_CHANGE)
    assert take(probe) == [4, EVENT_GPU_RECOVERY_ACTION, 1]
    assert take(probe) == [3, EVENT_MIG_CONFIG_CHANGE, 0]


def test_one_unsupported_type_registers_none(driver: FakeDriver, probe: Probe) -> None:
    """The trap of nvmlDeviceRegisterEvents: the whole mask is refused."""
    driver.set(0, "supported_event_types", EVENT_XID)
    assert probe.ask("nvmlDeviceGetSupportedEventTypes(gpu(0))") == EVENT_XID
    probe.ask("keep('set', nvmlEventSetCreate())")
    assert probe.error("nvmlDeviceRegisterEvents(gpu(0), 0x4008, kept['set'])") == 3
    driver.raise_xid(0, 79)
    assert probe.error(WAIT.format("set", 0)) == 10


def test_a_wait_takes_its_time_out(driver: FakeDriver, probe: Probe) -> None:
    """No event: TIMEOUT (10), not before the time; writes to the control file do not end it."""
    register(probe)
    start = time.monotonic()
    waiting = probe.start(WAIT.format("set", 150))
    driver.set(0, "power_usage", 1)
    with pytest.raises(NvmlError, match="Timeout"):
        waiting.result(TIMEOUT)
    assert time.monotonic() - start >= 0.15


def test_a_freed_set_is_refused(probe: Probe) -> None:
    """Waiting on a set that was freed is an invalid argument."""
    probe.ask("keep('set', nvmlEventSetCreate())")
    probe.ask("nvmlEventSetFree(kept['set'])")
    assert probe.error(WAIT.format("set", 0)) == 2
    assert probe.error("nvmlEventSetFree(kept['set'])") == 2


def test_a_set_from_before_a_reload_is_dead(driver: FakeDriver, probe: Probe) -> None:
    """A thread that waits while the driver is reloaded gets UNINITIALIZED, at once."""
    register(probe)
    waiting = probe.start(WAIT.format("set", 20000))
    while driver.calls().get("nvmlEventSetWait_v2", 0) < 1:
        assert not waiting.done()
    driver.reload()
    with pytest.raises(NvmlError) as raised:
        waiting.result(TIMEOUT)
    assert raised.value.code == 1


def test_samples_newer_than_the_last_seen(driver: FakeDriver, probe: Probe) -> None:
    """Exactly the samples after the given time stamp; NOT_FOUND (6) when there are none."""
    driver.set(0, "samples.0", "1000:330000 101000:331000 201000:332000")
    assert probe.ask("samples(gpu(0), 0, 0)") == [
        [1000, 330000],
        [101000, 331000],
        [201000, 332000],
    ]
    assert probe.ask("samples(gpu(0), 0, 101000)") == [[201000, 332000]]
    assert probe.error("samples(gpu(0), 0, 201000)") == 6
    assert probe.error("samples(gpu(0), 1, 0)") == 3


def test_samples_that_keep_coming(driver: FakeDriver, probe: Probe) -> None:
    """``auto``: one per period up to now, at most 120, the value following from the time."""
    period, values = 20000, [300000, 310000, 320000]
    driver.set(0, "samples.0", f"auto:{period}:" + ",".join(map(str, values)))
    found = probe.ask("samples(gpu(0), 0, 0)")
    now = time.time_ns() // 1000
    assert len(found) == 120
    assert now - 2_000_000 < found[-1][0] <= now
    for stamp, value in found:
        assert stamp % period == 0
        assert value == values[stamp // period % 3]
    assert all(b[0] - a[0] == period for a, b in pairwise(found))


def test_reading_again_repeats_nothing_and_loses_only_what_left_the_buffer(
    driver: FakeDriver, probe: Probe
) -> None:
    """Polling by the last time stamp yields each sample once, whatever falls between calls.

    Who comes later than the buffer is long (120 samples: here 120 ms) has lost the oldest.
    """
    driver.set(0, "samples.0", "auto:1000:1,2,3,4,5")
    milliseconds = [probe.ask("samples(gpu(0), 0, 0)")[-1][0] // 1000]
    deadline = time.monotonic() + TIMEOUT
    while len(milliseconds) < 200:
        assert time.monotonic() < deadline
        answer = probe.start(f"samples(gpu(0), 0, {milliseconds[-1] * 1000})")
        if (refusal := answer.exception(TIMEOUT)) is not None:
            assert isinstance(refusal, NvmlError)
            assert refusal.code == 6  # NOT_FOUND: nothing new yet
            continue
        oldest_held = time.time_ns() // 1_000_000 - 119  # or an older one: the answer came before
        found = [stamp // 1000 for stamp, _ in answer.result()]
        first = milliseconds[-1] + 1
        assert found[0] == first or first < found[0] <= oldest_held
        assert found == list(range(found[0], found[-1] + 1))
        milliseconds += found
