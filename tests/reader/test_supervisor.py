"""The reader as the server sees it: heard, replaced when it dies, never waited for."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpumon.errors import UsageError
from gpumon.model import Snapshot
from gpumon.reader.supervisor import MOST_READERS, Supervisor
from gpumon.sources.spec import SourceSpec


class Heard:
    """Implements Listener: keeps what it is told, and wakes who waits for it."""

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.snapshots: list[Snapshot] = []
        self.reasons: list[str] = []
        self.restarts = 0
        self._news = asyncio.Event()

    def snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        self.snapshots.append(snapshot)
        self._news.set()

    def gone(self, reason: str) -> None:
        """Keep why there is no reader."""
        self.reasons.append(reason)
        self._news.set()

    def restarted(self) -> None:
        """Count a restart."""
        self.restarts += 1
        self._news.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until a condition holds, looking each time there is news."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            self._news.clear()
            left = deadline - asyncio.get_running_loop().time()
            await asyncio.wait_for(self._news.wait(), left)


SIMULATED = SourceSpec.parse("sim:2xH100,workload=idle")


def run(body: Callable[[Heard], Any]) -> None:
    """Run a coroutine function with a listener."""

    async def main() -> None:
        await body(Heard())

    asyncio.run(main())


def test_a_reader_is_heard_at_its_interval() -> None:
    """And ends by itself when the server lets go."""

    async def body(heard: Heard) -> None:
        supervisor = Supervisor(SIMULATED, 0.1, heard)
        task = asyncio.create_task(supervisor.run())
        await heard.until(lambda: len(heard.snapshots) >= 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await supervisor.close()
        assert supervisor.pid is None
        times = [snapshot.time for snapshot in heard.snapshots]
        assert times == sorted(times)
        assert len(heard.snapshots[0].gpus) == 2

    run(body)


def test_a_reader_that_dies_is_replaced() -> None:
    """As by SIGSEGV in the driver; it is counted, and readings go on."""

    async def body(heard: Heard) -> None:
        supervisor = Supervisor(SIMULATED, 0.1, heard)
        task = asyncio.create_task(supervisor.run())
        await heard.until(lambda: bool(heard.snapshots))
        dead = supervisor.pid
        assert dead is not None
        os.kill(dead, signal.SIGSEGV)
        await heard.until(lambda: heard.restarts == 1)
        assert heard.reasons == ["the reader ended unexpectedly (signal 11)"]
        before = len(heard.snapshots)
        await heard.until(lambda: len(heard.snapshots) > before)
        assert supervisor.pid != dead
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await supervisor.close()

    run(body)


def test_a_reader_that_cannot_be_started_is_tried_again() -> None:
    """No process to be had just now, as under a limit: the server goes on and tries later."""
    attempts: list[int] = []

    def start(*args: Any, **settings: Any) -> subprocess.Popen[bytes]:
        """Fail once."""
        attempts.append(1)
        if len(attempts) == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return subprocess.Popen(*args, **settings)

    async def body(heard: Heard) -> None:
        supervisor = Supervisor(SIMULATED, 0.1, heard, popen=start)
        task = asyncio.create_task(supervisor.run())
        await heard.until(lambda: bool(heard.snapshots))
        assert heard.reasons == ["the reader cannot be started (Resource temporarily unavailable)"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await supervisor.close()

    run(body)


def test_what_the_source_refuses_is_raised_to_the_user() -> None:
    """A wrong model is the user's to mend, not a reader to start again."""

    async def body(heard: Heard) -> None:
        supervisor = Supervisor(SourceSpec.parse("sim:8xH1000"), 0.1, heard)
        with pytest.raises(UsageError, match="H100"):
            await supervisor.run()
        await supervisor.close()
        assert not heard.snapshots

    run(body)


def test_silent_readers_are_reported_and_never_more_than_three(tmp_path: Path) -> None:
    """A driver that stands still: told again and again, fresh readers tried, none killed."""
    started: list[subprocess.Popen[bytes]] = []
    mute = tmp_path / "mute.py"
    mute.write_text("import sys; sys.stdin.read()\n")

    def start_mute(_argv: list[str], **settings: Any) -> subprocess.Popen[bytes]:
        """Start a process that holds its socket and says nothing, until the test lets it."""
        del settings["stdin"]
        process = subprocess.Popen([sys.executable, str(mute)], stdin=subprocess.PIPE, **settings)
        started.append(process)
        return process

    async def body(heard: Heard) -> None:
        supervisor = Supervisor(SIMULATED, 0.02, heard, fresh_reader=0.1, popen=start_mute)
        task = asyncio.create_task(supervisor.run())
        await heard.until(lambda: len(heard.reasons) == MOST_READERS - 1)
        await heard.until(lambda: len(started) == MOST_READERS or task.done())
        await asyncio.sleep(1.0)  # a fourth had long been due
        assert len(started) == MOST_READERS
        assert all(process.poll() is None for process in started)
        assert set(heard.reasons) == {"the driver stands still: trying a fresh reader"}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    try:
        run(body)
    finally:
        for process in started:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)
