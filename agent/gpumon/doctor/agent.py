"""What replies at the agent's address, as its clients see it."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import NamedTuple

from gpumon.doctor.facts import Agent
from gpumon.doctor.here import CALL_SECONDS

MOST_BYTES = 20_000_000
"""No answer of an agent is longer: 72 GPUs in the tier full have some 2 MB."""


def agent(url: str, metrics: str = "/metrics") -> Agent:
    """Ask for the agent that should be at an address of this machine."""
    parts = urllib.parse.urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), CALL_SECONDS):
            pass
    except ConnectionRefusedError:
        return Agent(url, nobody=True)
    except OSError as error:
        return Agent(url, problem=error.strerror or str(error))
    try:
        answer = ask(url, "/-/ready")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        return Agent(url, problem=reason)
    return Agent(
        answer.url, answer.status, answer.text.strip()[:300], _version(answer.url, metrics)
    )


def _version(url: str, metrics: str) -> str:
    """Return the version in an agent's metrics; empty if there is none, or they are denied."""
    try:
        text = ask(url, metrics).text
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    found = re.search(r'^gpumon_build_info\{[^}\n]*\bversion="([^"\n]+)"', text, re.MULTILINE)
    return found[1] if found else ""


class Answer(NamedTuple):
    """What was said, and the URL that said it."""

    url: str
    status: int
    text: str


def ask(url: str, path: str, seconds: float = CALL_SECONDS) -> Answer:
    """Return an agent's answer, which may be an error's; raises OSError and others for none.

    An agent with TLS says nothing useful to plain HTTP, and is asked again as it likes.
    """
    try:
        return _fetch(url, path, seconds)
    except (OSError, ValueError, http.client.HTTPException):
        if url.startswith("https:"):
            raise
    return _fetch(url.replace("http:", "https:", 1), path, seconds)


def _fetch(url: str, path: str, seconds: float) -> Answer:
    # The certificate is this machine's own, seldom made out to the address that it listens on, and
    # nothing secret is sent.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # Proxies are for the internet; a node's agent is asked directly.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url + path, timeout=seconds) as answer:
            return Answer(url, answer.status, answer.read(MOST_BYTES).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(url, error.code, error.read(MOST_BYTES).decode("utf-8", "replace"))
