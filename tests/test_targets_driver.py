"""A driver that a command looks at twice: the second look is of its own time."""

from __future__ import annotations

import os
import time

import pytest

from gpumon.targets.target import open_target
from tests.fakenvml import FakeDriver
from tests.support.servers import wait_for


@pytest.mark.e2e
def test_a_second_look_after_a_long_time_is_no_snapshot_that_waited(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with check --window: a full socket held the snapshots of its first seconds."""
    for name, value in driver.env().items():
        monkeypatch.setitem(os.environ, name, value)
    with open_target("nvml", interval=0.1) as source:
        first = source.read().gpus[0]
        asked = driver.calls().get("nvmlDeviceGetFieldValues", 0)
        ever = [asked]

        def waits() -> bool:
            """Return whether the reader has stopped asking the driver."""
            ever.append(driver.calls()["nvmlDeviceGetFieldValues"])
            return ever[-1] > asked and ever[-1] == ever[-2]

        wait_for(waits, 30, "a reader that waits for its socket", every=1.0)
        driver.set(0, "field.185", 321_000)
        asked_at = time.time()
        second = source.read().gpus[0]
    assert first.power_watts != 321
    assert second.power_watts == 321
    assert second.time > asked_at - 1
