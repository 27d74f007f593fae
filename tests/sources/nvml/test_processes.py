"""Whose the memory of a GPU is, however long the driver's entries are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.sources.nvml.library import ProcessEntry, _entries
from tests.fakenvml import FakeDriver, profiles

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
    assert _entries(written + unwritten, len(processes)) == [
        one._replace(**lacking) for one in processes
    ]
