"""Where the agent listens: addresses as users write them, and the sockets they become."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket

from gpumon.errors import UnavailableError, UsageError

DEFAULT_PORT = 9842

MOST_PORT = 65535

_LISTEN_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>\d{1,5})", re.ASCII
)


def parse_listen_address(text: str) -> tuple[str, int]:
    """Parse ``[HOST]:PORT`` (IPv6 in brackets); UsageError if it is none."""
    match = _LISTEN_ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > MOST_PORT or not _is_host(match):
        raise UsageError(
            f"{text!r} is not a listen address",
            "write HOST:PORT, :PORT or [IPv6]:PORT, as in :9842",
        )
    return match["ipv6"] or match["host"], int(match["port"])


def _is_host(match: re.Match[str]) -> bool:
    try:
        return not match["ipv6"] or bool(ipaddress.IPv6Address(match["ipv6"]))
    except ValueError:
        return False


# create_server passes a failed look-up on as a plain OSError with the resolver's own number.
_NO_SUCH_HOST = frozenset({socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_NODATA})


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
    except OSError as error:
        if error.errno in _NO_SUCH_HOST:
            raise UnavailableError(
                f"no such host: {host!r}", "listen on an address of this machine"
            ) from None
        shown = f"{host}:{port}"
        hints = {
            errno.EADDRINUSE: (
                "is in use",
                "is an agent running already? Else choose another port",
            ),
            errno.EACCES: ("may not be used", "ports below 1024 need root: choose a higher one"),
            errno.EADDRNOTAVAIL: ("is not an address of this machine", "see ip address"),
        }
        problem, step = hints.get(error.errno or 0, (f"fails ({error.strerror})", "choose another"))
        raise UnavailableError(f"listening on {shown} {problem}", step) from None
    # Accepted sockets inherit it. asyncio would set it only on sockets that name their protocol,
    # and without it an answer in two writes waits 40 ms for the client's delayed acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the URL under which this machine reaches a listening socket."""
    host, port = sock.getsockname()[:2]
    if host in ("::", "0.0.0.0"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
