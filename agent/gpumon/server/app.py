"""The HTTP endpoints over a node: nothing here reads hardware, so nothing here can wait for it."""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gpumon.clock import SYSTEM
from gpumon.documents.snapshot import to_document
from gpumon.documents.thresholds import DIGEST_HEADER
from gpumon.documents.thresholds import to_document as thresholds_document
from gpumon.errors import UsageError
from gpumon.exposition import Encoder, Format, content_type, negotiate
from gpumon.exposition.owners import owners_of
from gpumon.model import LedgerState, NvswitchReading, Snapshot, Tier
from gpumon.model.agent import AgentReading
from gpumon.server.node import Node
from gpumon.times import format_time
from gpumon.web.answer import answer, json_answer
from gpumon.web.guard import may_see_users


class OwnCost(Protocol):
    """The exposition of what the agent itself costs."""

    def text(self, format_: Format) -> str:
        """Return it without an end marker."""
        ...


def make_app(
    node: Node,
    cost: OwnCost,
    tier: Tier,
    metrics_path: str = "/metrics",
    *,
    expose_users: bool = False,
) -> Starlette:
    """Return the ASGI application of a node; UsageError if the metrics' path is another's.

    ``expose_users`` shows users and names of jobs and processes to everyone.
    """
    if metrics_path in ("/", *_PATHS):
        raise UsageError(
            f"the metrics cannot be at {metrics_path}", "that path has its own meaning"
        )
    live = _Endpoints(node, cost, tier, expose_users=expose_users)
    text = importlib.resources.files("gpumon.server").joinpath("page.html").read_text("utf-8")
    page = text.replace("{{metrics_path}}", metrics_path).encode()

    async def index(request: Request) -> Response:
        return answer(request, page, _PAGE_HEADERS)

    routes = {
        "/": index,
        metrics_path: live.metrics,
        "/-/healthy": live.healthy,
        "/-/ready": live.ready,
        "/api/v1/snapshot": live.snapshot,
        "/api/v1/history": live.history,
        "/api/v1/thresholds": _answer_of(thresholds_document(node.thresholds)),
    }
    return Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in routes.items()]
    )


class _Endpoints:
    """What is served of a node as it is now."""

    def __init__(self, node: Node, cost: OwnCost, tier: Tier, *, expose_users: bool) -> None:
        self._node = node
        self._cost = cost
        self._expose_users = expose_users
        self._encoders = {format_: Encoder(format_, tier) for format_ in Format}
        self._digest = {DIGEST_HEADER: node.thresholds.digest}

    async def metrics(self, request: Request) -> Response:
        accept = request.headers.get("accept", "")
        format_ = negotiate(accept)
        text = self._cost.text(format_)
        body = exposition(self._node, self._encoders[format_], text, users=self._users(request))
        return answer(request, body, {"content-type": content_type(accept)})

    async def healthy(self, _: Request) -> Response:
        return PlainTextResponse("gpumon is healthy\n")

    async def ready(self, _: Request) -> Response:
        why_not = self._node.ready()
        text = f"not ready: {why_not}\n" if why_not else "gpumon is ready\n"
        return PlainTextResponse(text, status_code=503 if why_not else 200)

    async def snapshot(self, request: Request) -> Response:
        now = self._node.now()
        if now is None:
            return json_answer(request, {"error": "no reading yet: try again in a second"}, 503)
        if not self._users(request):
            now = _without_users(now)
        document = to_document(now, samples=request.query_params.get("samples") == "1")
        return json_answer(request, document, headers=self._digest)

    async def history(self, request: Request) -> Response:
        points = {
            uuid: [[format_time(time), watts] for time, watts in series]
            for uuid, series in self._node.history().items()
        }
        return json_answer(request, {"power_watts": points})

    def _users(self, request: Request) -> bool:
        """Return whether this client may see users and what their jobs are called."""
        return may_see_users(request.scope, expose=self._expose_users)


def _answer_of(document: Mapping[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that gives always the same answer."""

    async def endpoint(request: Request) -> Response:
        return json_answer(request, document)

    return endpoint


def _without_users(snapshot: Snapshot) -> Snapshot:
    """Leave out whose processes and jobs they are, and what they are called."""
    gpus = tuple(
        dataclasses.replace(
            gpu,
            held_by=tuple(dataclasses.replace(p, user="", name="", uid=None) for p in gpu.held_by),
        )
        for gpu in snapshot.gpus
    )
    return dataclasses.replace(snapshot, gpus=gpus, ledger=_nameless(snapshot.ledger))


def _nameless(ledger: LedgerState) -> LedgerState:
    jobs = tuple(
        dataclasses.replace(reading, job=dataclasses.replace(reading.job, user="", name=""))
        for reading in ledger.jobs
    )
    return dataclasses.replace(ledger, jobs=jobs)


_PATHS = (
    *("/-/healthy", "/-/ready"),
    *("/api/v1/snapshot", "/api/v1/history", "/api/v1/thresholds"),
)

_PAGE_HEADERS = {
    # The page is one file; it may run its own script and ask its own server, nothing else.
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def exposition(
    node: Node,
    encoder: Encoder,
    more: str,
    *,
    users: bool = False,
    monotonic: float | None = None,
) -> bytes:
    """Return the exposition of all that is known of a node now; ``users`` whose jobs they are.

    Ages are those at a moment of the monotonic clock, by default now.
    """
    monotonic = SYSTEM.monotonic() if monotonic is None else monotonic
    now = node.now()
    if now is not None and not users:
        now = dataclasses.replace(now, ledger=_nameless(now.ledger))
    return encoder.encode(
        {
            AgentReading: [node.agent_reading()],
            **(owners_of(now, monotonic) if now else {}),
            NvswitchReading: node.nvswitches(),
        },
        more,
    )
