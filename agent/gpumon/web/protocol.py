"""HTTP/1.1 for clients of any kind: good, slow and hostile.

uvicorn waits for a request and for an answer to be taken as long as the client likes. Here each
has a deadline, and where too many clients do nothing, the one that did so for longest makes room.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gpumon.web.guard import CERTIFIED

REQUEST_SECONDS = 10.0
"""A client has this long to send a request and, again, to take the answer."""

MOST_REQUEST_BYTES = 16 * 1024
"""Headers included. Nothing here takes a body, and the parser itself has no limit."""

MOST_CONNECTIONS = 512
"""More at once, and the one that has owed a request for longest is closed. Prometheus needs one."""


class PatientOnce(HttpToolsProtocol):
    """uvicorn's protocol over llhttp, with deadlines and limits."""

    most: ClassVar[int] = MOST_CONNECTIONS
    _owing: ClassVar[dict[PatientOnce, None]] = {}
    """The connections without a whole request, the longest waited for first."""

    allowed_sans: frozenset[str] = frozenset()
    """Of whose names a client's certificate must have one; none means any certificate."""

    def connection_made(self, transport: Any) -> None:
        """Wait for a request, for a while; not of a client whose certificate is another's."""
        super().connection_made(transport)
        certificate = transport.get_extra_info("peercert") or {}
        self._certified = bool(certificate)
        self._deadline: asyncio.TimerHandle = self.loop.call_later(REQUEST_SECONDS, self._abort)
        self._in_request = False
        self._received = 0
        self._owing[self] = None
        if len(self.connections) > self.most:
            next(iter(self._owing))._abort()  # noqa: SLF001 - of its own kind, perhaps itself
        names = {str(name) for _, name in certificate.get("subjectAltName", ())}
        if self.allowed_sans and not self.allowed_sans & names:
            self._abort()

    def on_message_begin(self) -> None:
        """Let the application know whether the client's certificate was verified."""
        super().on_message_begin()
        self.scope[CERTIFIED] = self._certified  # type: ignore[literal-required]

    def data_received(self, data: bytes) -> None:
        """Give a request that begins its deadline; what follows of it gets no other."""
        self._begin()
        self._received += len(data)
        if self._received > MOST_REQUEST_BYTES:
            self._abort()
        else:
            super().data_received(data)

    def on_message_complete(self) -> None:
        """Take note that the request is whole."""
        self._owing.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the answer to be taken, and for the next request, which may be here already."""
        if self.transport.is_closing():  # whoever asked is gone: nothing is owed, or waited for
            super().on_response_complete()
            return
        more = bool(self.pipeline)
        self._in_request = False
        if not more:
            self._owing[self] = None
        self._arm(self._abort_unread)
        super().on_response_complete()
        if more:
            self._begin()
        else:
            self._received = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._deadline.cancel()
        self._owing.pop(self, None)
        # uvicorn leaves this timer, and with it the whole connection, for 75 s after a reset.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that asks nothing more, without waiting for what it does not take."""
        if self.transport.get_write_buffer_size():
            self._abort()
        else:
            super().timeout_keep_alive_handler()

    def _begin(self) -> None:
        if not self._in_request:
            self._in_request = True
            self._arm(self._abort)

    def _arm(self, callback: Any) -> None:
        self._deadline.cancel()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, callback)

    def _abort_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self._abort()

    def _abort(self) -> None:
        self._owing.pop(self, None)
        if not self.transport.is_closing():
            self.transport.abort()
