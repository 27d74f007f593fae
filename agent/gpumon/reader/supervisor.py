"""The server's side of the reader: starts it, hears it, and replaces it, but never waits for it.

A reader that died is started again within two seconds. One that stands still may be waiting in
the driver, if it cannot be stopped: its socket is closed, so that it ends on its own should its
call return, and one fresh reader is tried, slowly, and never more than three are alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
from collections.abc import Callable
from typing import Protocol

from gpumon.model import GpuState, Snapshot, Tier
from gpumon.reader import frames
from gpumon.reader.command import MOST_READERS, reader_command, reader_environment
from gpumon.reader.frames import Incoming, LeaveAlone, Message, Refusal
from gpumon.sources.spec import SourceSpec

log = logging.getLogger(__name__)

FIRST_RESTART_SECONDS = 0.5
"""Pause before a dead reader is started again; doubles while readers keep dying young."""

LONGEST_RESTART_SECONDS = 30.0

GROWN_UP_SECONDS = 60.0
"""A reader that lived this long did not die of what the one before died of."""

FRESH_READER_SECONDS = 60.0
"""How long the driver may stand still before another reader is tried."""


class Listener(Protocol):
    """Receives what the supervisor hears; silence it has to notice on its own."""

    def snapshot(self, snapshot: Snapshot) -> None:
        """Take in a snapshot."""
        ...

    def gone(self, reason: str) -> None:
        """There is no reader at the moment; another one will be started."""
        ...

    def restarted(self) -> None:
        """A reader that had died, or stood still, was replaced."""
        ...


class Supervisor:
    """Keeps one reader going, unless it is to let go of the driver."""

    def __init__(
        self,
        spec: SourceSpec,
        interval: float,
        listener: Listener,
        *,
        tier: Tier = Tier.FULL,
        fresh_reader: float = FRESH_READER_SECONDS,
        popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
    ) -> None:
        """Prepare to read ``spec`` every ``interval`` seconds; nothing starts before ``run``."""
        self._spec = spec
        self._interval = interval
        self._tier = tier
        self._listener = listener
        self._fresh_reader = fresh_reader
        self._popen = popen
        self._alive: list[subprocess.Popen[bytes]] = []
        self._writer: asyncio.StreamWriter | None = None
        self._orders: dict[int, LeaveAlone] = {}
        self._reading = asyncio.Event()
        self._reading.set()

    @property
    def pid(self) -> int | None:
        """The process that is read from, or None if there is none."""
        return self._alive[-1].pid if self._alive else None

    async def run(self) -> None:
        """Read forever; raises what the source refuses with (a bad file, an unknown model)."""
        loop = asyncio.get_running_loop()
        pause = FIRST_RESTART_SECONDS
        while True:
            await self._until_wanted()
            born = loop.time()
            try:
                reason = await self._one_reader()
            except OSError as error:  # no process or no descriptor to be had just now
                reason = f"the reader cannot be started ({error.strerror})"
            if not self._reading.is_set():
                continue
            log.error("%s", reason)
            self._listener.gone(reason)
            if loop.time() - born > GROWN_UP_SECONDS:
                pause = FIRST_RESTART_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RESTART_SECONDS)
            if self._reading.is_set():
                self._listener.restarted()

    async def _until_wanted(self) -> None:
        """Wait while the driver must be left alone; a reader that was stuck may end meanwhile."""
        while not self._reading.is_set():
            self._reap()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._reading.wait(), 1.0)

    def leave_alone(self, index: int, reason: str) -> None:
        """Have the reader, and those that follow it, ask nothing more of a GPU."""
        order = self._orders[index] = LeaveAlone(index, reason)
        if self._writer is not None:
            self._writer.write(frames.pack(order))

    def hold(self) -> None:
        """Start no reader before ``resume``; for a supervisor that does not run yet."""
        self._reading.clear()

    async def release(self, patience: float = 10.0) -> bool:
        """Let go of the driver: end the reader and start none; return whether it has let go.

        A reader that waits in the driver keeps its handles until its call returns.
        """
        self._reading.clear()
        self._orders.clear()
        if self._writer is not None:
            self._writer.close()
        return await self._ended(patience)

    def resume(self) -> None:
        """Read again."""
        self._reading.set()

    async def close(self, patience: float = 3.0) -> None:
        """Give the readers, whose sockets are closed by now, a moment to end; no longer."""
        if not await self._ended(patience):
            log.warning("a reader waits in the driver; it ends on its own when its call returns")

    async def _ended(self, patience: float) -> bool:
        """Wait for the readers to end, and return whether all did."""
        for _ in range(round(patience / 0.05)):
            self._reap()
            if not self._alive:
                return True
            await asyncio.sleep(0.05)
        return False

    async def _one_reader(self) -> str:
        """Start a reader and hear it until it ends or is given up; returns why that was."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = self._popen(
                    reader_command(theirs.fileno(), self._interval, self._spec, self._tier),
                    pass_fds=[theirs.fileno()],
                    env=reader_environment(),
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # a terminal that is closed must not reach it
                )
            except OSError:
                ours.close()
                raise
        self._alive.append(process)
        stream, writer = await asyncio.open_connection(sock=ours)
        self._writer = writer
        for order in self._orders.values():
            writer.write(frames.pack(order))
        try:
            if await self._hear(stream):
                return "the driver stands still: trying a fresh reader"
        finally:
            self._writer = None
            writer.close()  # the reader takes this as the word to end
            self._reap()
        return f"the reader ended unexpectedly{await _how(process)}"

    async def _hear(self, stream: asyncio.StreamReader) -> bool:
        """Pass on what the reader says; returns whether it is given up, rather than ended."""
        loop = asyncio.get_running_loop()
        still_since = loop.time()
        incoming = Incoming()
        message: asyncio.Future[Message | None] = asyncio.ensure_future(_receive(stream))
        try:
            while True:
                done, _ = await asyncio.wait({message}, timeout=self._fresh_reader)
                if done:
                    received = message.result()
                    if received is None:
                        return False
                    heard = incoming.completed(received)
                    if isinstance(heard, Refusal):
                        raise heard.error()
                    self._listener.snapshot(heard)
                    if not _stands_still(heard):
                        still_since = loop.time()
                    message = asyncio.ensure_future(_receive(stream))
                if loop.time() - still_since >= self._fresh_reader and self._room_for_another():
                    return True
        finally:
            message.cancel()

    def _room_for_another(self) -> bool:
        self._reap()
        return len(self._alive) < MOST_READERS

    def _reap(self) -> None:
        self._alive = [process for process in self._alive if process.poll() is None]


async def _how(process: subprocess.Popen[bytes]) -> str:
    """Say how a process ended, if it has; its socket may be closed a moment earlier."""
    try:
        code = await asyncio.to_thread(process.wait, 1.0)
    except subprocess.TimeoutExpired:
        return ""
    return f" (signal {-code})" if code < 0 else f" (exit status {code})"


def _stands_still(snapshot: Snapshot) -> bool:
    """Return whether every GPU of a snapshot hangs: the driver's global lock is held."""
    states = {gpu.state for gpu in snapshot.gpus}
    return states == {GpuState.HUNG}


async def _receive(stream: asyncio.StreamReader) -> Message | None:
    """Return the next message, or None if the other end is gone."""
    try:
        header = await stream.readexactly(frames.HEADER_BYTES)
        return frames.unpack(await stream.readexactly(frames.length(header)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
