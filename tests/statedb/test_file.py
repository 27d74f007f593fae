"""The agent's memory: written in order, behind its back, and never in its way."""

from __future__ import annotations

import contextlib
import sqlite3  # the tests look at the tables
import threading
from pathlib import Path

import pytest

from gpumon.sources.spec import SourceSpec
from gpumon.statedb import connection
from gpumon.statedb import file as statefile
from gpumon.statedb.file import MIGRATIONS, StateFile, state_file_name
from tests.support.servers import wait_for


def put(name: str, value: str) -> statefile.Write:
    """Return a change that writes a fact."""

    def write(db: sqlite3.Connection) -> None:
        db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    return write


def facts(db: sqlite3.Connection) -> dict[str, str]:
    """Return all facts."""
    return dict(db.execute("SELECT name, value FROM facts"))


def read(path: Path) -> dict[str, str]:
    """Return the facts of a file."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return facts(db)


def test_changes_are_written_in_order_and_found_again(tmp_path: Path) -> None:
    """The folder is made; the last change of a fact is the one that is there."""
    path = tmp_path / "new" / "state.db"
    state = StateFile(path)
    for number in range(100):
        state.save(put("a", str(number)))
    state.close()
    nothing: dict[str, str] = {}
    assert StateFile(path).load(facts, nothing) == {"a": "99"}


def test_a_simulation_has_a_file_of_its_own() -> None:
    """It never mixes with the real machine, nor with another simulation."""
    names = {
        state_file_name(SourceSpec.parse(text))
        for text in ("nvml", "sim:8xH100", "sim:8xH100,seed=2", "replay:a.csv", "replay:a/csv")
    }
    assert len(names) == 5
    assert state_file_name(SourceSpec.parse("nvml")) == "state.db"
    assert all("/" not in name for name in names)


def test_a_file_of_the_first_version_is_carried_on(tmp_path: Path) -> None:
    """It has one table and no version number."""
    path = tmp_path / "state.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE gpus_seen "
            "(source TEXT, day INTEGER, count INTEGER, PRIMARY KEY (source, day))"
        )
        db.execute("INSERT INTO gpus_seen VALUES ('nvml', 1, 8)")
    state = StateFile(path)
    nothing: dict[str, str] = {}
    assert state.load(facts, nothing) == {}
    assert state.load(lambda db: db.execute("SELECT count FROM gpus_seen").fetchall(), []) == [(8,)]
    assert state.load(lambda db: db.execute("PRAGMA user_version").fetchone(), (0,)) == (
        len(MIGRATIONS),
    )


def test_a_file_of_a_newer_version_is_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a later gpumon wrote is not damaged by an earlier one."""
    path = tmp_path / "state.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 999")
    state = StateFile(path)
    state.save(put("a", "1"))
    state.close()
    assert "newer version" in caplog.text
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a warning, kept for whoever wants to know, and a new one begun."""
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database" * 1000)
    state = StateFile(path)
    state.save(put("a", "1"))
    state.close()
    assert (tmp_path / "state.db.corrupt").read_bytes().startswith(b"not a database")
    assert "set aside" in caplog.text
    assert read(path) == {"a": "1"}


def test_a_folder_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent runs, and says what to do."""
    file = tmp_path / "file"
    file.write_text("in the way")
    state = StateFile(file / "state.db")
    state.save(put("a", "1"))
    state.close()
    assert state.load(facts, {"default": ""}) == {"default": ""}
    assert "--state-dir" in caplog.text


def test_a_folder_that_can_be_made_later_is_used_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was there that could be written over, so what was learnt meanwhile is written."""
    monkeypatch.setattr(statefile, "RETRY_SECONDS", 0.02)
    file = tmp_path / "file"
    file.write_text("in the way")
    state = StateFile(file / "state.db")
    state.save(put("a", "1"))
    file.unlink()
    written = threading.Event()
    state.save(lambda _: written.set())
    assert written.wait(10)
    state.close()
    assert read(file / "state.db") == {"a": "1"}


def test_a_file_that_is_there_but_cannot_be_opened_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that does not know what it holds would replace counts by smaller ones."""
    path = tmp_path / "state.db"
    before = StateFile(path)
    before.save(put("a", "1"))
    before.close()
    with monkeypatch.context() as patched:
        patched.setattr(statefile, "_migrate", _locked)
        state = StateFile(path)
    state.save(put("a", "0"))
    state.close()
    assert read(path) == {"a": "1"}


def _locked(_: Path) -> None:
    raise sqlite3.OperationalError("database is locked")


def test_damage_within_a_file_is_found_when_it_is_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A page of a table, not the first: later each write would fail on it."""
    path = tmp_path / "state.db"
    state = StateFile(path)
    for number in range(2000):
        state.save(put(str(number), "x" * 50))
    state.close(20)
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xa5" * (len(whole) - 8192))
    state = StateFile(path)
    state.save(put("a", "1"))
    state.close()
    assert "set aside" in caplog.text
    assert (tmp_path / "state.db.corrupt").exists()
    assert read(path) == {"a": "1"}


def test_what_cannot_be_written_now_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process holds the file (or the disk is full): nothing is lost."""
    monkeypatch.setattr(statefile, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(connection, "LOCK_SECONDS", 0.01)
    path = tmp_path / "state.db"
    state = StateFile(path)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        state.save(put("a", "1"))
        state.save(put("b", "2"))
        wait_for(lambda: state._failing, 5, "the file to be held")
        other.rollback()
    state.close(5)
    assert read(path) == {"a": "1", "b": "2"}
    assert caplog.text.count("cannot be written") == 1


def test_a_change_that_can_never_be_written_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """A mistake of ours costs one change."""
    path = tmp_path / "state.db"
    state = StateFile(path)

    def wrong(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO facts VALUES ('a', '1')")
        db.execute("INSERT INTO facts VALUES ('a', '1')")

    def too_large(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO facts VALUES ('a', ?)", (10**30,))  # OverflowError

    state.save(wrong)
    state.save(too_large)
    state.save(put("b", "2"))
    state.close()
    assert read(path) == {"b": "2"}


def test_saving_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """A write that stands still holds nobody up, and closing gives up on it."""
    state = StateFile(tmp_path / "state.db")
    begun, go_on = threading.Event(), threading.Event()

    def stuck(db: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(20)

    state.save(stuck)
    assert begun.wait(5)
    state.save(put("a", "1"))
    state.close(patience=0.01)
    go_on.set()
