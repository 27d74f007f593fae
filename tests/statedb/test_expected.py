"""How many GPUs there should be, remembered."""

from __future__ import annotations

from pathlib import Path

from gpumon.model import SourceInfo
from gpumon.statedb.expected import ExpectedGpus
from gpumon.statedb.file import StateFile

NVML = SourceInfo("nvml")
NOW = 1_700_000_000.0
DAY = 86400.0


def test_the_most_of_seven_days_is_expected(tmp_path: Path) -> None:
    """A GPU that is missing is missed for a week, also after a restart."""
    state = StateFile(tmp_path / "state.db")
    ExpectedGpus(None, state).saw(NVML, 8, NOW)
    state.close()
    expected = ExpectedGpus(None, StateFile(tmp_path / "state.db"))
    expected.saw(NVML, 7, NOW + DAY)
    assert expected.count(NVML, NOW + 6 * DAY) == 8
    assert expected.count(NVML, NOW + 7 * DAY) == 7
    assert expected.count(NVML, NOW + 8 * DAY) is None


def test_a_declared_number_wins() -> None:
    """Whoever says it knows better than what was seen."""
    expected = ExpectedGpus(8, StateFile(None))
    expected.saw(NVML, 4, NOW)
    assert expected.count(NVML, NOW) == 8


def test_each_source_has_its_own_count() -> None:
    """A demo never mixes with the real machine, nor with another demo."""
    expected = ExpectedGpus(None, StateFile(None))
    expected.saw(SourceInfo("sim", "8xH100"), 8, NOW)
    expected.saw(SourceInfo("sim", "2xH100"), 2, NOW)
    assert expected.count(SourceInfo("sim", "2xH100"), NOW) == 2
    assert expected.count(NVML, NOW) is None


def test_a_day_in_the_future_does_not_count() -> None:
    """A clock that was wrong once must not expect GPUs for ever."""
    expected = ExpectedGpus(None, StateFile(None))
    expected.saw(NVML, 16, NOW + 4000 * DAY)
    expected.saw(NVML, 8, NOW)
    assert expected.count(NVML, NOW) == 8


def test_gpus_that_are_passed_through_are_not_expected_here() -> None:
    """Whether or not who declared the number had counted them."""
    expected = ExpectedGpus(None, StateFile(None))
    expected.saw(NVML, 8, NOW)
    assert expected.count(NVML, NOW, 2) == 6
    for declared, count in ((8, 6), (6, 6), (7, 6), (9, 7)):
        given = ExpectedGpus(declared, StateFile(None))
        given.saw(NVML, 8, NOW)
        assert given.count(NVML, NOW, 2) == count
