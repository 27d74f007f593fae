"""Who was last seen at which address, through restarts and moves."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from gpumon.model import GpuIdentity, Platform
from gpumon.statedb.boards import SEEN_EVERY, KnownBoard, KnownBoards
from gpumon.statedb.file import MIGRATIONS, StateFile

NOW = 1_700_000_000.0


def board(letter: str, address: str, index: int = 0) -> GpuIdentity:
    """Return a GPU at an address."""
    return GpuIdentity(
        index,
        f"GPU-{letter}",
        "NVIDIA H100",
        "Hopper",
        "165",
        address,
        3,
        "900",
        "96",
        index,
        Platform("1821", 21, 12, 1, 2, "switch"),
    )


def test_a_board_is_known_again_with_all_that_it_said(tmp_path: Path) -> None:
    """Uuid, index, name, serial and the rest, and when it was last seen."""
    state = StateFile(tmp_path / "state.db")
    seen = board("a", "00000000:18:00.0", 2)
    KnownBoards(state).saw([seen], NOW)
    state.close()
    known = KnownBoards(StateFile(tmp_path / "state.db")).at("00000000:18:00.0")
    assert known is not None
    assert (known.identity, known.seen) == (seen, NOW)


def test_a_board_that_moved_is_no_longer_where_it_was(tmp_path: Path) -> None:
    """In memory and in the file; another one may be there now."""
    state = StateFile(tmp_path / "state.db")
    boards = KnownBoards(state)
    boards.saw([board("a", "18"), board("b", "2A")], NOW)
    boards.saw([board("a", "2A")], NOW + 1)
    state.close()
    for known in (boards, KnownBoards(StateFile(tmp_path / "state.db"))):
        assert known.all() == (KnownBoard(board("a", "2A"), NOW + 1),)


@pytest.mark.parametrize("place", ["{", "[]", "7", '{"orbit": 3}', '{"slot": 1, "orbit": 3}'])
def test_a_place_that_cannot_be_read_costs_the_place_only(tmp_path: Path, place: str) -> None:
    """Damaged, or of a later version that says more: the board is known all the same."""
    state = StateFile(tmp_path / "state.db")
    KnownBoards(state).saw([board("a", "18")], NOW)
    state.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db, db:
        db.execute("UPDATE boards SET platform = ?", (place,))
    known = KnownBoards(StateFile(tmp_path / "state.db")).at("18")
    assert known is not None
    assert (known.identity.uuid, known.identity.platform) == ("GPU-a", None)


def test_one_that_does_not_say_who_it_is_is_not_remembered() -> None:
    """What stands for a uuid is nobody's, and a board without an address cannot be found again."""
    boards = KnownBoards(StateFile(None))
    boards.saw([GpuIdentity(0, "unknown:18", pci_bus_id="18"), GpuIdentity(1, "GPU-b")], NOW)
    assert boards.all() == ()


def test_that_it_is_still_there_is_written_now_and_then(tmp_path: Path) -> None:
    """Not at each tick."""
    state = StateFile(tmp_path / "state.db")
    boards = KnownBoards(state)
    for second in range(int(SEEN_EVERY) + 2):
        boards.saw([board("a", "18")], NOW + second)
    known = boards.at("18")
    state.close()
    assert known is not None
    assert known.seen == NOW + SEEN_EVERY


def test_what_an_older_agent_knew_is_taken_up(tmp_path: Path) -> None:
    """It kept the uuid and the index by the kernel's form of the address."""
    before = next(n for n, step in enumerate(MIGRATIONS) if "CREATE TABLE boards" in step)
    with sqlite3.connect(tmp_path / "state.db") as db:
        for script in MIGRATIONS[:before]:
            db.executescript(script)
        db.execute("INSERT INTO gpu_addresses VALUES ('0000:1e:00', 'GPU-1', 1)")
        db.execute(f"PRAGMA user_version = {before}")
    known = KnownBoards(StateFile(tmp_path / "state.db")).at("00000000:1E:00.0")
    assert known is not None
    assert (known.identity.uuid, known.identity.index, known.seen) == ("GPU-1", 1, 0)
