"""Takes connections, with TLS or without as the web configuration has it at the moment.

asyncio's own server keeps the TLS context that it was made with, and counts no connection before
its handshake is done; here each connection gets the context in force, and one that does not finish
its handshake has a deadline and makes room like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0

MOST_HANDSHAKES = 128
"""At once; with more, the oldest makes room."""

_PAUSE_SECONDS = 0.1
"""After a connection that could not be taken for lack of descriptors."""

Context = Callable[[], ssl.SSLContext | None]


async def accept(
    sock: socket.socket, protocol: Callable[[], asyncio.Protocol], context: Context
) -> None:
    """Take connections of a listening socket until cancelled."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    handshakes: dict[asyncio.Task[None], None] = {}

    async def begin(connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        try:
            await loop.connect_accepted_socket(
                protocol,
                connection,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
            )
        except (OSError, ssl.SSLError):  # whoever sends something else than TLS, or goes away
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise

    try:
        while True:
            try:
                connection, _ = await loop.sock_accept(sock)
            except OSError as error:
                log.debug("a connection cannot be taken (%s)", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            tls = context()
            if tls is None:
                await begin(connection, None)
                continue
            if len(handshakes) >= MOST_HANDSHAKES:
                next(iter(handshakes)).cancel()
            task = loop.create_task(begin(connection, tls))
            handshakes[task] = None
            task.add_done_callback(lambda done: handshakes.pop(done, None))
    finally:
        for task in list(handshakes):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*handshakes, return_exceptions=True)
