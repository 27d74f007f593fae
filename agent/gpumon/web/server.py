"""The HTTP server: uvicorn, as a process that is asked by friends and strangers wants it."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn

from gpumon.web.accept import accept
from gpumon.web.guard import App
from gpumon.web.protocol import MOST_CONNECTIONS, PatientOnce

if TYPE_CHECKING:
    from gpumon.web.access import Access


def stop_on_signals(stop: asyncio.Event) -> list[signal.Signals]:
    """Set ``stop`` at SIGTERM, SIGINT or SIGHUP; returns the list that these are then in."""
    loop = asyncio.get_running_loop()
    received: list[signal.Signals] = []

    def note(number: signal.Signals) -> None:
        received.append(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, note, number)
    return received


def allow_connections(count: int = MOST_CONNECTIONS) -> None:
    """Raise the soft limit of open files, if the hard one allows it, to twice the clients.

    If it does not, fewer clients are kept: one that cannot be accepted cannot be refused either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + 64
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # a sandbox may not let us
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            soft = limit
    if soft != resource.RLIM_INFINITY:
        PatientOnce.most = max(4, min(count, (soft - 24) // 2))


class HttpServer(uvicorn.Server):
    """uvicorn, which leaves the signals to the agent, says when it is up, and sleeps well.

    Connections are taken by ``gpumon.web.accept``.
    """

    def __init__(self, app: App, sock: socket.socket, access: Access | None) -> None:
        """Prepare to serve an application on a listening socket, to all or as ``access`` says."""
        super().__init__(_uvicorn_config(app))
        self.answering = asyncio.Event()
        self._ending = asyncio.Event()
        self._sock = sock
        self._access = access
        self._accepting: asyncio.Task[None] | None = None

    def end(self) -> None:
        """Stop serving."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Wait for the end."""
        # uvicorn looks ten times a second whether it should exit, which is half of what an idle
        # agent costs, and renews the Date header, which a scrape does not need.
        await self._ending.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets=[])
        self._accepting = asyncio.create_task(accept(self._sock, self._protocol, self._tls))
        self.answering.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, and end those there are."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        await super().shutdown(sockets=[self._sock])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    def _protocol(self) -> PatientOnce:
        protocol = PatientOnce(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        if self._access is not None:
            protocol.allowed_sans = self._access.config().allowed_sans
        return protocol

    def _tls(self) -> ssl.SSLContext | None:
        return None if self._access is None else self._access.config().tls


def _uvicorn_config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=PatientOnce,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,  # longer than the usual scrape interval, so connections are reused
        timeout_graceful_shutdown=1,
    )
