"""A node's agent, asked over HTTP."""

from __future__ import annotations

import base64
import http.client
import re
import socket
import urllib.error
import urllib.request
from http import HTTPStatus

from gpumon.documents.read import parse
from gpumon.documents.snapshot import from_document
from gpumon.errors import UnavailableError, UsageError
from gpumon.model import Snapshot
from gpumon.targets.credentials import NEXT_STEP, credentials
from gpumon.web.listen import DEFAULT_PORT

ANSWER_SECONDS = 3.0
"""How long an agent may take to answer."""


class AgentTarget:
    """A node's agent, asked over HTTP; see Target."""

    def __init__(self, url: str, seconds: float) -> None:
        """Prepare to ask the agent of a URL, each time for ``seconds`` at most."""
        self._url = url
        self._seconds = seconds

    def read(self) -> Snapshot:
        """Return what the agent knows now; UnavailableError if it does not answer."""
        try:
            request = urllib.request.Request(  # noqa: S310 - the scheme is checked below
                f"{self._url}/api/v1/snapshot?samples=1",
                headers={"Accept": "application/json", **_authorization()},
            )
            with _OPENER.open(request, timeout=self._seconds) as answer:
                return from_document(parse(answer.read()))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTPStatus.UNAUTHORIZED:
                    raise UnavailableError(
                        f"{self._url} asks for a password, or refuses this one",
                        NEXT_STEP,
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


def _authorization() -> dict[str, str]:
    """Return the header for an agent with a password."""
    known = credentials()
    if known is None:
        return {}
    encoded = base64.b64encode(":".join(known).encode()).decode("ascii")
    return {"Authorization": f"Basic {encoded}"}


# Proxies are for the internet; a node's agent is asked directly.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
