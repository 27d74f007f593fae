"""The fleet over HTTP: every node's metrics, the targets, the site, and the faults."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gpumon.documents.snapshot import to_document as snapshot_document
from gpumon.documents.thresholds import DIGEST_HEADER, to_document
from gpumon.documents.write import json_of
from gpumon.errors import UsageError
from gpumon.exposition import Encoder, content_type, negotiate
from gpumon.model import Tier
from gpumon.model.site import SiteNodeReading, SiteReading
from gpumon.simulate.faults import Fault
from gpumon.simulate.fleet import SimFleet
from gpumon.web.answer import answer, json_answer, json_text_answer
from gpumon.web.server import HttpServer, allow_connections, stop_on_signals

log = logging.getLogger(__name__)

MOST_BYTES = 12_000
"""Of a list of faults; the server itself takes little more of any request."""

NOBODY = "there is no agent here\n"

INDEX = """\
gpumon simulate: {nodes} nodes with {gpus} GPUs. SIMULATED: no hardware was measured.

/nodes/NAME/metrics   what the agent of a node would serve
/sd                   the nodes as targets (http_sd_configs)
/site/metrics         what gpumon site would serve
/api/v1/thresholds    what is in force on all of them
/jobs                 the jobs that run now
/faults               GET lists them, POST {{"faults": ["xid=79@{first}:0,for=10m"]}} adds some,
                      DELETE ends all of them, DELETE /faults/N one
"""


class _Answers:
    """What is answered at each path."""

    def __init__(self, fleet: SimFleet, tier: Tier) -> None:
        self._fleet = fleet
        self._tier = tier

    async def metrics(self, request: Request) -> Response:
        node = self._fleet.nodes.get(request.path_params["name"])
        if node is None:
            return PlainTextResponse("no such node: see /sd\n", 404)
        if node.active("agent_dead") or node.active("node_dead"):
            return PlainTextResponse(NOBODY, 503)
        slow = node.active("agent_slow")
        if slow is not None:
            await asyncio.sleep(slow.number_value())
        accept = request.headers.get("accept", "")
        format_ = negotiate(accept)
        body = node.scrape(format_, self._tier)
        # Not compressed: whoever simulates a thousand nodes has them on the same machine.
        return Response(body, headers={"content-type": content_type(accept)})

    async def snapshot(self, request: Request) -> Response:
        node = self._fleet.nodes.get(request.path_params["name"])
        if node is None:
            return PlainTextResponse("no such node: see /sd\n", 404)
        if node.active("agent_dead") or node.active("node_dead"):
            return PlainTextResponse(NOBODY, 503)
        now = node.look()
        if now is None:
            return json_answer(request, {"error": "no reading yet: try again in a second"}, 503)
        digest = {DIGEST_HEADER: self._fleet.thresholds.digest}
        document = snapshot_document(now, monotonic=self._fleet.clock.monotonic())
        return json_answer(request, document, headers=digest)

    async def targets(self, request: Request) -> Response:
        return json_text_answer(request, json_of(self._fleet.targets(request.url.netloc)))

    async def site(self, request: Request) -> Response:
        if not self._fleet.site_answers():
            return PlainTextResponse(NOBODY, 503)
        accept = request.headers.get("accept", "")
        format_ = negotiate(accept)
        owners: dict[type, Sequence[SiteReading | SiteNodeReading]] = {
            SiteReading: [self._fleet.site_reading()],
            SiteNodeReading: self._fleet.node_readings(),
        }
        return answer(
            request, Encoder(format_).encode(owners), {"content-type": content_type(accept)}
        )

    async def thresholds(self, request: Request) -> Response:
        return json_answer(request, to_document(self._fleet.thresholds))

    async def jobs(self, request: Request) -> Response:
        return json_answer(request, {"jobs": list(self._fleet.jobs())})

    async def faults(self, request: Request) -> Response:
        now = self._fleet.clock.seconds()
        return json_answer(request, _listed(self._fleet.faults, now))

    async def add_faults(self, request: Request) -> Response:
        try:
            new = self._fleet.add_faults(_texts(await _body(request)))
        except UsageError as error:
            return json_answer(request, {"error": str(error)}, 400)
        for fault in new:
            log.info("fault %d: %s@%s", fault.number, fault.kind, fault.where)
        now = self._fleet.clock.seconds()
        return json_answer(request, _listed(new, now), 201)

    async def end_faults(self, request: Request) -> Response:
        number = request.path_params.get("number")
        count = self._fleet.end_faults(None if number is None else [number])
        return json_answer(request, {"ended": count}, 200 if number is None or count else 404)

    async def index(self, _: Request) -> Response:
        plan = self._fleet.plan
        text = INDEX.format(
            nodes=len(plan.nodes),
            gpus=sum(map(plan.gpus_of, plan.nodes)),
            first=plan.nodes[0].node,
        )
        return PlainTextResponse(text)

    async def healthy(self, _: Request) -> Response:
        return PlainTextResponse("gpumon simulate is healthy\n")


def make_fleet_app(fleet: SimFleet, tier: Tier = Tier.STANDARD) -> Starlette:
    """Return the ASGI application of a fleet."""
    answers = _Answers(fleet, tier)
    return Starlette(
        routes=[
            Route("/", answers.index),
            Route("/nodes/{name}/metrics", answers.metrics),
            Route("/nodes/{name}/api/v1/snapshot", answers.snapshot),
            Route("/nodes/{name}/api/v1/thresholds", answers.thresholds),
            Route("/sd", answers.targets),
            Route("/site/metrics", answers.site),
            Route("/api/v1/thresholds", answers.thresholds),
            Route("/jobs", answers.jobs),
            Route("/faults", answers.faults),
            Route("/faults", answers.add_faults, methods=["POST"]),
            Route("/faults", answers.end_faults, methods=["DELETE"]),
            Route("/faults/{number:int}", answers.end_faults, methods=["DELETE"]),
            Route("/-/healthy", answers.healthy),
            Route("/-/ready", answers.healthy),
        ]
    )


def _listed(faults: Iterable[Fault], now: float) -> dict[str, Any]:
    return {"faults": [fault.document(now) for fault in faults]}


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise UsageError(f"more than {MOST_BYTES} bytes", "send fewer faults at a time")
    return body


def _texts(body: bytes) -> list[str]:
    """Return the faults of a request; UsageError if it is something else."""
    try:
        texts = json.loads(body)["faults"]
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            return texts
    except (ValueError, KeyError, TypeError):
        pass
    raise UsageError("not a list of faults", 'send {"faults": ["xid=79@n0001:0"]}')


async def serve_fleet(fleet: SimFleet, sock: socket.socket, tier: Tier) -> None:
    """Serve a fleet on a listening socket until a signal; KeyboardInterrupt after Ctrl-C."""
    # Prometheus keeps a connection for each target that it scrapes at the same time.
    allow_connections(max(256, 2 * len(fleet.nodes)))
    # What there is now stays for good, and a scrape leaves no cycles: going through it all again
    # and again would cost a third of the whole.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)
    stop = asyncio.Event()
    received = stop_on_signals(stop)
    server = HttpServer(make_fleet_app(fleet, tier), sock, None)
    http = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({http, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.end()
        stopping.cancel()
        await asyncio.gather(http, return_exceptions=True)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
