"""Clients that mean harm, or are just broken, in a process of their own.

``python -m tests.e2e.hostile PORT REQUESTS SEED`` prints what it did as JSON. A scraper beside
it is not held up by it, as it would be in one process.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import random
import socket
import struct
import sys
from collections.abc import Callable

AT_ONCE = 48
IDLE = 500
DRIBBLING = 50

_LINGER = struct.pack("ii", 1, 0)
"""Close with a reset: no port waits, and the server meets the rudest of ends."""

_METHODS = ("POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH", "OPTIONS", "BREW", "get", "")
_WEBSOCKET = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_PATHS = (
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
    "/api/v1/snapshot/../../../etc/passwd",
    "/metrics%00",
    "/api/v1/snapshot?samples=" + "9" * 5000,
    "/" + "a" * 12_000,
    "*",
    "http://evil.example/metrics",
    "/metrics#" + "x" * 100,
    "/\\..\\windows",
)


def _random_bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(1, 3000))


def _huge_header(chance: random.Random) -> bytes:
    return b"GET /metrics HTTP/1.1\r\nX: " + b"x" * chance.randint(17_000, 200_000) + b"\r\n\r\n"


def _many_headers(chance: random.Random) -> bytes:
    lines = b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(chance.randint(500, 5000)))
    return b"GET /metrics HTTP/1.1\r\n" + lines + b"\r\n"


def _bad_method(chance: random.Random) -> bytes:
    body = chance.randbytes(chance.randint(0, 500))
    head = f"{chance.choice(_METHODS)} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _odd_path(chance: random.Random) -> bytes:
    return f"GET {chance.choice(_PATHS)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def _half(chance: random.Random) -> bytes:
    whole = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"
    return whole[: chance.randint(1, len(whole) - 1)]


def _smuggled(chance: random.Random) -> bytes:
    return (
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        b"\r\n0\r\n\r\nGET /-/healthy HTTP/1.1\r\n\r\n"
    )


def _endless_chunk(chance: random.Random) -> bytes:
    return (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n"
        + chance.randbytes(20_000)
    )


def _other_protocol(chance: random.Random) -> bytes:
    return chance.choice(
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500),
            b"GET /metrics\r\n",
            b"GET /metrics HTTP/9.9\r\n\r\n",
            _WEBSOCKET,
        )
    )


def _pipelined(chance: random.Random) -> bytes:
    return b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * chance.randint(2, 20)


KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _random_bytes,
    _huge_header,
    _many_headers,
    _bad_method,
    _odd_path,
    _half,
    _smuggled,
    _endless_chunk,
    _other_protocol,
    _pipelined,
)


class Flood:
    """So many hostile requests, some at once, while others hold connections and say nothing."""

    def __init__(self, port: int, requests: int, seed: int) -> None:
        """Prepare to flood a port of this machine."""
        self._port = port
        self._left = requests
        self._chance = random.Random(seed)
        self.done: collections.Counter[str] = collections.Counter()
        self.answers: collections.Counter[str] = collections.Counter()

    async def run(self) -> None:
        """Send them all."""
        beside = [asyncio.create_task(self._idle()) for _ in range(IDLE)]
        beside += [asyncio.create_task(self._dribble()) for _ in range(DRIBBLING)]
        await asyncio.gather(*(self._client() for _ in range(AT_ONCE)))
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    async def _connect(self) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def _client(self) -> None:
        while self._left > 0:
            self._left -= 1
            kind = self._chance.choice(KINDS)
            payload, patience = kind(self._chance), self._chance.random()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._once(payload, patience), 30)
            self.done[kind.__name__] += 1

    async def _once(self, payload: bytes, patience: float) -> None:
        loop = asyncio.get_running_loop()
        sock = await self._connect()
        try:
            await loop.sock_sendall(sock, payload)
            if patience < 0.7:  # the others are gone before the answer
                answer = await asyncio.wait_for(loop.sock_recv(sock, 4096), 0.2)
                status = answer[9:12].decode("ascii", "replace")
                self.answers[status if answer.startswith(b"HTTP/") else "none"] += 1
        except asyncio.TimeoutError:
            self.answers["silence"] += 1
        finally:
            sock.close()

    async def _idle(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError):
                sock = await self._connect()
                try:
                    await loop.sock_recv(sock, 1)
                finally:
                    sock.close()
            await asyncio.sleep(0.5)

    async def _dribble(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError):
                sock = await self._connect()
                try:
                    for byte in b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 1000:
                        await loop.sock_sendall(sock, bytes([byte]))
                        await asyncio.sleep(0.5)
                finally:
                    sock.close()
            await asyncio.sleep(0.5)


def main() -> None:
    """Flood, and print what was done and answered."""
    port, requests, seed = map(int, sys.argv[1:])
    flood = Flood(port, requests, seed)
    asyncio.run(flood.run())
    print(json.dumps({"done": flood.done, "answers": flood.answers}))  # noqa: T201


if __name__ == "__main__":
    main()
