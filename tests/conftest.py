"""Fixtures of more than one folder: the fake driver library, compiled once, and a machine on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver, build_library, profiles


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the complete library, compiled once."""
    return build_library(tmp_path_factory.mktemp("fakenvml"))


@pytest.fixture
def driver(tmp_path: Path, library: Path) -> FakeDriver:
    """Eight idle H100s."""
    return FakeDriver(tmp_path / "driver", profiles.h100(8), library=library)
