"""Whose the memory of a GPU is, however long the driver's entries are."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.sources.nvml.library import Code, Door, FaultError, ProcessEntry, _entries
from gpumon.sources.nvml.processes import ProcessReader
from tests.fakenvml import FakeDriver, profiles
from tests.support.clock import FakeClock

HELD = "101:1048576 102:- 103:3145728:1:0 104:4194304"


@pytest.mark.parametrize("entry_bytes", [16, 24, 32])
def test_each_process_has_its_memory(tmp_path: Path, library: Path, entry_bytes: int) -> None:
    """Entries of 16, 24 and 32 bytes, as drivers have written them to one and the same call."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(1), library=library)
    with driver.batch():
        driver.set(0, "processes.compute", HELD)
        driver.set(0, "processes.entry_bytes", entry_bytes)
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", "status", "nvml", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **driver.env()},
    )
    held = json.loads(done.stdout)["gpus"][0]["held_by"]
    assert [(one["pid"], one["memory_bytes"]) for one in held] == [
        (101, 1_048_576),
        (102, None),
        (103, 3_145_728),
        (104, 4_194_304),
    ]
    instances = [one["gpu_instance"] for one in held]
    assert instances == [None, None, None if entry_bytes == 16 else 1, None]


PROCESSES = st.lists(
    st.builds(
        ProcessEntry,
        pid=st.integers(1, 2**22),
        memory_bytes=st.none() | st.integers(0, 2**40),
        gpu_instance=st.none() | st.integers(0, 13),
        compute_instance=st.none() | st.integers(0, 7),
    ),
    min_size=1,
    max_size=40,
)


@given(processes=PROCESSES, size=st.sampled_from([16, 24, 32]), room=st.integers(0, 5))
def test_the_end_of_a_list_says_how_long_its_entries_are(
    processes: list[ProcessEntry], size: int, room: int
) -> None:
    """Any number of processes, with any room left behind them."""
    written = b""
    for one in processes:
        pid, memory, *instances = (2**64 - 1 if n is None else n for n in one)
        entry = pid.to_bytes(8, "little") + memory.to_bytes(8, "little")
        entry += b"".join((n % 2**32).to_bytes(4, "little") for n in instances)
        written += entry[:size] + bytes(max(0, size - len(entry)))
    unwritten = bytes([0xA5]) * (32 * (len(processes) + room) - len(written))
    lacking = {"gpu_instance": None, "compute_instance": None} if size == 16 else {}
    assert _entries("list", written + unwritten, len(processes)) == [
        one._replace(**lacking) for one in processes
    ]


LIST = "nvmlDeviceGetComputeRunningProcesses_v3"
ENTRY = (7).to_bytes(8, "little") + (4096).to_bytes(8, "little") + bytes(8)


class Lister(Door):
    """A driver that counts ``first`` processes, and at last writes something and counts again."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, first: int, written: bytes, last: int
    ) -> None:
        """Stand in for the driver's library; what is not written stays as the caller left it."""
        super().__init__(FakeClock())
        self.last = (written, last)
        self.first = first
        monkeypatch.setattr(pynvml, "nvmlLib", SimpleNamespace(**{LIST: print}))

    def timed(self, function: str, target: Callable[..., Any], *args: Any) -> Any:
        """Answer the call that asks for the number, and the one that asks for the list."""
        _, count, buffer = args
        if buffer is None:
            count._obj.value = self.first
            return int(Code.INSUFFICIENT_SIZE)
        written, count._obj.value = self.last
        ctypes.memmove(buffer, written, len(written))
        return int(Code.SUCCESS)


@pytest.mark.parametrize(
    ("written", "last"),
    [
        pytest.param((ENTRY * 2).ljust(32 * 7, b"\0"), 2, id="it clears the buffer first"),
        pytest.param(ENTRY * 2, 8, id="it counts more than there is room for"),
        pytest.param(ENTRY * 2, 2**32 - 1, id="it counts with all bits set"),
        pytest.param(ENTRY, 2, id="it writes fewer than it counts"),
        pytest.param(b"", 2, id="it writes nothing"),
    ],
)
def test_a_list_that_cannot_be_read_costs_this_value_only(
    monkeypatch: pytest.MonkeyPatch, written: bytes, last: int
) -> None:
    """Not the GPU, and no process is made up of bytes of another."""
    door = Lister(monkeypatch, 2, written, last)
    with pytest.raises(FaultError, match=f"{last} processes .* impossible") as caught:
        door.processes(LIST, "handle")
    assert caught.value.code == Code.UNKNOWN


@pytest.mark.parametrize("written", [b"", ENTRY, bytes(32 * 7)])
def test_a_list_of_no_process_is_empty_whatever_was_written(
    monkeypatch: pytest.MonkeyPatch, written: bytes
) -> None:
    """The last one ended between the two calls."""
    assert Lister(monkeypatch, 2, written, 0).processes(LIST, "handle") == []


def test_a_driver_that_always_wants_more_room_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread would never read the GPU again."""
    door = Lister(monkeypatch, 2, ENTRY, 1)
    monkeypatch.setattr(door, "timed", lambda *_: int(Code.INSUFFICIENT_SIZE))
    with pytest.raises(FaultError, match="more processes than"):
        door.processes(LIST, "handle")


class Lists(Door):
    """A GPU whose process lists are given; a code is what a call fails with."""

    def __init__(self, **lists: list[ProcessEntry] | Code) -> None:
        """Have these lists by kind, and no other."""
        super().__init__(FakeClock())
        self.lists = lists

    def processes(self, function: str, handle: Any) -> list[ProcessEntry]:
        """Return a list by its kind."""
        kind = next(kind for kind in ("MPS", "Graphics", "Compute") if kind in function)
        found = self.lists.get(kind, Code.NOT_SUPPORTED)
        if isinstance(found, Code):
            raise FaultError(found, function, "no")
        return found

    def get(self, function: str, handle: Any, *args: Any) -> Any:
        """Know nobody's share."""
        raise FaultError(Code.NOT_SUPPORTED, function, "no")


ONE = ProcessEntry(7, 4096, None, None)


def test_what_one_list_cannot_say_makes_the_processes_unknown() -> None:
    """Those of the other lists are not all, and none of them is not 0; it may be read later."""
    door = Lists(Compute=Code.UNKNOWN, Graphics=[])
    reader = ProcessReader(door, "handle")
    assert reader.read() is None
    door.lists["Compute"] = [ONE]
    assert [one.pid for one in reader.read() or ()] == [7]


def test_a_list_that_a_gpu_does_not_have_hides_no_other() -> None:
    """Neither from the start nor later, as when the GPU is divided."""
    door = Lists(Compute=[ONE], Graphics=[])
    reader = ProcessReader(door, "handle")
    door.lists["Graphics"] = Code.NOT_SUPPORTED
    assert [one.pid for one in reader.read() or ()] == [7]
