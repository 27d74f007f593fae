"""The agent's process: one event loop that hears the reader and answers HTTP.

Slow and hostile clients are the event loop's ordinary business: a client that dribbles its
request costs a socket, not a thread, and after REQUEST_SECONDS not even that.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import ipaddress
import logging
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gpumon.agent.app import make_app
from gpumon.agent.expected import ExpectedGpus
from gpumon.agent.node import Node
from gpumon.errors import UnavailableError, UsageError
from gpumon.exposition.selfmetrics import SelfMetrics
from gpumon.model import SourceInfo, Tier
from gpumon.reader.supervisor import Supervisor
from gpumon.sources.spec import SourceSpec

log = logging.getLogger(__name__)

DEFAULT_PORT = 9842

REQUEST_SECONDS = 10.0
"""A client has this long to send a request's headers, and to take its answer."""

MOST_HEADER_BYTES = 16 * 1024

MOST_CONNECTIONS = 512
"""More at once are turned away with 503; Prometheus needs one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """Everything the agent can be told."""

    source: SourceSpec
    listen: tuple[str, int] = ("", DEFAULT_PORT)
    telemetry_path: str = "/metrics"
    interval: float = 1.0
    tier: Tier = Tier.STANDARD
    expected_gpus: int | None = None
    state_dir: Path | None = None
    node: str = ""


MOST_PORT = 65535

_LISTEN_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>\d{1,5})", re.ASCII
)


def parse_listen_address(text: str) -> tuple[str, int]:
    """Parse ``[HOST]:PORT`` (IPv6 in brackets); UsageError where it is none."""
    match = _LISTEN_ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > MOST_PORT or not _is_host(match):
        raise UsageError(
            f"{text!r} is no listen address", "write HOST:PORT, :PORT or [IPv6]:PORT, as in :9842"
        )
    return match["ipv6"] or match["host"], int(match["port"])


def _is_host(match: re.Match[str]) -> bool:
    try:
        return not match["ipv6"] or bool(ipaddress.IPv6Address(match["ipv6"]))
    except ValueError:
        return False


def bind(address: tuple[str, int]) -> socket.socket:
    """Return a listening socket; UnavailableError says why there is none.

    Without a host it listens on every address, IPv4 and IPv6.
    """
    host, port = address
    try:
        if not host and socket.has_dualstack_ipv6():
            sock = socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256
            )
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = socket.create_server((host, port), family=family, backlog=256)
    except socket.gaierror:
        raise UsageError(
            f"no such host: {host!r}", "listen on an address of this machine"
        ) from None
    except OSError as error:
        shown = f"{host}:{port}"
        hints = {
            errno.EADDRINUSE: (
                "is in use",
                "is an agent running already? Else choose another port",
            ),
            errno.EACCES: ("may not be used", "ports below 1024 need root: choose a higher one"),
            errno.EADDRNOTAVAIL: ("is no address of this machine", "see ip address"),
        }
        problem, step = hints.get(error.errno or 0, (f"fails ({error.strerror})", "choose another"))
        raise UnavailableError(f"listening on {shown} {problem}", step) from None
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the URL under which this machine reaches a listening socket."""
    host, port = sock.getsockname()[:2]
    if host in ("::", "0.0.0.0"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


async def serve(
    options: AgentOptions,
    sock: socket.socket,
    *,
    stop: asyncio.Event | None = None,
    started: Callable[[Node], None] | None = None,
) -> None:
    """Run the agent on a listening socket until a signal, or until ``stop`` is set.

    Raises what the source refuses with. ``started`` is called once HTTP is answered.
    """
    db = options.state_dir / "state.db" if options.state_dir else None
    node = Node(
        options.node or socket.gethostname(),
        ExpectedGpus(options.expected_gpus, db),
        source=SourceInfo(options.source.kind, detail=str(options.source).partition(":")[2]),
    )
    supervisor = Supervisor(options.source, options.interval, node)
    app = make_app(node, SelfMetrics(lambda: supervisor.pid), options.tier, options.telemetry_path)
    server = _Server(_uvicorn_config(app))
    stop = stop or asyncio.Event()
    _stop_on_signals(stop)
    http = asyncio.create_task(server.serve(sockets=[sock]))
    reading = asyncio.create_task(supervisor.run())
    stopping = asyncio.create_task(stop.wait())
    answering = asyncio.create_task(server.answering.wait())
    try:
        await asyncio.wait({http, answering}, return_when=asyncio.FIRST_COMPLETED)
        if started is not None:
            started(node)
        await asyncio.wait({http, reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        stopping.cancel()
        answering.cancel()
        reading.cancel()
        outcome = await asyncio.gather(http, reading, return_exceptions=True)
        await supervisor.close()
    for result in outcome:
        if isinstance(result, Exception) and not isinstance(result, asyncio.CancelledError):
            raise result


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


class _Server(uvicorn.Server):
    """uvicorn, which leaves the signals to the agent and says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _PatientOnce(H11Protocol):
    """HTTP/1.1 with a deadline for the request's headers and for the answer to be taken.

    uvicorn has a time-out between requests only, so a client that sends one byte a second, or
    reads none, would be waited for for ever.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._too_slow)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:  # a whole request has come: its answer has a deadline too
            self._restart_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._restart_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _restart_deadline(self) -> None:
        self._deadline.cancel()
        # Kept-alive connections are closed by uvicorn's own time-out, which is longer.
        patience = REQUEST_SECONDS + self.timeout_keep_alive
        self._deadline = self.loop.call_later(patience, self._too_slow)

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


def _uvicorn_config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_PatientOnce,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,  # longer than the usual scrape interval, so connections are reused
        timeout_graceful_shutdown=1,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
    )
