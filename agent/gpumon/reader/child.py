"""The reader's process: reads a source on its own clock (``command`` starts it).

Signals that end a service are ignored here: the server closes the socket, and the reader ends
when no call is under way, since a call that is cut off in the driver can freeze a GPU (NVIDIA
dcgm-exporter issue 84).
"""

from __future__ import annotations

import dataclasses
import logging
import select
import signal
import socket

from gpumon.clock import SYSTEM, Schedule
from gpumon.errors import GpumonError, SourceBrokenError, UnavailableError, UsageError
from gpumon.logs import configure_logging
from gpumon.model import Snapshot, SourceInfo, Tier
from gpumon.reader.frames import Message, Outgoing, Refusal, receive_order, send
from gpumon.sources import Source, open_source
from gpumon.sources.spec import ENOUGH, Patience, SourceSpec

log = logging.getLogger("gpumon.reader")


def main(argv: list[str]) -> None:
    """Run the reader until the server closes its end of the socket."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    descriptor, interval, tier, spec_text, *patience = argv
    configure_logging()
    spec = SourceSpec.parse(spec_text)
    source: Source | None = None
    with socket.socket(fileno=int(descriptor)) as sock:
        try:
            source = open_source(spec, tier=Tier[tier.upper()], patience=_patience(patience))
            _read_on(sock, source, spec, Schedule(float(interval)))
        except SourceBrokenError as error:
            log.error("%s", error)  # noqa: TRY400 - expected: no traceback
        except GpumonError as error:
            _send(sock, Refusal(error.problem, error.next_step, isinstance(error, UsageError)))
    # The socket is closed first: the server hears at once that this reader is done, and a call
    # that is under way may take its time.
    if source is not None:
        source.close()


def _patience(words: list[str]) -> Patience:
    """Return what ``reader_command`` has written."""
    if not words:
        return ENOUGH
    until, call = words
    return Patience(float(until) if until else None, float(call))


def _read_on(sock: socket.socket, source: Source, spec: SourceSpec, schedule: Schedule) -> None:
    outgoing = Outgoing()
    while _obey(sock, source) and _send(sock, outgoing.shortened(_read(source, spec))):
        select.select([sock], [], [], schedule.until_next())


def _obey(sock: socket.socket, source: Source) -> bool:
    """Do what the server has ordered, and return whether it is still there."""
    while select.select([sock], [], [], 0)[0]:
        order = receive_order(sock)
        if order is None:
            return False
        source.leave_alone(order.index, order.reason)
    return True


def _send(sock: socket.socket, message: Message) -> bool:
    """Send a message, and return whether the server is still there to hear it."""
    try:
        send(sock, message)
    except OSError:
        return False
    return True


def _read(source: Source, spec: SourceSpec) -> Snapshot:
    began = SYSTEM.monotonic()
    try:
        snapshot = source.read()
        return dataclasses.replace(snapshot, read_seconds=SYSTEM.monotonic() - began)
    except UnavailableError as error:
        info = SourceInfo(spec.kind, detail=str(spec).partition(":")[2])
        return Snapshot(time=SYSTEM.time(), source=info, up=False, errors=(str(error),))
