"""Enters each tick in the ledger: who holds which GPU, and what the node draws beyond them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpumon.clock import SYSTEM, Clock
from gpumon.host import HostView
from gpumon.ledger import Ledger
from gpumon.model import LedgerRule, LedgerState, Snapshot
from gpumon.model.agent import WorkloadInfo
from gpumon.server.chronicle import Chronicle
from gpumon.workloads.manager import Manager


class BookKeeper:
    """The ledger of a node, and the workload manager that reports the holders."""

    def __init__(
        self,
        ledger: Ledger,
        manager: Manager,
        *,
        chronicle: Chronicle,
        host: HostView | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        """Go on with a ledger; its corrections are noted in the chronicle."""
        self._ledger = ledger
        self._manager = manager
        self._chronicle = chronicle
        self._host = host
        self._clock = clock

    def enter(self, snapshot: Snapshot) -> Mapping[str, tuple[str, ...]]:
        """Enter a tick, and return the ids of the jobs that hold each GPU, by its uuid."""
        time = self._clock.time()
        shown = {job_id: job.job for job_id, job in self._ledger.open_jobs.items()}
        allocation = self._manager.allocation(snapshot.gpus, shown, time)
        self._ledger.update(snapshot, allocation, time, self._beyond_gpus(snapshot))
        for correction in self._ledger.corrected():
            self._chronicle.corrected(*correction)
        return self._ledger.holders()

    def began_again(self) -> frozenset[str]:
        """Return the GPUs (uuids) whose energy counter began again in the last tick."""
        return frozenset(uuid for uuid, _, why in self._ledger.corrected() if why == "reset")

    def state(self) -> LedgerState:
        """Return the ledger as it stands."""
        return self._ledger.state()

    def works(self) -> tuple[str, bool]:
        """Return what the workload manager is called, and whether it reports now."""
        return self._manager.name, self._manager.success

    def reading(self) -> dict[str, Any]:
        """Return what the agent reports of its books, by the fields of its reading."""
        return {
            "ledger_info": LedgerRule(),
            "ledger_corrections": self._ledger.corrections,
            "workload_manager_info": WorkloadInfo(self._manager.name),
            "workload_manager_errors": self._manager.errors,
            "workload_manager_unresolved_jobs": self._manager.unresolved,
        }

    def _beyond_gpus(self, snapshot: Snapshot) -> tuple[str, float] | None:
        """Return how what the node draws beyond its GPUs is known, and in watts."""
        watts = self._host.node_watts() if self._host else None
        if watts is None:
            return None
        method, node_watts = watts
        gpu_watts = sum(gpu.power_watts or 0.0 for gpu in snapshot.gpus)
        return method, max(0.0, node_watts - gpu_watts)
