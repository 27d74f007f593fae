"""A node's agent, asked over HTTP."""

from __future__ import annotations

import base64
import http.client
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from gpumon.documents.read import parse
from gpumon.documents.snapshot import from_document
from gpumon.documents.thresholds import DIGEST_HEADER
from gpumon.documents.thresholds import from_document as thresholds_of
from gpumon.errors import UnavailableError, UsageError
from gpumon.model import Snapshot
from gpumon.targets.credentials import NEXT_STEP, credentials
from gpumon.thresholds import Thresholds, shipped
from gpumon.web.listen import DEFAULT_PORT

Answer = TypeVar("Answer")

ANSWER_SECONDS = 3.0
"""How long an agent may take to answer."""

LEAST_SECONDS = 0.1
"""What an agent is given for a second answer, however long the first one took."""


class AgentTarget:
    """A node's agent, asked over HTTP; see Target.

    Its thresholds are asked for only if they are wanted and are not those that ship: each snapshot
    comes with their digest.
    """

    def __init__(self, url: str, seconds: float, given: Thresholds | None = None) -> None:
        """Prepare to ask the agent of a URL, each time for ``seconds`` at most.

        ``given`` are the viewer's own thresholds, if it was given any.
        """
        self._url = url
        self._seconds = seconds
        self._until = 0.0
        self._given = given
        self._known = {shipped().digest: shipped()}
        self._digest = shipped().digest

    def read(self) -> Snapshot:
        """Return what the agent knows now; UnavailableError if it does not answer."""
        self._until = time.monotonic() + self._seconds
        snapshot, headers = self._get("/api/v1/snapshot?samples=1", from_document)
        # An agent of before there was such a header judges by what ships.
        self._digest = headers.get(DIGEST_HEADER) or shipped().digest
        return snapshot

    def thresholds(self) -> Thresholds:
        """Return those that the viewer was given, else the agent's; UnavailableError likewise."""
        if self._given is not None:
            return self._given
        if self._digest not in self._known:
            found, _ = self._get("/api/v1/thresholds", thresholds_of)
            self._known[self._digest] = found
        return self._known[self._digest]

    def _get(self, path: str, read: Callable[[Any], Answer]) -> tuple[Answer, Mapping[str, str]]:
        """Return the agent's reply, and the headers, in what is left of its time."""
        try:
            request = urllib.request.Request(  # noqa: S310 - the scheme is checked below
                f"{self._url}{path}",
                headers={"Accept": "application/json", **_authorization()},
            )
            left = max(LEAST_SECONDS, self._until - time.monotonic())
            with _OPENER.open(request, timeout=left) as answer:
                return read(parse(answer.read())), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTPStatus.UNAUTHORIZED:
                    raise UnavailableError(
                        f"{self._url} asks for a password, or refuses this one",
                        NEXT_STEP,
                    ) from None
                raise UnavailableError(
                    f"{self._url} replies {error.code} {error.reason}",
                    "is it a gpumon agent, and up for more than a second?",
                ) from None
        except (OSError, ValueError, http.client.HTTPException, UsageError) as error:
            reason = " ".join(str(getattr(error, "reason", None) or error).split())
            raise UnavailableError(
                f"no answer from {self._url} ({reason})", "is gpumon agent running there?"
            ) from None


def local_agent() -> str | None:
    """Return where the agent of this machine listens, or None if none does."""
    try:
        with socket.create_connection(("127.0.0.1", DEFAULT_PORT), timeout=0.5):
            return f"127.0.0.1:{DEFAULT_PORT}"
    except OSError:
        return None


def agent_url(text: str) -> str:
    """Return the URL of ``HOST``, ``HOST:PORT`` or a URL; UsageError if it is none of them."""
    if "://" in text:
        if not text.startswith(("http://", "https://")):
            raise UsageError(
                f"{text!r} is not a target", "write HOST, HOST:PORT or http://HOST:PORT"
            )
        return text.rstrip("/")
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not a target", "write HOST, HOST:PORT, a URL, sim:… or replay:…"
        )
    return f"http://{match['host']}:{match['port'] or DEFAULT_PORT}"


_HOST_PORT = re.compile(
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?", re.ASCII
)


def _authorization() -> dict[str, str]:
    """Return the header for an agent with a password."""
    known = credentials()
    if known is None:
        return {}
    encoded = base64.b64encode(":".join(known).encode()).decode("ascii")
    return {"Authorization": f"Basic {encoded}"}


# Proxies are for the internet; a node's agent is asked directly.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
