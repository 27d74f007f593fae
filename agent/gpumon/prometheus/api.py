"""Prometheus's HTTP API, as Prometheus, VictoriaMetrics, Mimir and Thanos answer it."""

from __future__ import annotations

import dataclasses
import email.utils
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gpumon.errors import UnavailableError, UsageError
from gpumon.targets.credentials import NEXT_STEP, credentials

if TYPE_CHECKING:
    from typing_extensions import Self

ANSWER_SECONDS = 120.0
"""How long one query may take; Prometheus itself gives one up after two minutes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """Labels, and points of unix seconds and value, oldest first; there is at least one.

    Every value is finite: NaN is not a reading (0/0, a stale series), and neither is infinity.
    """

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


class PrometheusApi:
    """One server; use it as a context manager.

    GPUMON_TARGET_USER and GPUMON_TARGET_PASSWORD_FILE are its credentials, GPUMON_TARGET_TENANT
    the tenant of a Mimir.
    """

    def __init__(self, url: str, seconds: float = ANSWER_SECONDS) -> None:
        """Prepare to ask, each time for no longer than ``seconds``.

        Raises UsageError for what is not a URL, or where httpx is missing.
        """
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"prom:{url} is not a target", "write prom:http://HOST:9090")
        self.url = url.rstrip("/")
        self._httpx = _httpx()
        self._client = self._httpx.Client(
            auth=credentials(),
            headers=_tenant(),
            timeout=self._httpx.Timeout(seconds, connect=min(seconds, 5.0)),
            follow_redirects=True,
        )

    def __enter__(self) -> Self:
        """Connections are opened as they are needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self._client.close()

    def instant(self, query: str, time: float) -> list[Series]:
        """Return the vector of a query at a time; UnavailableError if there is no answer."""
        result = self._ask("query", {"query": query, "time": f"{time:.3f}"})
        return _series((one["metric"], (one["value"],)) for one in result)

    def range(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Return a query's series from ``start`` to ``end``, both included, each ``step`` seconds.

        Raises UnavailableError if there is no answer.
        """
        asked = {
            "query": query,
            "start": f"{start:.3f}",
            "end": f"{end:.3f}",
            "step": f"{step:.3f}",
        }
        return _series((one["metric"], one["values"]) for one in self._ask("query_range", asked))

    def status(self, path: str) -> tuple[dict[str, Any], float | None]:
        """Return what the server says of itself at ``/api/v1/PATH``, and its time (unix seconds).

        Raises UnavailableError if it does not say it.
        """
        try:
            answer = self._client.get(f"{self.url}/api/v1/{path}")
            answer.raise_for_status()
            data = answer.json()["data"]
            date = answer.headers.get("Date")
            return data, email.utils.parsedate_to_datetime(date).timestamp() if date else None
        except (self._httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnavailableError(
                f"{self.url} does not say its {path.partition('?')[0]} ({reason})",
                "is it a Prometheus, and is it up?",
            ) from None

    def _ask(self, path: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        try:
            # By POST: a query may be longer than a URL may.
            answer = self._client.post(f"{self.url}/api/v1/{path}", data=parameters)
            document = answer.json()
            if document["status"] != "success":
                raise UnavailableError(
                    f"{self.url} refused a query ({document.get('error', 'no reason given')})",
                    "ask for a shorter span, or raise its limits",
                )
            result: list[dict[str, Any]] = document["data"]["result"]
        except self._httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(
                f"no answer from {self.url} ({reason})", "is it a Prometheus, and is it up?"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise UnavailableError(
                f"{self.url} replies {answer.status_code} and not with the result of a query",
                "name the URL to which /api/v1/query is appended"
                + f"; {NEXT_STEP}" * (answer.status_code == HTTPStatus.UNAUTHORIZED),
            ) from None
        return result


def _series(answers: Iterable[tuple[Mapping[str, str], Iterable[Sequence[Any]]]]) -> list[Series]:
    """Return the series that have a point with a finite value, with these points."""
    found = []
    for labels, pairs in answers:
        points = [(float(time), float(value)) for time, value in pairs]
        known = [point for point in points if math.isfinite(point[1])]
        if known:
            found.append(Series(labels, known))
    return found


def _httpx() -> ModuleType:
    try:
        import httpx
    except ImportError:
        raise UsageError(
            "asking a Prometheus needs httpx",
            "pip install '.[ops]' in gpumon's checkout, on the machine you ask from",
        ) from None
    return httpx


def _tenant() -> dict[str, str]:
    tenant = os.environ.get("GPUMON_TARGET_TENANT")
    return {"X-Scope-OrgID": tenant} if tenant else {}
