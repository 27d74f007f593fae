"""The server's side of the reader: starts it, hears it, and replaces it, but never waits for it.

A reader that died is started again within two seconds. One that stands still may be waiting in
the driver, where it cannot be stopped: its socket is closed, so that it ends by itself should its
call return, and one fresh reader is tried, slowly, and never more than three are alive.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Protocol

from gpumon.model import GpuState, Snapshot
from gpumon.reader import frames
from gpumon.reader.frames import Message, Refusal
from gpumon.sources.spec import SourceSpec

log = logging.getLogger(__name__)

FIRST_RESTART_SECONDS = 0.5
"""Pause before a dead reader is started again; doubles while it keeps dying at once."""

LONGEST_RESTART_SECONDS = 30.0

SILENCE_SECONDS = 5.0
"""A reader answers each tick within a second whatever one GPU does; silent for this long beyond a
tick, it is the driver that stands still."""

FRESH_READER_SECONDS = 60.0
"""How long a reader may be silent before another one is tried."""

MOST_READERS = 3
"""How many may be alive at once; those that stand still count."""

STARTUP_SECONDS = 20.0
"""What a reader may take to start and to probe the GPUs, on top of the silence allowed."""


class Listener(Protocol):
    """Whom the supervisor tells what it hears."""

    def snapshot(self, snapshot: Snapshot) -> None:
        """Take in a snapshot."""
        ...

    def silent(self, seconds: float) -> None:
        """The reader has said nothing for so long; told again and again while it lasts."""
        ...

    def restarted(self) -> None:
        """A reader that had died, or stood still, was replaced."""
        ...


class Supervisor:
    """Keeps one reader going."""

    def __init__(  # noqa: PLR0913 - the patience of each kind is an argument for the tests
        self,
        spec: SourceSpec,
        interval: float,
        listener: Listener,
        *,
        silence: float = SILENCE_SECONDS,
        fresh_reader: float = FRESH_READER_SECONDS,
        startup: float = STARTUP_SECONDS,
        popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
    ) -> None:
        """Prepare to read ``spec`` every ``interval`` seconds; nothing starts before ``run``."""
        self._spec = spec
        self._interval = interval
        self._listener = listener
        self._silence = silence + interval
        self._fresh_reader = fresh_reader
        self._startup = startup
        self._popen = popen
        self._alive: list[subprocess.Popen[bytes]] = []
        self._heard = False

    @property
    def pid(self) -> int | None:
        """The process that is read from, or None where there is none."""
        return self._alive[-1].pid if self._alive else None

    async def run(self) -> None:
        """Read for ever; raises what the source refuses with (a bad file, an unknown model)."""
        pause = FIRST_RESTART_SECONDS
        while True:
            self._heard = False
            await self._one_reader()
            pause = (
                FIRST_RESTART_SECONDS if self._heard else min(2 * pause, LONGEST_RESTART_SECONDS)
            )
            await asyncio.sleep(pause)
            self._listener.restarted()

    async def close(self, patience: float = 3.0) -> None:
        """Give the readers, whose sockets are closed by now, a moment to end; no longer."""
        for _ in range(round(patience / 0.05)):
            self._reap()
            if not self._alive:
                return
            await asyncio.sleep(0.05)
        log.warning("a reader waits in the driver; it ends by itself when its call returns")

    async def _one_reader(self) -> None:
        """Start a reader and hear it until it ends or has to be given up."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._popen(
                [
                    sys.executable,
                    "-m",
                    "gpumon.reader.child",
                    str(theirs.fileno()),
                    str(self._interval),
                    str(self._spec),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self._alive.append(process)
        stream, writer = await asyncio.open_connection(sock=ours)
        try:
            await self._hear(stream)
        finally:
            writer.close()  # the reader takes this as the word to end
            self._reap()

    async def _hear(self, stream: asyncio.StreamReader) -> None:
        """Pass on what the reader says; returns when it died or another one should be tried."""
        loop = asyncio.get_running_loop()
        silent = -self._startup
        still_since: float | None = None
        next_message = asyncio.ensure_future(_receive(stream))
        try:
            while True:
                done, _ = await asyncio.wait({next_message}, timeout=self._silence)
                if not done:
                    silent += self._silence
                    if silent > 0:
                        self._listener.silent(silent)
                    if self._worth_another(silent):
                        return
                    continue
                message = next_message.result()
                if message is None:
                    log.error("the reader ended unexpectedly")
                    return
                if isinstance(message, Refusal):
                    raise message.error()
                silent, self._heard = 0.0, True
                self._listener.snapshot(message)
                if not _stands_still(message):
                    still_since = None
                elif still_since is None:
                    still_since = loop.time()
                elif self._worth_another(loop.time() - still_since):
                    return
                next_message = asyncio.ensure_future(_receive(stream))
        finally:
            next_message.cancel()

    def _worth_another(self, still: float) -> bool:
        """Tell whether, after so many seconds without an answer, a fresh reader is to be tried."""
        self._reap()
        if still < self._fresh_reader or len(self._alive) >= MOST_READERS:
            return False
        log.error("the driver stands still: trying a fresh reader")
        return True

    def _reap(self) -> None:
        self._alive = [process for process in self._alive if process.poll() is None]


def _stands_still(snapshot: Snapshot) -> bool:
    """Tell whether every GPU of a snapshot hangs: the driver's global lock is held."""
    states = {gpu.state for gpu in snapshot.gpus}
    return states == {GpuState.HUNG}


async def _receive(stream: asyncio.StreamReader) -> Message | None:
    """Return the next message, or None where the other end is gone."""
    try:
        header = await stream.readexactly(frames.HEADER_BYTES)
        return frames.unpack(await stream.readexactly(frames.length(header)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
