"""Orders to a running agent, over a socket in its state folder that only its user may open.

One line of JSON each way: ``{"order": "release", "seconds": 1800}`` and ``{"done": true, "text":
"…"}``. With this socket a runbook makes the agent release the driver; it cannot be reached over the
network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from gpumon.documents.write import json_of
from gpumon.errors import UnavailableError

log = logging.getLogger(__name__)

NAME = "control.sock"

ANSWER_SECONDS = 30.0
"""How long an agent may take to carry an order out; a reader is given ten to let go."""

_MOST_BYTES = 4096

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@contextlib.asynccontextmanager
async def listen(folder: Path | None, handle: Handler) -> Any:
    """Take orders in a state folder while the body runs; without one, or a right to it, none."""
    try:
        sock = None if folder is None else await asyncio.to_thread(_bind, folder)
    except OSError as error:
        log.warning("no orders are taken in %s (%s)", folder, error.strerror)
        sock = None
    if sock is None or folder is None:
        yield
        return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            line = await asyncio.wait_for(reader.readline(), ANSWER_SECONDS)
            writer.write(json_of(await _answer(line, handle)).encode() + b"\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, sock=sock, limit=_MOST_BYTES)
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):
            (folder / NAME).unlink()


async def _answer(line: bytes, handle: Handler) -> dict[str, Any]:
    try:
        order = json.loads(line)
    except ValueError:
        order = None
    if not isinstance(order, dict):
        return {"done": False, "text": "no order: one line of JSON"}
    return await handle(order)


def send(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    """Give an order to the agent of a state folder and return its answer.

    Raises UnavailableError if no agent takes orders there, or does not answer.
    """
    try:
        with _reachable(folder) as path, socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(ANSWER_SECONDS)
            sock.connect(path)
            sock.sendall(json_of(order).encode() + b"\n")
            with sock.makefile("rb") as answer:
                parsed: dict[str, Any] = json.loads(answer.readline(_MOST_BYTES))
                return parsed
    except PermissionError:
        raise UnavailableError(
            f"{folder / NAME} may not be used by this user", "try with sudo"
        ) from None
    except (OSError, ValueError):
        raise UnavailableError(
            f"no agent takes orders in {folder}",
            "is one running? Give its folder with --state-dir",
        ) from None


def _bind(folder: Path) -> socket.socket:
    """Return a listening socket; OSError if there can be none, or another agent has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with _reachable(folder) as path:
        sock = socket.socket(socket.AF_UNIX)
        try:
            if Path(path).exists():
                _remove_stale(path)
            mask = os.umask(0o177)
            try:
                sock.bind(path)
            finally:
                os.umask(mask)
            sock.listen(4)
        except OSError:
            sock.close()
            raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove the socket of an agent that is gone; OSError if the agent is still there."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
    raise OSError(0, "another agent uses this folder")


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """Give the socket's path by way of its folder.

    An address holds 107 bytes (unix(7)), and a path may be longer.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)
