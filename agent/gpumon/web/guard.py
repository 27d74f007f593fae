"""Stands before the application: who may ask, and who may see users' names."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

AUTHENTICATED = "gpumon.authenticated"
"""In the scope of a request: whether a password or a client's certificate was verified."""

CERTIFIED = "gpumon.certified"
"""In the scope of a request: whether the client showed a certificate that was verified."""

_FORWARDED = {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"}


class Gatekeeper(Protocol):
    """The part of Access that is asked here."""

    def config(self) -> Any:
        """Return the WebConfig in force."""
        ...

    async def admits(self, authorization: str) -> bool:
        """Return whether an Authorization header is good."""
        ...


class Guard:
    """An ASGI application that lets requests through to another."""

    def __init__(self, app: App, access: Gatekeeper) -> None:
        """Guard an application."""
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 if a password is asked for and none is good, else pass the request on."""
        from gpumon.web.access import BusyError

        config = self._access.config()
        answer = _with_headers(send, config.headers) if config.headers else send
        admitted = not config.users
        if config.users:
            try:
                admitted = await self._access.admits(_header(scope, b"authorization"))
            except BusyError:
                await _refuse(answer, 503, b"busy: try again\n", (b"retry-after", b"1"))
                return
        if not admitted:
            realm = (b"www-authenticate", b"Basic")
            await _refuse(answer, 401, b"a user and a password, please\n", realm)
            return
        scope[AUTHENTICATED] = bool(config.users) or (
            config.verifies_clients and bool(scope.get(CERTIFIED))
        )
        await self._app(scope, receive, answer)


def may_see_users(scope: Scope, *, expose: bool) -> bool:
    """Return whether an answer may hold users' names and those of their programs.

    To anyone who has proved who they are; on this machine, where names are not a secret (but not to
    a proxy, behind which anybody may be); or to everybody, if the agent is set up so.
    """
    if expose or scope.get(AUTHENTICATED):
        return True
    if any(name.lower() in _FORWARDED for name, _ in scope.get("headers", ())):
        return False
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0]) if client else None
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(address and (mapped or address).is_loopback)


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope.get("headers", ()):
        if name.lower() == wanted:
            return bytes(value).decode("latin-1")
    return ""


def _with_headers(send: Send, headers: Any) -> Send:
    extra = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    names = {name for name, _ in extra}

    async def answer(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [h for h in message.get("headers", ()) if h[0].lower() not in names]
            message = {**message, "headers": [*kept, *extra]}
        await send(message)

    return answer


async def _refuse(send: Send, status: int, body: bytes, header: tuple[bytes, bytes]) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        header,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
