"""What a server may answer instead of what was asked for, in a line with the next step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gpumon.errors import GpumonError, UnavailableError, UsageError
from gpumon.grafana.login import GrafanaLogin

if TYPE_CHECKING:
    import httpx

NOT_GRAFANA = (
    "name the URL of Grafana's own start page, with its sub-path if it has one, such as"
    " https://HOST/grafana"
)

_DENIED = "You'll need additional permissions to perform this action. "
"""How Grafana begins each 403; what is missing follows."""

_CONFLICTS = {
    "version-mismatch": (
        "somebody saved {what} in Grafana meanwhile",
        "run it again to see whose version is there now",
    ),
    "name-exists": (
        "Grafana has another dashboard with the title of {what} in that folder",
        "rename or move that one, or name another folder with --folder",
    ),
    "plugin-dashboard": (
        "{what} belongs to a plugin of Grafana",
        "remove the plugin's copy of it in Grafana",
    ),
}
"""What each ``status`` of a 412 means (Grafana's HTTP API: create or update a dashboard)."""


def no_connection(access: GrafanaLogin, error: Exception) -> GpumonError:
    """Return the error for a request that brought no answer."""
    import httpx

    reason = access.hide(str(error)) or type(error).__name__
    if isinstance(error, httpx.InvalidURL):
        return UsageError(f"--url {access.url} is not a URL ({reason})", "write http://HOST:3000")
    if isinstance(error, httpx.TimeoutException):
        reason, step = f"{reason}: timeout", "is it up, or is a firewall between?"
    elif "CERTIFICATE_VERIFY_FAILED" in reason:
        step = "for a certificate of your own authority, set SSL_CERT_FILE to the authority's file"
    elif "SSL" in reason:
        step = "is it https there, and this port?"
    else:
        step = "check host and port of --url, and is Grafana up?"
    return UnavailableError(f"no answer from {access.url} ({reason})", step)


def redirected(access: GrafanaLogin, location: str) -> GpumonError:
    """Return the error for an answer that leads elsewhere; a token is not carried there."""
    return UnavailableError(
        f"{access.url} is not a Grafana: it redirects to {access.hide(location) or 'nowhere'}",
        NOT_GRAFANA,
    )


def refused(access: GrafanaLogin, answer: httpx.Response, what: str, need: str) -> GpumonError:
    """Return the error for a status that is not a success.

    ``what`` was asked for, such as ``dashboard gpumon-node``; ``need`` is what lets a token do it.
    """
    body = _body(answer)
    said = access.hide(str(body.get("message", ""))).removeprefix(_DENIED) or "no reason given"
    status = answer.status_code
    if status == 401:
        problem = f"{access.url} does not know this token ({said})"
        return UnavailableError(
            problem, "it is wrong, expired or of another Grafana: make a new one there"
        )
    if status == 403:
        return UnavailableError(f"{access.url} does not let this token do that ({said})", need)
    if status == 404:
        return UnavailableError(
            f"{access.url} has no {what} ({said})",
            "is that Grafana's start page, with its sub-path? If it is, run it again",
        )
    if status == 412:
        problem, step = _CONFLICTS.get(
            str(body.get("status")), ("Grafana did not save {what} ({said})", "run it again")
        )
        return UnavailableError(problem.format(what=what, said=said), step)
    if status >= 500:
        problem = f"{access.url} failed at {what} with {status} ({said})"
        return UnavailableError(problem, "look at Grafana's log, and try again")
    return UnavailableError(
        f"{access.url} refused {what} with {status} ({said})",
        "mend that in Grafana, and run it again",
    )


def unreadable(access: GrafanaLogin, what: str) -> GpumonError:
    """Return the error for an answer that is not as Grafana documents it."""
    return UnavailableError(
        f"{access.url} replies to {what} in a way that Grafana does not document",
        "is a proxy or a login page between?",
    )


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = json.loads(answer.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
