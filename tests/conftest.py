"""Fixtures of more than one folder: the fake driver library, compiled once, and a machine on it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver, build_library, profiles


def pytest_configure() -> None:
    """Have what tests start heed Ctrl-C: what is started in the background inherits deafness."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the complete library, compiled once."""
    return build_library(tmp_path_factory.mktemp("fakenvml"))


@pytest.fixture
def driver(tmp_path: Path, library: Path) -> Iterator[FakeDriver]:
    """Eight idle H100s; at the end every call returns: a reader that waits is never killed."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(8), library=library)
    yield driver
    driver.recover()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of the dashboards' queries were run, and returned data."""
    passed = terminalreporter.getreports("passed")
    count = sum("query" in dict(report.user_properties) for report in passed)
    if count:
        terminalreporter.write_line(f"{count} queries of dashboards answered with data")
