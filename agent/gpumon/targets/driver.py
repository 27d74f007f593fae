"""This machine's driver, if no agent reads it: in a process that can be left behind."""

from __future__ import annotations

import select
import socket
import subprocess
import time
from contextlib import nullcontext

from gpumon.errors import DriverError, UnavailableError
from gpumon.model import Snapshot
from gpumon.reader import frames
from gpumon.reader.command import reader_command, reader_environment
from gpumon.reader.places import take_place
from gpumon.sources.spec import Patience, SourceSpec

READ_SECONDS = 15.0
"""How long the driver may take to start and be read."""

REST_SECONDS = 0.25
"""Of the seconds that a driver has, those left for the snapshot to come over and be judged."""

HUNG_SECONDS = 0.5
"""How long a call has stood still when it is said to hang, if somebody waits for the answer; a
healthy one takes milliseconds (nvml-reference §2: costs)."""

CALL_SECONDS = 1.0
"""The same if somebody goes on looking."""


LATE_SECONDS = 3.0
"""How long a reader that had to wait with its snapshots may take to read again."""


class DriverTarget:
    """A driver, read by a process of its own: one that hangs in a call can then be left."""

    def __init__(
        self, spec: SourceSpec, interval: float, seconds: float | None, *, at_once: bool
    ) -> None:
        """Start the process; it has ``seconds`` for the first answer, None for the usual time."""
        self._interval = interval
        self._until = time.monotonic() + (seconds or READ_SECONDS)
        # A driver that starts up may take its time, but no GPU's call after that.
        patience = Patience(None, HUNG_SECONDS if at_once else CALL_SECONDS)
        if seconds is not None:
            patience = _patience(self._until, seconds)
        self._hasty = at_once or seconds is not None
        place = take_place() if seconds is not None else None
        ours, theirs = socket.socketpair()
        with theirs, place or nullcontext():
            # Nothing of ours is inherited: a reader that waits in the driver outlives this
            # command, and whoever reads our output must not wait for it.
            self._process = subprocess.Popen(
                reader_command(theirs.fileno(), interval, spec, patience=patience),
                pass_fds=[theirs.fileno(), *([place.fileno()] if place else [])],
                env=reader_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours
        self._incoming = frames.Incoming()

    def read(self) -> Snapshot:
        """Return the reader's newest snapshot, waiting for one if none has come since.

        A reader whose snapshots nobody fetched has waited with them: the newest of those that have
        come may be of the time at which the socket was full.
        """
        oldest = time.time() - self._interval
        self._socket.settimeout(max(0.1, self._until - time.monotonic()))
        self._until = time.monotonic() + READ_SECONDS  # for a look after this one
        try:
            message = self._next()
            while self._may_follow(message, oldest):
                message = self._next()
        except (OSError, EOFError):
            raise UnavailableError(
                "the driver does not answer", "see dmesg for NVRM and Xid lines"
            ) from None
        if isinstance(message, frames.Refusal):
            raise message.error()
        if not message.up and not message.gpus:
            raise DriverError("; ".join(message.errors))
        return message

    def _may_follow(self, message: frames.Message, oldest: float) -> bool:
        """Return whether a newer snapshot has come, or will since this one is older than that."""
        old = isinstance(message, Snapshot) and message.time < oldest
        if old and time.monotonic() > self._until:
            return False  # a source with a clock of its own
        return bool(select.select([self._socket], [], [], LATE_SECONDS if old else 0)[0])

    def _next(self) -> frames.Message:
        header = frames.exactly(self._socket, frames.HEADER_BYTES)
        body = frames.exactly(self._socket, frames.length(header)) if header else b""
        if not body:
            raise EOFError
        return self._incoming.completed(frames.unpack(body))

    def close(self) -> None:
        """Let the reader end; one that waits in the driver does so on its own, later."""
        self._socket.close()
        try:
            self._process.wait(0.1 if self._hasty else 1.0)
        except subprocess.TimeoutExpired:
            self._process.returncode = 0  # not ours to wait for any longer


def _patience(until: float, seconds: float) -> Patience:
    """Return how long a reader waits for the driver, of whose answer we need the rest."""
    return Patience(until - REST_SECONDS, max(HUNG_SECONDS, min(seconds / 3, 3.0)))
