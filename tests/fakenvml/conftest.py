"""Fixtures: a process that looks at the driver, and a way to wait for its calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from .probe import TIMEOUT, Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from . import FakeDriver


@pytest.fixture
def probe(driver: FakeDriver) -> Iterator[Probe]:
    """A process that has initialised NVML."""
    with Probe(driver.env()) as running:
        running.ask("nvmlInit()")
        yield running


@pytest.fixture
def entered(driver: FakeDriver) -> Callable[[str, int], None]:
    """Waits until a C function has been called this often: the calls are then inside it."""

    def wait(function: str, count: int) -> None:
        deadline = time.monotonic() + TIMEOUT
        while driver.calls().get(function, 0) < count:
            assert time.monotonic() < deadline, driver.calls()
            time.sleep(0.001)

    return wait
