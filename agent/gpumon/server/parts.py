"""What a node is put together from; most of it may be absent."""

from __future__ import annotations

import dataclasses

from gpumon.clock import SYSTEM, Clock
from gpumon.host import HostView
from gpumon.kernellog import KernelLog
from gpumon.refusals import Refusals
from gpumon.server.bookkeeper import BookKeeper
from gpumon.server.chronicle import Chronicle
from gpumon.server.clockwatch import ClockView
from gpumon.server.identities import Identities
from gpumon.server.xidmemory import XidMemory
from gpumon.statedb.expected import ExpectedGpus
from gpumon.statedb.file import StateFile
from gpumon.thresholds import Thresholds, shipped


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NodeParts:
    """The memories of a node (expected and known GPUs, Xids, notes), its books, its collectors.

    ``thresholds`` are those in force on it, ``refusals`` counts what its parts left out because it
    cannot be.
    """

    expected: ExpectedGpus
    identities: Identities
    xids: XidMemory
    chronicle: Chronicle
    books: BookKeeper | None = None
    host: HostView | None = None
    kernel_log: KernelLog | None = None
    clock: ClockView | None = None
    thresholds: Thresholds = dataclasses.field(default_factory=shipped)
    refusals: Refusals = dataclasses.field(default_factory=Refusals)

    @classmethod
    def bare(
        cls,
        expected: int | None = None,
        thresholds: Thresholds | None = None,
        clock: Clock = SYSTEM,
    ) -> NodeParts:
        """Return what remembers in memory only, without books and collectors."""
        state = StateFile(None)
        return cls(
            expected=ExpectedGpus(expected, state),
            identities=Identities(state),
            xids=XidMemory(state, clock),
            chronicle=Chronicle(state, clock),
            thresholds=thresholds or shipped(),
        )
