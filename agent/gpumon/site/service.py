"""The site's facts, kept fresh, and the HTTP endpoints over them."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gpumon.clock import SYSTEM, Clock
from gpumon.documents.thresholds import to_document
from gpumon.documents.write import json_of
from gpumon.errors import GpumonError
from gpumon.exposition import Encoder, Format, content_type, negotiate
from gpumon.model.agent import ThresholdsInfo
from gpumon.model.site import NodePlace, SiteNodeReading, SiteReading
from gpumon.site.config import Site, load_site
from gpumon.site.factors import HOUR_SECONDS, Factor
from gpumon.site.nodes import SiteNode, merge, of_slurm
from gpumon.site.runbooks import runbook_answer
from gpumon.web.answer import answer, json_answer, json_text_answer
from gpumon.web.guard import App, Guard
from gpumon.web.server import HttpServer, allow_connections, stop_on_signals
from gpumon.workloads.slurm.sinfo import ask_nodes
from gpumon.workloads.slurm.slurmcommand import SlurmError

log = logging.getLogger(__name__)

MISSED_ANSWERS = 10
"""Slurm may fail to reply this many times before its list of nodes is out of date."""

LOOK_SECONDS = 5.0
"""How often the files are looked at."""


Complete = Callable[[Site], Site]
"""Puts into what a site's file says what is said elsewhere."""


def as_it_is(site: Site) -> Site:
    """Put in nothing."""
    return site


class SiteFacts:
    """What is known of the site; belongs to the service's event loop."""

    def __init__(self, path: Path, *, complete: Complete = as_it_is, clock: Clock = SYSTEM) -> None:
        """Read the file; raises what ``load_site`` raises.

        ``complete`` puts in what is said elsewhere than in the file.
        """
        self._path = path
        self._complete = complete
        self._clock = clock
        self.site = complete(load_site(path))
        self._seen = self._stamps()
        self._problems: dict[str, str] = {}
        self._scheduled: dict[str, SiteNode] = {}
        self._asked_at: float | None = None
        self.nodes = merge(self.site.nodes, {})

    def look(self) -> None:
        """Read the files again if one has changed; a broken one leaves what was known."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self.site = self._complete(load_site(self._path))
        except GpumonError as error:
            self._fails("config", f"{error}")
            return
        self._works("config")
        self._seen = self._stamps()
        self.nodes = merge(self.site.nodes, self._scheduled)

    async def ask(self) -> None:
        """Ask Slurm for its nodes."""
        try:
            self._scheduled = of_slurm(await ask_nodes(), self.site.port)
        except SlurmError as error:
            self._fails("slurm", str(error))
            return
        self._works("slurm")
        self._asked_at = self._clock.time()
        self.nodes = merge(self.site.nodes, self._scheduled)

    async def run(self) -> None:
        """Keep the facts fresh until cancelled."""
        asked = -float("inf")
        while True:
            self.look()
            every = self.site.slurm_seconds
            if every is not None and self._clock.monotonic() - asked >= every:
                asked = self._clock.monotonic()
                await self.ask()
            await asyncio.sleep(LOOK_SECONDS)

    def reading(self) -> SiteReading:
        """Return what holds now."""
        return site_reading(
            self.site, self._clock.time(), self._collectors(), asked_at=self._asked_at
        )

    def node_readings(self) -> list[SiteNodeReading]:
        """Return what is served for each node."""
        return readings_of(self.site, self.nodes)

    def targets(self) -> list[dict[str, object]]:
        """Return all nodes' agents as Prometheus's ``http_sd_configs`` wants them."""
        return [
            {
                "targets": [node.address],
                "labels": node.target_labels(self.site.cluster, self.site.name),
            }
            for node in self.nodes
        ]

    def _collectors(self) -> dict[str, int]:
        parts = ["config", *(["slurm"] if self.site.slurm_seconds is not None else [])]
        return {part: int(part not in self._problems) for part in parts}

    def _stamps(self) -> tuple[tuple[str, int, int, int] | None, ...]:
        site: Site | None = getattr(self, "site", None)
        return tuple(map(_stamp, (self._path, *(site.files.values() if site else ()))))

    def _works(self, part: str) -> None:
        if self._problems.pop(part, None):
            log.info("%s can be read again", part)

    def _fails(self, part: str, problem: str) -> None:
        if self._problems.get(part) != problem:
            log.warning("%s; what was known before holds", problem)
        self._problems[part] = problem


def _stamp(path: Path) -> tuple[str, int, int, int] | None:
    """Return what changes when a file is written or replaced; None if it is not there."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - follows a link, as Kubernetes replaces them
    except OSError:
        return None
    return str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino


def site_reading(
    site: Site, now: float, collectors: Mapping[str, int], *, asked_at: float | None = None
) -> SiteReading:
    """Return what holds at a time (unix seconds); ``asked_at`` is when Slurm answered last."""
    hour = int(now // HOUR_SECONDS)
    factors = {"price": site.price, "carbon": site.carbon, "pue": site.pue}
    known = {name: factor for name, factor in factors.items() if factor is not None}
    price, carbon, pue = (_at(fact, hour) for fact in factors.values())
    since = {name: factor.known_since(now) for name, factor in known.items()}
    lifetimes = {name: factor.lifetime for name, factor in known.items()}
    if site.slurm_seconds is not None:
        since["nodes"] = asked_at
        lifetimes["nodes"] = MISSED_ANSWERS * site.slurm_seconds
    source = site.carbon.source if site.carbon else ""
    return SiteReading(
        power_budget_watts=dict(site.budgets) or None,
        pue_ratio=pue,
        energy_price_per_kilowatt_hour=None if price is None else {site.currency: price},
        carbon_intensity_grams_per_kilowatt_hour=(
            None if carbon is None else {(site.zone, source): carbon}
        ),
        fact_age_seconds={name: now - at for name, at in since.items() if at is not None} or None,
        fact_lifetime_seconds=lifetimes or None,
        thresholds_info=ThresholdsInfo(site.thresholds.digest),
        collector_success=collectors,
    )


def readings_of(site: Site, nodes: Sequence[SiteNode]) -> list[SiteNodeReading]:
    """Return what is served for each node of a site.

    Of a single cluster the scrape says which it is, as it does for the agents.
    """
    several = any(node.cluster for node in nodes)
    return [_reading(node, site.cluster if several else "") for node in nodes]


def _reading(node: SiteNode, cluster: str) -> SiteNodeReading:
    return SiteNodeReading(
        node=node.node,
        cluster=node.cluster or cluster,
        node_info=NodePlace(
            node.rack, node.row, node.hall, node.node_partition, node.state or "unknown"
        ),
        expected_gpus=node.expected_gpus,
    )


def _at(factor: Factor | None, hour: int) -> float | None:
    return factor.at(hour) if factor else None


class _Remembered:
    """A text about the nodes, rebuilt only when they change: there may be 27,500."""

    def __init__(self, facts: SiteFacts, make: Callable[[], str]) -> None:
        self._facts = facts
        self._make = make
        self._nodes: object = None
        self._text = ""

    def text(self) -> str:
        if self._nodes is not self._facts.nodes:
            self._nodes, self._text = self._facts.nodes, self._make()
        return self._text


def make_site_app(facts: SiteFacts) -> Starlette:
    """Return the ASGI application of a site."""

    def nodes_in(format_: Format) -> str:
        text = Encoder(format_).encode({SiteNodeReading: facts.node_readings()}).decode()
        return text.removesuffix("# EOF\n")

    encoders = {format_: Encoder(format_) for format_ in Format}
    nodes = {f: _Remembered(facts, functools.partial(nodes_in, f)) for f in Format}
    targets = _Remembered(facts, lambda: json_of(facts.targets()))

    async def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        format_ = negotiate(accept)
        owners: dict[type, list[SiteReading]] = {SiteReading: [facts.reading()]}
        body = encoders[format_].encode(owners, nodes[format_].text())
        return answer(request, body, {"content-type": content_type(accept)})

    async def listed(request: Request) -> Response:
        return json_text_answer(request, targets.text())

    async def thresholds(request: Request) -> Response:
        return json_answer(request, to_document(facts.site.thresholds))

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("gpumon site is healthy\n")

    async def runbook(request: Request) -> Response:
        return runbook_answer(request.path_params.get("name", ""))

    routes = {
        "/metrics": metrics,
        "/api/v1/targets": listed,
        "/api/v1/thresholds": thresholds,
        "/-/healthy": healthy,
        "/-/ready": healthy,
        "/runbooks": runbook,
        "/runbooks/{name}": runbook,
    }
    return Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in routes.items()]
    )


async def serve_site(
    path: Path,
    sock: socket.socket,
    web_config: Path | None = None,
    complete: Complete = as_it_is,
) -> None:
    """Serve a site on a listening socket until a signal.

    ``complete`` puts in what is said elsewhere than in the file. Raises what reading the files
    raises at the start, and KeyboardInterrupt after Ctrl-C.
    """
    facts = SiteFacts(path, complete=complete)
    log.info("%d nodes, %d budgets", len(facts.nodes), len(facts.site.budgets))
    allow_connections()
    stop = asyncio.Event()
    received = stop_on_signals(stop)
    access = None
    app: App = make_site_app(facts)
    if web_config is not None:
        from gpumon.web.access import Access  # YAML and bcrypt, only for whom wants them

        access = Access(web_config)
        app = Guard(app, access)
    server = HttpServer(app, sock, access)
    http = asyncio.create_task(server.serve())
    fresh = asyncio.create_task(facts.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({http, fresh, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.end()
        for task in (fresh, stopping):
            task.cancel()
        outcome = await asyncio.gather(http, fresh, return_exceptions=True)
    for result in outcome:
        if isinstance(result, Exception):
            raise result
    if signal.SIGINT in received:
        raise KeyboardInterrupt
