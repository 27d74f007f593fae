"""Listen addresses as users write them."""

from __future__ import annotations

import socket

import pytest

from gpumon.errors import UnavailableError, UsageError
from gpumon.web.listen import bind, parse_listen_address, url_of


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9842", ("", 9842)),
        ("127.0.0.1:9842", ("127.0.0.1", 9842)),
        ("node17.example:1", ("node17.example", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    """The host may be left out, or be IPv6 in brackets."""
    assert parse_listen_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9842",
        "host",
        "::1:9842",
        "[::1]",
        "[::x]:1",
        "host:port",
        ":65536",
        ":-1",
        "a b:1",
        "٣:1",
    ],
)
def test_nonsense_is_refused_with_the_form(text: str) -> None:
    """In one line."""
    with pytest.raises(UsageError, match=r"write HOST:PORT, :PORT or \[IPv6\]:PORT"):
        parse_listen_address(text)


def test_a_bound_socket_has_a_url_and_sends_at_once() -> None:
    """Whatever it listens on, this machine reaches it; small answers do not wait."""
    with bind(("", 0)) as sock:
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}/"
        with socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
            accepted, _ = sock.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_name_that_nobody_knows_is_not_to_be_had() -> None:
    """It may be known later: exit code 3, so that a service is started again."""
    with pytest.raises(UnavailableError, match="no such host"):
        bind(("no-such-host.invalid", 0))
