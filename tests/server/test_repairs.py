"""Resets as the agent notices them: a counter, what the driver asks for, an operator's word."""

from __future__ import annotations

import dataclasses

import pytest

from gpumon.ledger import Ledger
from gpumon.ledger.ledger import Books
from gpumon.model import GpuIdentity, GpuReading, GpuState, Snapshot, SourceInfo, XidEvent
from gpumon.model.events import LOG
from gpumon.server.bookkeeper import BookKeeper
from gpumon.server.chronicle import Chronicle
from gpumon.server.node import Node
from gpumon.server.parts import NodeParts
from gpumon.statedb.file import StateFile
from gpumon.statedb.ledger import LedgerFile
from gpumon.workloads import choose
from tests.support.clock import FakeClock

SOURCE = SourceInfo("nvml", driver_version="580")


class Machine:
    """A node with one GPU, which had an Xid 48, and an agent with books."""

    def __init__(self) -> None:
        """Have it happen."""
        self.clock = FakeClock()
        state = StateFile(None)
        chronicle = Chronicle(state, self.clock)
        ledger = Ledger(Books(), LedgerFile(state), active_ratio=0.05)
        books = BookKeeper(
            ledger, choose("auto", {}, real=False), chronicle=chronicle, clock=self.clock
        )
        parts = dataclasses.replace(NodeParts.bare(clock=self.clock), books=books)
        self.node = Node("n1", SOURCE, parts, clock=self.clock)
        self.joules: float | None = 5000.0
        self.read()
        event = XidEvent(self.clock.time(), 48, "0000:3a:00", LOG)
        self.node._parts.xids.observe([event])
        self.read()
        assert self.unresolved == {"48": 1}

    def read(self, state: GpuState = GpuState.OK, action: str | None = None) -> None:
        """Have the agent take in a reading, a second later."""
        self.clock.pass_(1)
        gpu = GpuReading(
            identity=GpuIdentity(index=0, uuid="GPU-0", pci_bus_id="00000000:3A:00.0"),
            state=state,
            time=self.clock.time(),
            read_at=self.clock.monotonic(),
            power_watts=300.0,
            energy_joules=self.joules,
            recovery_action=action,
        )
        self.node.snapshot(Snapshot(time=self.clock.time(), source=SOURCE, gpus=(gpu,)))

    @property
    def unresolved(self) -> dict[str, int]:
        """Which Xids wait for a reset, as they are served."""
        now = self.node.now()
        assert now is not None
        return dict(now.gpus[0].xid_unresolved or {})


@pytest.fixture
def machine() -> Machine:
    """A node whose GPU waits for a reset."""
    return Machine()


def test_time_alone_mends_nothing(machine: Machine) -> None:
    """Not a quarter of an hour, not a week."""
    machine.clock.pass_(7 * 86_400)
    machine.read()
    assert machine.unresolved == {"48": 1}


def test_an_energy_counter_that_begins_again_is_a_reset(machine: Machine) -> None:
    """One that goes on is none, also after the GPU was away."""
    machine.read(GpuState.RESET_REQUIRED)
    machine.joules = 5300.0
    machine.read()
    assert machine.unresolved == {"48": 1}
    machine.joules = 20.0
    machine.read()
    assert machine.unresolved == {"48": 0}


@pytest.mark.parametrize(
    ("actions", "unresolved"),
    [
        (["none", "none"], 1),
        (["gpu_reset", "gpu_reset"], 1),
        (["gpu_reset", "none"], 0),
        (["gpu_reset", "drain_and_reset", "none"], 0),
        (["drain_p2p", "none"], 1),
    ],
)
def test_a_driver_that_no_longer_asks_for_a_reset_has_had_one(
    machine: Machine, actions: list[str], unresolved: int
) -> None:
    """One that never asked says nothing of it."""
    for action in actions:
        machine.read(action=action)
    assert machine.unresolved == {"48": unresolved}


def test_a_release_and_resume_is_the_operators_word(machine: Machine) -> None:
    """Once the GPU responds again; what comes later is another matter."""
    machine.joules = None
    machine.node.release("released")
    machine.node.resume()
    machine.read(GpuState.LOST)
    assert machine.unresolved == {"48": 1}
    machine.read()
    assert machine.unresolved == {"48": 0}
    event = XidEvent(machine.clock.time() + 0.5, 48, "0000:3a:00", LOG)
    machine.node._parts.xids.observe([event])
    machine.read()
    machine.read()
    assert machine.unresolved == {"48": 1}
