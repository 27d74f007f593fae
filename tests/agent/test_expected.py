"""How many GPUs there should be, remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.agent.expected import ExpectedGpus
from gpumon.model import SourceInfo

NVML = SourceInfo("nvml")
NOW = 1_700_000_000.0
DAY = 86400.0


def test_the_most_of_seven_days_is_expected(tmp_path: Path) -> None:
    """A GPU that is missing is missed for a week, also after a restart."""
    path = tmp_path / "state.db"
    ExpectedGpus(path=path).saw(NVML, 8, NOW)
    expected = ExpectedGpus(path=path)
    expected.saw(NVML, 7, NOW + DAY)
    assert expected.count(NVML, NOW + 6 * DAY) == 8
    assert expected.count(NVML, NOW + 7 * DAY) == 7
    assert expected.count(NVML, NOW + 8 * DAY) is None


def test_a_declared_number_wins(tmp_path: Path) -> None:
    """Whoever says it knows better than what was seen."""
    expected = ExpectedGpus(8, tmp_path / "state.db")
    expected.saw(NVML, 4, NOW)
    assert expected.count(NVML, NOW) == 8


def test_each_source_has_its_own_count(tmp_path: Path) -> None:
    """A demo never mixes with the real machine, nor with another demo."""
    expected = ExpectedGpus(path=tmp_path / "state.db")
    expected.saw(SourceInfo("sim", "8xH100"), 8, NOW)
    expected.saw(SourceInfo("sim", "2xH100"), 2, NOW)
    assert expected.count(SourceInfo("sim", "2xH100"), NOW) == 2
    assert expected.count(NVML, NOW) is None


def test_a_day_in_the_future_does_not_count() -> None:
    """A clock that was wrong once must not expect GPUs for ever."""
    expected = ExpectedGpus()
    expected.saw(NVML, 16, NOW + 4000 * DAY)
    expected.saw(NVML, 8, NOW)
    assert expected.count(NVML, NOW) == 8


def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a warning, kept for whoever wants to know, and a new one begun."""
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database" * 1000)
    ExpectedGpus(path=path).saw(NVML, 8, NOW)
    assert (tmp_path / "state.db.corrupt").read_bytes().startswith(b"not a database")
    assert "set aside" in caplog.text
    assert ExpectedGpus(path=path).count(NVML, NOW) == 8


def test_a_folder_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent runs, and says what to do."""
    file = tmp_path / "file"
    file.write_text("in the way")
    expected = ExpectedGpus(path=file / "state.db")
    expected.saw(NVML, 8, NOW)
    assert expected.count(NVML, NOW) == 8
    assert "--state-dir" in caplog.text
