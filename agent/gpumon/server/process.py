"""The agent's process: one event loop that hears the reader and answers HTTP.

Slow and hostile clients are the event loop's ordinary business: a client that dribbles its
request costs a socket, not a thread, and soon not even that (``protocol``).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpumon import __version__
from gpumon.exposition.selfmetrics import SelfMetrics
from gpumon.host import Host
from gpumon.host.timekeeping import counter_epoch, uptime
from gpumon.kernellog import KernelLog
from gpumon.ledger import Ledger
from gpumon.ledger.ledger import Books
from gpumon.ledger.measure import Epoch
from gpumon.model import SourceInfo, SxidEvent, XidEvent
from gpumon.reader.supervisor import Supervisor
from gpumon.refusals import Refusals
from gpumon.server import control, systemd
from gpumon.server.app import make_app
from gpumon.server.bookkeeper import BookKeeper
from gpumon.server.chronicle import Chronicle
from gpumon.server.clockwatch import ClockWatch
from gpumon.server.identities import Identities
from gpumon.server.node import Node
from gpumon.server.options import AgentOptions
from gpumon.server.parts import NodeParts
from gpumon.server.release import Release
from gpumon.server.xidmemory import XidMemory
from gpumon.statedb.expected import ExpectedGpus
from gpumon.statedb.file import StateFile, state_file_name
from gpumon.statedb.ledger import LedgerFile, load_books
from gpumon.times import format_time
from gpumon.web.guard import App, Guard
from gpumon.web.server import HttpServer, allow_connections, stop_on_signals
from gpumon.workloads import choose

if TYPE_CHECKING:
    from gpumon.web.access import Access

log = logging.getLogger(__name__)


async def serve(
    options: AgentOptions,
    sock: socket.socket,
    *,
    stop: asyncio.Event | None = None,
    started: Callable[[Node], None] | None = None,
) -> None:
    """Run the agent on a listening socket until a signal, or until ``stop`` is set.

    Raises KeyboardInterrupt after Ctrl-C, UsageError for a wrong web configuration, and what the
    source refuses with. ``started`` is called
    once HTTP is answered.
    """
    allow_connections()
    stop = stop or asyncio.Event()
    received = stop_on_signals(stop)
    parts = _Parts(options)
    server = HttpServer(parts.app, sock, parts.access)
    http = asyncio.create_task(server.serve())
    reading = asyncio.create_task(parts.supervisor.run())
    stopping = asyncio.create_task(stop.wait())
    answering = asyncio.create_task(server.answering.wait())
    beside = [asyncio.create_task(part) for part in parts.beside()]
    try:
        async with control.listen(options.state_dir, parts.release.handle):
            await asyncio.wait({http, answering}, return_when=asyncio.FIRST_COMPLETED)
            parts.chronicle.note("agent", f"gpumon {__version__} started on {options.source}")
            if started is not None:
                started(parts.node)
            await asyncio.wait(
                {http, reading, stopping, *beside}, return_when=asyncio.FIRST_COMPLETED
            )
    finally:
        systemd.notify("STOPPING=1")
        server.end()
        for task in (stopping, answering, reading, *beside):
            task.cancel()
        outcome = await asyncio.gather(http, reading, *beside, return_exceptions=True)
        await parts.supervisor.close()
        parts.chronicle.note("agent", "ended")
        parts.state.close()
    for result in outcome:
        if isinstance(result, Exception) and not isinstance(result, asyncio.CancelledError):
            raise result
    if signal.SIGINT in received:
        raise KeyboardInterrupt


class _Parts:
    """What an agent is made of, and how it is put together."""

    def __init__(self, options: AgentOptions) -> None:
        name = state_file_name(options.source)
        refusals = Refusals()
        path = options.state_dir / name if options.state_dir else None
        self.state = StateFile(path, refusals)
        # Only a real machine's GPUs stand in this host.
        real = options.source.row.real
        epoch = counter_epoch if real else Epoch
        self.xids = XidMemory(
            self.state,
            has_xids=options.source.row.xids,
            epoch=epoch,
            uptime=uptime if real else None,
        )
        self.chronicle = Chronicle(self.state)
        overhead = options.node_overhead_watts
        self.host = Host(overhead_watts=overhead, refusals=refusals) if real else None
        self.kernel_log = KernelLog(options.kernel_log) if options.kernel_log else None
        self.clock = (
            ClockWatch(self.chronicle, self.state, set_by=self.xids.clock_was_set) if real else None
        )
        self.manager = choose(options.workload_manager, options.workload_settings, real=real)
        books = self.state.load(load_books, Books())
        active = options.thresholds.number("activity.idle_ratio")
        self._note_line(books.active_ratio, active)
        ledger = Ledger(
            books,
            LedgerFile(self.state),
            active_ratio=active,
            idle_seconds=options.thresholds.seconds("activity.idle_window"),
            steady=real,
            epoch=epoch,
        )
        parts = NodeParts(
            expected=ExpectedGpus(options.expected_gpus, self.state),
            identities=Identities(self.state),
            xids=self.xids,
            chronicle=self.chronicle,
            books=BookKeeper(ledger, self.manager, chronicle=self.chronicle, host=self.host),
            host=self.host,
            kernel_log=self.kernel_log,
            clock=self.clock,
            thresholds=options.thresholds,
            refusals=refusals,
        )
        source = SourceInfo(options.source.kind, detail=str(options.source).partition(":")[2])
        self.node = Node(options.node, source, parts, interval=options.interval)
        self.supervisor = Supervisor(options.source, options.interval, self.node, tier=options.tier)
        self.release = Release(self.supervisor, self.node, self.state)
        self.app: App = make_app(
            self.node,
            SelfMetrics(lambda: self.supervisor.pid, options.tier),
            options.tier,
            options.telemetry_path,
            expose_users=options.expose_users,
        )
        self.access = _access(options.web_config)
        if self.access is not None:
            self.app = Guard(self.app, self.access)

    def _note_line(self, before: float | None, now: float) -> None:
        """Note if held GPUs are active from another activity on than they were."""
        if before is not None and before != now:
            self.chronicle.note(
                "agent",
                f"a held GPU is active from {100 * now:g} % activity on; it was from"
                f" {100 * before:g} % on",
            )

    def beside(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what runs beside the reader and the HTTP server, for as long as they do."""
        if systemd.listens():
            yield systemd.keep_telling(self.node)
        if self.host is not None:
            yield self.host.run(self.node.gpu_watts)
        if self.clock is not None:
            yield self.clock.run()
        yield self.manager.run()
        yield self.node.keep_looking()
        if self.kernel_log is not None:
            yield self.kernel_log.run(self.xids.position, self._heard)

    def _heard(self, events: Sequence[XidEvent | SxidEvent], position: str) -> None:
        """Take in what the kernel log reports."""
        for event in self.xids.observe(events, position):
            if event.xid == GSP_TIMEOUT:
                self._leave_alone(event)

    def _leave_alone(self, event: XidEvent) -> None:
        """Ask nothing more of a GPU whose system processor does not answer.

        Each call would stand still for 45 s and hold the driver's lock meanwhile; NVIDIA's own DCGM
        stops all its calls at this Xid. Only a reset helps, for which the agent has to let go
        anyhow, and then begins again.
        """
        gpu = self.node.gpu_at(event.pci)
        if gpu is not None:
            self.supervisor.leave_alone(
                gpu.index,
                f"Xid {event.xid} in the kernel log at {format_time(event.time)[:19]}Z: its system "
                "processor does not answer; gpumon release, reset the GPU, gpumon resume",
            )


GSP_TIMEOUT = 119


def _access(web_config: Path | None) -> Access | None:
    """Return who is let in, if that is restricted; UsageError if the file is wrong."""
    if web_config is None:
        return None
    from gpumon.web.access import Access  # YAML and bcrypt, only for whom wants them

    return Access(web_config)
