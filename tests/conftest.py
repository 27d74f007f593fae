"""Fixtures of more than one folder: the fake driver library, compiled once, and a machine on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver, build_library, profiles


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
