"""The agent's two processes with a clock that runs ahead: a day in a minute or two.

``python -m tests.e2e.day reader FD TICKS INTERVAL`` reads the driver and sends snapshots, as the
reader's child does; ``… server FD STATE`` takes them in and is scraped. Each half hour of the day
the reader says so and waits for a line, so that what happens to the driver happens in between.
"""

from __future__ import annotations

import ctypes
import gc
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpumon.documents.snapshot import to_document
from gpumon.exposition import Encoder, Format
from gpumon.exposition.owners import owners_of
from gpumon.ledger import Ledger
from gpumon.ledger.ledger import Books
from gpumon.model import (
    Allocation,
    GpuReading,
    Holding,
    Job,
    NvswitchReading,
    Snapshot,
    SourceInfo,
    Tier,
)
from gpumon.reader import frames
from gpumon.server.bookkeeper import BookKeeper
from gpumon.server.chronicle import Chronicle
from gpumon.server.identities import Identities
from gpumon.server.node import Node
from gpumon.server.parts import NodeParts
from gpumon.server.xidmemory import XidMemory
from gpumon.sources.nvml.source import NvmlSource
from gpumon.statedb.expected import ExpectedGpus
from gpumon.statedb.file import StateFile
from gpumon.statedb.ledger import LedgerFile, load_books
from gpumon.thresholds import shipped

ACTIVE_RATIO = shipped().number("activity.idle_ratio")

HALF_HOUR = 1800.0
SCRAPE_SECONDS = 16.0


class AheadClock:
    """Stands still but for the ticks it is given."""

    def __init__(self) -> None:
        """Begin now."""
        self.now = 0.0
        self._time = time.time()

    def time(self) -> float:
        """Return unix seconds."""
        return self._time + self.now

    def monotonic(self) -> float:
        """Return seconds since the beginning, not 0."""
        return 1000.0 + self.now


class HalfHours:
    """A workload manager that gives GPU 0 to another job each half hour; see ``Manager``."""

    name = "slurm"
    errors = 0
    unresolved = 0
    success = True

    def __init__(self, clock: AheadClock) -> None:
        """Go by a clock."""
        self._clock = clock

    def allocation(
        self, gpus: Sequence[GpuReading], shown: Mapping[str, Job], time: float
    ) -> Allocation:
        """Return who has it now."""
        job = Job(job_id=f"{self._clock.now // HALF_HOUR:.0f}", user="alice", manager="slurm")
        held = Holding(job_id=job.job_id, uuid=gpus[0].identity.uuid) if gpus else None
        return Allocation(jobs={job.job_id: job}, holdings=(held,) if held else ())

    async def run(self) -> None:
        """Nothing takes longer."""


def read(sock: socket.socket, ticks: int, interval: float) -> None:
    """Read the driver for so many ticks."""
    clock = AheadClock()
    source = NvmlSource(clock, Tier.FULL)
    due = HALF_HOUR
    try:
        for _ in range(ticks):
            frames.send(sock, source.read())
            clock.now += interval
            if clock.now >= due:
                due += HALF_HOUR
                _give_back()
                say(f"{clock.now}")
                sys.stdin.readline()
    finally:  # the other process may have ended; threads that go on would keep this one
        sock.close()
        source.close()


def serve(sock: socket.socket, state: Path) -> None:
    """Take snapshots in until there are no more, and write what a scraper would be told."""
    clock = AheadClock()
    file = StateFile(state / "state.db")
    source = SourceInfo("nvml")
    chronicle = Chronicle(file, clock)
    ledger = Ledger(file.load(load_books, Books()), LedgerFile(file), active_ratio=ACTIVE_RATIO)
    parts = NodeParts(
        expected=ExpectedGpus(None, file),
        identities=Identities(file),
        xids=XidMemory(file, clock),
        chronicle=chronicle,
        books=BookKeeper(ledger, HalfHours(clock), chronicle=chronicle, clock=clock),
    )
    node = Node("n1", source, parts, clock=clock)
    encoders = {form: Encoder(form, Tier.FULL) for form in Format}
    series, due = 0, 0.0
    while header := frames.exactly(sock, frames.HEADER_BYTES):
        snapshot = frames.unpack(frames.exactly(sock, frames.length(header)))
        assert isinstance(snapshot, Snapshot)
        clock.now = max(clock.now, *(gpu.read_at - 1000.0 for gpu in snapshot.gpus), 0.0)
        node.snapshot(snapshot)
        if clock.now < due:
            continue
        due = clock.now + SCRAPE_SECONDS
        now = node.now()
        assert now is not None
        owners = {**owners_of(now, clock.monotonic()), NvswitchReading: node.nvswitches()}
        for encoder in encoders.values():
            series = encoder.encode(owners).count(b"\n")
        to_document(now)
    _give_back()
    say(f"{series}")
    sys.stdin.readline()
    file.close()


def _give_back() -> None:
    """Return to the system what is not in use: a leak is what is held, not what malloc keeps.

    How much it keeps for later differs from one machine to the next by more than a leak would.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def say(text: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Be the one or the other."""
    role, descriptor, *rest = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as sock:
        # A reader that is far ahead of the server would only fill a queue.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 60, 0))
        if role == "reader":
            read(sock, int(rest[0]), float(rest[1]))
        else:
            serve(sock, Path(rest[0]))


if __name__ == "__main__":
    main()
