"""What goes over the socket between reader and server: a length, then a pickled object.

Pickle, because both ends are this very package in two processes of one parent, and it keeps the
frozen types as they are.
"""

from __future__ import annotations

import dataclasses
import pickle
import socket
import struct
from collections.abc import Mapping

from gpumon.errors import GpumonError, UnavailableError, UsageError
from gpumon.model import Snapshot
from gpumon.model.origins import Origins

_LENGTH = struct.Struct("!I")

HEADER_BYTES = _LENGTH.size


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


@dataclasses.dataclass(frozen=True)
class LeaveAlone:
    """The one order the server gives: ask the GPU of this index nothing from now on."""

    index: int
    reason: str


Message = Snapshot | Refusal


def pack(message: Message | LeaveAlone) -> bytes:
    """Return a message as it goes over the socket."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def send(sock: socket.socket, message: Message) -> None:
    """Send a message; OSError if the other end is gone."""
    sock.sendall(pack(message))


def receive_order(sock: socket.socket) -> LeaveAlone | None:
    """Return the server's next order, waiting for it; None if the server is gone."""
    header = exactly(sock, HEADER_BYTES)
    body = exactly(sock, length(header)) if header else b""
    if not body:
        return None
    order: LeaveAlone = pickle.loads(body)  # noqa: S301 - from our own parent
    return order


class Outgoing:
    """A reader's snapshots: each table of origins goes over the socket once, then its number."""

    def __init__(self) -> None:
        """Nothing has been sent."""
        self._sent: frozenset[int] = frozenset()

    def shortened(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot without the tables that the other end has."""
        new = {n: table for n, table in snapshot.origins.items() if n not in self._sent}
        self._sent |= new.keys()
        return dataclasses.replace(snapshot, origins=new)


class Incoming:
    """The other end: gives each snapshot of one reader all of the tables it was sent."""

    def __init__(self) -> None:
        """Nothing has come."""
        self._tables: Mapping[int, Origins] = {}

    def completed(self, message: Message) -> Message:
        """Return a message as the reader had it."""
        if not isinstance(message, Snapshot):
            return message
        if message.origins:
            self._tables = {**self._tables, **message.origins}
        return dataclasses.replace(message, origins=self._tables)


def exactly(sock: socket.socket, count: int) -> bytes:
    """Return this number of bytes, or none at all if the other end is gone before that."""
    data = b""
    while len(data) < count:
        try:
            more = sock.recv(count - len(data))
        except ConnectionError:
            return b""
        if not more:
            return b""
        data += more
    return data


def length(header: bytes) -> int:
    """Return the length of the body that follows a header of HEADER_BYTES."""
    (count,) = _LENGTH.unpack(header)
    return int(count)


def unpack(body: bytes) -> Message:
    """Return the message of a body."""
    message: Message = pickle.loads(body)  # noqa: S301 - from our own child
    return message
