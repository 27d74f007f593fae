"""What a viewer can look at: this machine, another one's agent, a simulation, a recording."""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import os
import queue
import re
import select
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from gpumon.derive import Derivation
from gpumon.documents.snapshot import from_document
from gpumon.errors import DriverError, GpumonError, UnavailableError, UsageError
from gpumon.model import Snapshot
from gpumon.reader import frames
from gpumon.reader.command import reader_command, reader_environment
from gpumon.reader.places import take_place
from gpumon.sources import Source, open_source
from gpumon.sources.kinds import DEFAULT, KINDS
from gpumon.sources.spec import Patience, SourceSpec
from gpumon.web.listen import DEFAULT_PORT

ANSWER_SECONDS = 3.0
"""How long an agent may take to answer."""

READ_SECONDS = 15.0
"""How long the driver may take to start and be read, where no agent runs."""


REST_SECONDS = 0.25
"""Of the seconds that a driver has, those left for the snapshot to come over and be judged."""

HUNG_SECONDS = 0.5
"""How long a call has stood still when it is said to hang, where somebody waits for the answer; a
healthy one takes milliseconds (nvml-reference §2: costs)."""

CALL_SECONDS = 1.0
"""The same where somebody goes on looking."""


class Target(Protocol):
    """Something that shows snapshots."""

    def read(self) -> Snapshot:
        """Return the state now; UnavailableError where it cannot be had."""
        ...


@contextmanager
def open_target(
    text: str | None,
    *,
    at_once: bool = False,
    interval: float = 1.0,
    seconds: float | None = None,
) -> Iterator[Target]:
    """Open what a TARGET argument names, to be looked at every ``interval`` seconds.

    ``at_once`` plays a recording to its end before the first look, unless it says a speed.
    ``seconds`` is how long the first answer may take from now on, for whoever cannot wait as long
    as this module otherwise does.
    """
    if text is None and _agent_runs():
        text = f"127.0.0.1:{DEFAULT_PORT}"
    text = text or DEFAULT
    kind = text.partition(":")[0]
    if kind == "prom":
        raise UsageError(
            f"{text} is a whole fleet, and this command is of one node",
            f"name a node's agent, as in node17:9842, or see gpumon status {text}",
        )
    if kind not in KINDS:
        yield _Agent(_agent_url(text), seconds or ANSWER_SECONDS)
        return
    spec = SourceSpec.parse(text)
    if kind == "replay" and at_once and not spec.options.keys() & {"speed", "loop"}:
        spec = dataclasses.replace(spec, options={**spec.options, "speed": "max"})
    pace = min(max(interval, 0.1), 1.0)
    if spec.row.may_hang:
        source: _Reader | Source = _Reader(spec, pace, seconds, at_once=at_once)
    else:
        source = open_source(spec)
    try:
        yield _Completed(source)
    finally:
        source.close()


SEVERAL_SECONDS = 5.0
"""How long a node may take; the others wait no longer for it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """A node that was asked: its snapshot, or why there is none."""

    target: str
    snapshot: Snapshot | None
    problem: str = ""


def ask_all(targets: Sequence[str], seconds: float) -> list[Look]:
    """Ask all targets at once, and return within ``seconds`` what has come, in their order.

    Raises UsageError for what is no target.
    """
    answers: queue.SimpleQueue[tuple[int, Look | UsageError]] = queue.SimpleQueue()

    def one(number: int, target: str) -> None:
        answers.put((number, _ask(target, seconds)))

    for number, target in enumerate(targets):
        # A name server or a driver may keep a thread for longer than anybody waits.
        threading.Thread(target=one, args=(number, target), daemon=True).start()
    looks = [Look(target, None, f"no answer within {seconds:g} s") for target in targets]
    until = time.monotonic() + seconds
    for _ in targets:
        try:
            number, look = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(look, UsageError):
            raise look
        looks[number] = look
    return looks


def _ask(target: str, seconds: float) -> Look | UsageError:
    try:
        with open_target(target, at_once=True, seconds=seconds) as source:
            return Look(target, source.read())
    except UsageError as error:
        return error
    except GpumonError as error:
        return Look(target, None, str(error))


class _Completed:
    """A source in this process, with what follows from its readings."""

    def __init__(self, source: Target) -> None:
        self._source = source
        self._derivation = Derivation()

    def read(self) -> Snapshot:
        snapshot = self._derivation.update(self._source.read())
        return dataclasses.replace(snapshot, node=snapshot.node or socket.gethostname())


class _Agent:
    """A node's agent, asked over HTTP."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds

    def read(self) -> Snapshot:
        try:
            request = urllib.request.Request(  # noqa: S310 - the scheme is checked below
                f"{self._url}/api/v1/snapshot?samples=1",
                headers={"Accept": "application/json", **_credentials()},
            )
            with _OPENER.open(request, timeout=self._seconds) as answer:
                return from_document(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTPStatus.UNAUTHORIZED:
                    raise UnavailableError(
                        f"{self._url} asks for a password, or refuses this one",
                        f"set {_USER} and {_PASSWORD_FILE}",
                    ) from None
                raise UnavailableError(
                    f"{self._url} answers {error.code} {error.reason}",
                    "is it a gpumon agent, and up for more than a second?",
                ) from None
        except (OSError, ValueError, http.client.HTTPException, UsageError) as error:
            reason = " ".join(str(getattr(error, "reason", None) or error).split())
            raise UnavailableError(
                f"no answer from {self._url} ({reason})", "is gpumon agent running there?"
            ) from None


class _Reader:
    """The driver, read by a process of its own: one that hangs in a call can then be left."""

    def __init__(
        self, spec: SourceSpec, interval: float, seconds: float | None, *, at_once: bool
    ) -> None:
        self._until = time.monotonic() + (seconds or READ_SECONDS)
        # A driver that starts up may take its time, but no GPU's call after that.
        patience = Patience(None, HUNG_SECONDS if at_once else CALL_SECONDS)
        if seconds is not None:
            patience = _patience(self._until, seconds)
        self._hasty = at_once or seconds is not None
        place = take_place() if seconds is not None else None
        ours, theirs = socket.socketpair()
        with theirs, place or nullcontext():
            # Nothing of ours is inherited: a reader that waits in the driver outlives this
            # command, and whoever reads our output must not wait for it.
            self._process = subprocess.Popen(
                reader_command(theirs.fileno(), interval, spec, patience=patience),
                pass_fds=[theirs.fileno(), *([place.fileno()] if place else [])],
                env=reader_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours
        self._incoming = frames.Incoming()

    def read(self) -> Snapshot:
        """Return the reader's newest snapshot, waiting for one where none has come since."""
        self._socket.settimeout(max(0.1, self._until - time.monotonic()))
        self._until = time.monotonic() + READ_SECONDS  # for a look after this one
        try:
            message = self._next()
            while select.select([self._socket], [], [], 0)[0]:
                message = self._next()
        except (OSError, EOFError):
            raise UnavailableError(
                "the driver does not answer", "see dmesg for NVRM and Xid lines"
            ) from None
        if isinstance(message, frames.Refusal):
            raise message.error()
        if not message.up and not message.gpus:
            raise DriverError("; ".join(message.errors))
        return message

    def _next(self) -> frames.Message:
        header = frames.exactly(self._socket, frames.HEADER_BYTES)
        body = frames.exactly(self._socket, frames.length(header)) if header else b""
        if not body:
            raise EOFError
        return self._incoming.completed(frames.unpack(body))

    def close(self) -> None:
        """Let the reader end; one that waits in the driver does so by itself, later."""
        self._socket.close()
        try:
            self._process.wait(0.1 if self._hasty else 1.0)
        except subprocess.TimeoutExpired:
            self._process.returncode = 0  # not ours to wait for any longer


def _patience(until: float, seconds: float) -> Patience:
    """Return how long a reader waits for the driver, of whose answer we need the rest."""
    return Patience(until - REST_SECONDS, max(HUNG_SECONDS, min(seconds / 3, 3.0)))


_USER = "GPUMON_TARGET_USER"
_PASSWORD_FILE = "GPUMON_TARGET_PASSWORD_FILE"  # noqa: S105 - a variable's name


def _credentials() -> dict[str, str]:
    """Return the header for an agent with a password; never from a command line, which all see."""
    user, file = os.environ.get(_USER), os.environ.get(_PASSWORD_FILE)
    if not user or not file:
        return {}
    try:
        password = Path(file).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"cannot read the password in {file}", f"check {_PASSWORD_FILE}") from None
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return {"Authorization": f"Basic {encoded}"}


def _agent_runs() -> bool:
    try:
        with socket.create_connection(("127.0.0.1", DEFAULT_PORT), timeout=0.5):
            return True
    except OSError:
        return False


def _agent_url(text: str) -> str:
    if "://" in text:
        if not text.startswith(("http://", "https://")):
            raise UsageError(f"{text!r} is no target", "write HOST, HOST:PORT or http://HOST:PORT")
        return text.rstrip("/")
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is no target", "write HOST, HOST:PORT, a URL, sim:… or replay:…"
        )
    return f"http://{match['host']}:{match['port'] or DEFAULT_PORT}"


_HOST_PORT = re.compile(
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?", re.ASCII
)

# Proxies are for the internet; a node's agent is asked directly.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
