"""What a viewer can look at: this machine, another one's agent, a simulation, a recording."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from gpumon.clock import SYSTEM
from gpumon.derive import PowerExtremes, with_ages
from gpumon.errors import UnavailableError, UsageError
from gpumon.model import Snapshot
from gpumon.serialize import from_document
from gpumon.sources import open_source
from gpumon.sources.spec import SourceSpec

AGENT_PORT = 9842

ANSWER_SECONDS = 3.0
"""How long an agent may take to answer."""

READ_SECONDS = 15.0
"""How long the driver may take to start and be read, where no agent runs."""


class Target(Protocol):
    """Something that shows snapshots."""

    def read(self) -> Snapshot:
        """Return the state now; UnavailableError where it cannot be had."""
        ...


@contextmanager
def open_target(text: str | None, *, at_once: bool = False) -> Iterator[Target]:
    """Open what a TARGET argument names.

    ``at_once`` plays a recording to its end before the first look, unless it says a speed.
    """
    if text is None:
        yield _this_machine()
        return
    kind = text.partition(":")[0]
    if kind == "prom":
        raise UsageError(
            "prom: targets are not known to this version", "name a node's agent, as in node17:9842"
        )
    if kind not in ("nvml", "sim", "replay"):
        yield _Agent(_agent_url(text))
        return
    spec = SourceSpec.parse(text)
    if kind == "nvml":
        yield _Reader(spec)
        return
    if kind == "replay" and at_once and not spec.options.keys() & {"speed", "loop"}:
        spec = dataclasses.replace(spec, options={**spec.options, "speed": "max"})
    source = open_source(spec)
    try:
        yield _Completed(source)
    finally:
        source.close()


class _Completed:
    """A source in this process, with what follows from its readings."""

    def __init__(self, source: Target) -> None:
        self._source = source
        self._extremes = PowerExtremes()

    def read(self) -> Snapshot:
        snapshot = self._extremes.update(self._source.read())
        snapshot = dataclasses.replace(snapshot, node=snapshot.node or socket.gethostname())
        return with_ages(snapshot, SYSTEM.monotonic())


class _Agent:
    """A node's agent, asked over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self) -> Snapshot:
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked below
            f"{self._url}/api/v1/snapshot", headers={"Accept": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=ANSWER_SECONDS) as answer:
                return from_document(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                raise UnavailableError(
                    f"{self._url} answers {error.code} {error.reason}",
                    "is it a gpumon agent, and up for more than a second?",
                ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise UnavailableError(
                f"no answer from {self._url} ({reason})", "is gpumon agent running there?"
            ) from None


class _Reader:
    """The driver, read by a process of its own: one that hangs in a call can then be left."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec

    def read(self) -> Snapshot:
        from gpumon.reader import frames

        ours, theirs = socket.socketpair()
        with ours, theirs:
            argv = ["-m", "gpumon.reader.child", str(theirs.fileno()), "1.0", str(self._spec)]
            # Nothing of ours is inherited: a reader that waits in the driver outlives this
            # command, and whoever reads our output must not wait for it.
            process = subprocess.Popen(
                [sys.executable, *argv],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            theirs.close()
            ours.settimeout(READ_SECONDS)
            try:
                header = _exactly(ours, frames.HEADER_BYTES)
                message = frames.unpack(_exactly(ours, frames.length(header)))
            except (OSError, EOFError):
                raise UnavailableError(
                    "the driver does not answer", "see dmesg for NVRM and Xid lines"
                ) from None
        _leave(process)
        if isinstance(message, frames.Refusal):
            raise message.error()
        if not message.up:
            raise UnavailableError("; ".join(message.errors))
        return with_ages(PowerExtremes().update(message), SYSTEM.monotonic())


def _leave(process: subprocess.Popen[bytes]) -> None:
    """Give the reader a moment to end; one that waits in the driver ends by itself later."""
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.returncode = 0  # not ours to wait for any longer


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _this_machine() -> Target:
    try:
        with socket.create_connection(("127.0.0.1", AGENT_PORT), timeout=0.5):
            return _Agent(f"http://127.0.0.1:{AGENT_PORT}")
    except OSError:
        return _Reader(SourceSpec("nvml"))


def _agent_url(text: str) -> str:
    if "://" in text:
        if not text.startswith(("http://", "https://")):
            raise UsageError(f"{text!r} is no target", "write HOST, HOST:PORT or http://HOST:PORT")
        return text.rstrip("/")
    host, colon, port = text.partition(":")
    if not host or any(c.isspace() or c in "/@" for c in text) or (colon and not port.isdigit()):
        raise UsageError(
            f"{text!r} is no target", "write HOST, HOST:PORT, a URL, sim:… or replay:…"
        )
    return f"http://{host}:{port or AGENT_PORT}"


# Proxies are for the internet; a node's agent is asked directly.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
