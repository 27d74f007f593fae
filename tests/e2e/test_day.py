"""A day of both processes: nothing is left behind as GPUs, instances and processes come and go."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gpumon.reader.command import reader_environment
from tests.fakenvml import FakeDriver, profiles
from tests.support.servers import ROOT

pytestmark = pytest.mark.e2e

DAY_SECONDS = 86_400
INTERVAL = 4.0
GROWTH_BYTES = 3 * 512 * 1024
"""What either process may grow by after its first hour."""


def start(role: str, sock: socket.socket, *args: str, env: dict[str, str]) -> subprocess.Popen[str]:
    """Start one of the two processes on its end of the socket."""
    argv = [sys.executable, "-m", "tests.e2e.day", role, str(sock.fileno()), *args]
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        env={**os.environ, **env},
        pass_fds=[sock.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def happen(driver: FakeDriver, half_hour: int) -> None:
    """Have something happen to the driver in this half hour, and be over in another."""
    with driver.batch():
        driver.set(
            0, "processes.compute", " ".join(f"{half_hour * 100 + n}:1024" for n in range(9))
        )
        if half_hour % 4 == 0:
            driver.lose(1)
        if half_hour % 4 == 1:
            driver.recover()
        # The fullest layout first: what it takes is there in the first hour already.
        count = (6 - half_hour % 7) * (half_hour % 3 != 1)
        driver.set(0, "mig_mode.current", int(count > 0))
        for position in range(count):
            unit = f"0/{position}"
            driver.set(unit, "gpu_instance_id", position + 1)
            driver.set(unit, "compute_instance_id", 0)
            driver.set(unit, "uuid", f"MIG-{half_hour}-{position}")
            driver.set(unit, "name", "NVIDIA H100 80GB HBM3 MIG 1g.10gb")
            driver.set(unit, "memory.total", 1 << 30)
            driver.set(unit, "attributes.multiprocessors", 16)
            driver.set(unit, "gpm.2", 50)
        for position in range(count, 7):
            driver.unset(f"0/{position}", "gpu_instance_id")
        for gpu in (0, 1):
            driver.raise_xid(gpu, (13, 31, 43, 63)[half_hour % 4])
    if half_hour % 12 == 11:
        driver.reload()


@pytest.mark.timeout(600)
def test_a_day_leaves_nothing_behind(
    tmp_path: Path, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPUs lost, MIG layouts, jobs, processes, Xids, driver reloads: memory, threads, files."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(2), library=library)
    ours, theirs = socket.socketpair()
    ticks = str(round(DAY_SECONDS / INTERVAL))
    reader = start(
        "reader", ours, ticks, str(INTERVAL), env={**driver.env(), **reader_environment()}
    )
    server = start("server", theirs, str(tmp_path), env={})
    ours.close()
    theirs.close()
    first: list[tuple[int, int, int]] = []
    try:
        both = [psutil.Process(process.pid) for process in (reader, server)]
        assert reader.stdout is not None
        assert server.stdout is not None
        series = 0
        for half_hour in range(round(DAY_SECONDS / 1800)):
            assert reader.stdout.readline(), "the reader ended early"
            now = [(p.memory_info().rss, p.num_threads(), p.num_fds()) for p in both]
            if half_hour == 1:
                first = now
            happen(driver, half_hour)
            _go_on(reader)
        series = int(server.stdout.readline())
        last = [(p.memory_info().rss, p.num_threads(), p.num_fds()) for p in both[1:]]
    finally:
        driver.recover()
        _go_on(server)
        reader.communicate(timeout=60)
        server.communicate(timeout=60)
    grown = [end[0] - begin[0] for begin, end in zip(first, [now[0], *last], strict=True)]
    with capsys.disabled():
        sys.stdout.write(
            f"\na day: memory {'/'.join(f'{n / 1e6:+.2f}' for n in grown)} MB after the first hour "
            f"(reader/server), {series} lines at its end, threads and files {now[0][1:]}\n"
        )
    assert (reader.returncode, server.returncode) == (0, 0)
    assert all(growth < GROWTH_BYTES for growth in grown)
    # The event thread opens a descriptor while it waits (the fake library's own).
    assert now[0][1] == first[0][1]
    assert abs(now[0][2] - first[0][2]) <= 1
    assert last[0][1:] == first[1][1:]
    assert series < 1500


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
