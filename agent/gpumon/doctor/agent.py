"""What answers at the agent's address, seen as its clients see it."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request

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
    problem = ""
    for way in dict.fromkeys((url, url.replace("http://", "https://"))):
        try:
            status, said = fetch(f"{way}/-/ready")
        except (OSError, ValueError, http.client.HTTPException) as error:
            # A TLS port says nothing useful of plain HTTP: what the last way says is it.
            problem = " ".join(str(getattr(error, "reason", None) or error).split())
            continue
        return Agent(way, status, said.strip()[:300], _version(f"{way}{metrics}"))
    return Agent(url, problem=problem)


def _version(url: str) -> str:
    """Return the version that an agent's metrics tell; empty where they do not, or are denied."""
    try:
        _, text = fetch(url)
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    found = re.search(r'^gpumon_build_info\{[^}\n]*\bversion="([^"\n]+)"', text, re.MULTILINE)
    return found[1] if found else ""


def fetch(url: str, seconds: float = CALL_SECONDS) -> tuple[int, str]:
    """Return status and text of an answer, which may be an error's; OSError where there is none.

    A certificate is not checked: it is this machine's own, seldom made out to the address that it
    listens on, and nothing secret is sent.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # Proxies are for the internet; a node's agent is asked directly.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=seconds) as answer:
            return answer.status, answer.read(MOST_BYTES).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(MOST_BYTES).decode("utf-8", "replace")
