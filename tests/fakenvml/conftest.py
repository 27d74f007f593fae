"""Fixtures: the library compiled once, a driver and a process that looks at it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from . import FakeDriver, build_library, profiles
from .probe import TIMEOUT, Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the complete library, compiled once."""
    return build_library(tmp_path_factory.mktemp("fakenvml"))


@pytest.fixture
def driver(tmp_path: Path, library: Path) -> FakeDriver:
    """Eight idle H100s."""
    return FakeDriver(tmp_path / "driver", profiles.h100(8), library=library)


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
