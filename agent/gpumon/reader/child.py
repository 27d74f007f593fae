"""``python -m gpumon.reader.child FD INTERVAL SPEC``: reads a source on its own clock.

Signals that end a service are ignored here: the server closes the socket, and the reader ends
when no call is under way, since a call that is cut off in the driver can freeze a GPU (NVIDIA
dcgm-exporter issue 84).
"""

from __future__ import annotations

import select
import signal
import socket
import sys

from gpumon.clock import SYSTEM, Schedule
from gpumon.errors import GpumonError, UnavailableError, UsageError
from gpumon.logs import configure_logging
from gpumon.model import Snapshot, SourceInfo
from gpumon.reader.frames import Refusal, send
from gpumon.sources import Source, open_source
from gpumon.sources.spec import SourceSpec


def main(argv: list[str]) -> None:
    """Run the reader until the server closes its end of the socket."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor, interval, spec_text = argv
    configure_logging()
    sock = socket.socket(fileno=int(descriptor))
    try:
        spec = SourceSpec.parse(spec_text)
        source = open_source(spec)
        try:
            _read_on(sock, source, spec, Schedule(float(interval)))
        finally:
            source.close()
    except GpumonError as error:
        send(sock, Refusal(error.problem, error.next_step, isinstance(error, UsageError)))
    except OSError:
        return  # the server is gone


def _read_on(sock: socket.socket, source: Source, spec: SourceSpec, schedule: Schedule) -> None:
    while True:
        send(sock, _read(source, spec))
        readable, _, _ = select.select([sock], [], [], schedule.until_next())
        if readable:  # the server sends nothing: readable means it closed its end
            return


def _read(source: Source, spec: SourceSpec) -> Snapshot:
    try:
        return source.read()
    except UnavailableError as error:
        info = SourceInfo(spec.kind, detail=str(spec).partition(":")[2])
        return Snapshot(time=SYSTEM.time(), source=info, up=False, errors=(str(error),))


if __name__ == "__main__":
    main(sys.argv[1:])
