"""A snapshot as the encoder takes it: the carriers of each group of metrics."""

from __future__ import annotations

from collections.abc import Sequence

from gpumon.exposition.encoder import Labelled
from gpumon.model import (
    GpuAge,
    GpuReading,
    HostReading,
    JobGpuReading,
    JobReading,
    LedgerReading,
    MigReading,
    NodeReading,
    NodeTotals,
    Snapshot,
)


def owners_of(snapshot: Snapshot, monotonic: float) -> dict[type, Sequence[Labelled]]:
    """Return what a snapshot exposes, by group; ages are those at that monotonic second."""
    gpus = snapshot.gpus
    return {
        NodeReading: [snapshot.power],
        NodeTotals: [snapshot.totals],
        HostReading: [snapshot.host],
        GpuReading: gpus,
        MigReading: [instance for gpu in gpus for instance in gpu.mig],
        JobReading: snapshot.ledger.jobs,
        JobGpuReading: snapshot.ledger.shares,
        LedgerReading: snapshot.ledger.gpus,
        GpuAge: [GpuAge(gpu.label_values, gpu.age(monotonic)) for gpu in gpus],
    }
