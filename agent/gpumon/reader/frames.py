"""What goes over the socket between reader and server: a length, then a pickled object.

Pickle, because both ends are this very package in two processes of one parent, and it keeps the
frozen types as they are.
"""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import socket
import struct

from gpumon.errors import GpumonError, UnavailableError, UsageError
from gpumon.model import Snapshot

_LENGTH = struct.Struct("!I")


@dataclasses.dataclass(frozen=True)
class Refusal:
    """The source cannot be opened or read on; the reader ends after this."""

    problem: str
    next_step: str
    usage: bool

    def error(self) -> GpumonError:
        """Return the error that the user is to see."""
        kind = UsageError if self.usage else UnavailableError
        return kind(self.problem, self.next_step)


Message = Snapshot | Refusal


def send(sock: socket.socket, message: Message) -> None:
    """Send a message; OSError where the other end is gone."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    sock.sendall(_LENGTH.pack(len(body)) + body)


async def receive(stream: asyncio.StreamReader) -> Message | None:
    """Return the next message, or None where the other end is gone."""
    try:
        (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
        message: Message = pickle.loads(await stream.readexactly(length))  # noqa: S301 - see above
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return message
