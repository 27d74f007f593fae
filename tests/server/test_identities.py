"""Who a GPU is that does not say it: remembered, or known to be unknown; never empty, never two."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from gpumon.model import (
    NOT_ANSWERED_YET,
    GpuIdentity,
    GpuReading,
    GpuState,
    PassedThrough,
    Snapshot,
    SourceInfo,
    XidEvent,
)
from gpumon.model.terms import unknown_uuid
from gpumon.server.chronicle import Chronicle
from gpumon.server.identities import Identities
from gpumon.server.node import Node
from gpumon.server.parts import NodeParts
from gpumon.server.xidmemory import XidMemory
from gpumon.statedb.events import load_events
from gpumon.statedb.expected import ExpectedGpus
from gpumon.statedb.file import StateFile
from tests.support.clock import FakeClock

NVML = SourceInfo("nvml", driver_version="580")


def well(index: int, address: int | None = None) -> GpuReading:
    """Return a GPU that is well."""
    at = index if address is None else address
    identity = GpuIdentity(
        index,
        f"GPU-{at}",
        "NVIDIA H100",
        serial=f"165{at}",
        pci_bus_id=f"00000000:{0x10 + at:02X}:00.0",
        minor_number=at,
    )
    return GpuReading(identity=identity, state=GpuState.OK, power_watts=100.0)


def lost(index: int, reason: str = "GPU is lost") -> GpuReading:
    """Return a GPU that has never said who it is."""
    identity = GpuIdentity(index, unknown_uuid(f"gpu{index}"))
    state = GpuState.ERROR if reason == NOT_ANSWERED_YET else GpuState.LOST
    return GpuReading(identity=identity, state=state, reason=reason)


class Machine:
    """An agent's memories in a state file, and a node that is made of them."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        """Start an agent."""
        self.path = folder / "state.db"
        self.state = StateFile(self.path)
        self.xids = XidMemory(self.state, clock)
        self.clock = clock
        parts = NodeParts(
            expected=ExpectedGpus(None, self.state),
            identities=Identities(self.state),
            xids=self.xids,
            chronicle=Chronicle(self.state, clock),
        )
        self.node = Node("n1", NVML, parts, clock=clock)

    def see(self, *gpus: GpuReading, **more: object) -> tuple[GpuReading, ...]:
        """Have it see these GPUs, and return what is known of them then."""
        snapshot = Snapshot(time=self.clock.time(), source=NVML, gpus=gpus)
        self.node.snapshot(dataclasses.replace(snapshot, **more))
        now = self.node.now()
        assert now is not None
        return now.gpus

    def end(self) -> list[str]:
        """End the agent, and return what is in its book of events."""
        self.state.close(5)
        return [f"{e.kind} {e.gpus} {e.text}" for e in load_events(self.path, 0, 1e12)]


def test_another_board_at_the_same_place_is_not_taken_for_it(tmp_path: Path) -> None:
    """One that has no uuid to say, but a serial of its own: its joules are not the old board's."""
    machine = Machine(tmp_path, FakeClock())
    before = well(0)
    machine.see(before)
    nameless = dataclasses.replace(before.identity, uuid=unknown_uuid(before.identity.pci_bus_id))
    other = dataclasses.replace(nameless, name="NVIDIA A100", serial="222")
    (found,) = machine.see(before.changed(identity=other))
    assert (found.identity.uuid, found.identity.serial) == (nameless.uuid, "222")
    (found,) = machine.see(before.changed(identity=nameless))
    assert found.identity == before.identity


def uuids(gpus: Sequence[GpuReading]) -> list[str]:
    """Return who they are."""
    return [gpu.identity.uuid for gpu in gpus]


def test_gpus_that_are_lost_at_the_start_are_who_they_were(tmp_path: Path) -> None:
    """Two of four, after a restart: uuid, serial and minor number, and it is said."""
    clock = FakeClock()
    before = Machine(tmp_path, clock)
    before.see(*map(well, range(4)))
    before.end()
    clock.pass_(60)
    after = Machine(tmp_path, clock)
    gpus = after.see(well(0), lost(1), well(2), lost(3))
    assert uuids(gpus) == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]
    assert [gpu.identity.serial for gpu in gpus] == ["1650", "1651", "1652", "1653"]
    assert gpus[3].identity.minor_number == 3
    assert gpus[0].reason == ""
    assert gpus[1].reason == (
        "GPU is lost (NVIDIA H100, serial 1651 at 00000000:11:00.0, "
        "as last seen there on 2023-11-14T22:13:20Z)"
    )
    told = after.end()
    assert [line for line in told if line.startswith("state")] == [
        f"state (1,) ok -> lost: {gpus[1].reason}",
        f"state (3,) ok -> lost: {gpus[3].reason}",
    ]


def test_an_index_that_has_moved_up_misleads_nobody(tmp_path: Path) -> None:
    """GPU 1 is gone from the bus, so that the lost one has the index of another before."""
    clock = FakeClock()
    before = Machine(tmp_path, clock)
    before.see(*map(well, range(4)))
    before.end()
    gpus = Machine(tmp_path, clock).see(well(0), well(1, 2), lost(2))
    assert uuids(gpus) == ["GPU-0", "GPU-2", "GPU-3"]
    assert gpus[2].identity.index == 2


def test_without_a_memory_no_uuid_is_empty_and_none_is_twice(tmp_path: Path) -> None:
    """And `events` says which GPU it is as well as anybody can."""
    machine = Machine(tmp_path, FakeClock())
    gpus = machine.see(lost(0), well(1), lost(2))
    assert uuids(gpus) == ["unknown:gpu0", "GPU-1", "unknown:gpu2"]
    assert [line for line in machine.end() if line.startswith("state")] == [
        "state (0,) ok -> lost: GPU is lost",
        "state (2,) ok -> lost: GPU is lost",
    ]


def test_who_may_be_either_of_two_is_neither(tmp_path: Path) -> None:
    """One GPU is lost where two were; one that was taken out long ago is not taken for it."""
    clock = FakeClock()
    before = Machine(tmp_path, clock)
    before.see(*map(well, range(4)))
    before.end()
    after = Machine(tmp_path, clock)
    assert uuids(after.see(well(0), lost(1), well(2, 3)))[1] == "unknown:gpu1"
    clock.pass_(8 * 86_400)
    after.see(well(0), well(1), well(2, 3))
    assert uuids(after.see(well(0), lost(1), well(2, 3)))[1] == "GPU-1"
    after.end()


def test_one_that_only_has_not_answered_yet_is_no_event(tmp_path: Path) -> None:
    """It is named all the same: its series do not change when it answers."""
    clock = FakeClock()
    before = Machine(tmp_path, clock)
    before.see(*map(well, range(2)))
    before.end()
    after = Machine(tmp_path, clock)
    gpus = after.see(well(0), lost(1, NOT_ANSWERED_YET))
    assert uuids(gpus) == ["GPU-0", "GPU-1"]
    assert gpus[1].reason == NOT_ANSWERED_YET
    after.see(well(0), well(1))
    assert [line for line in after.end() if line.startswith("state")] == []


def test_xids_at_the_address_of_a_gpu_that_nobody_knows_are_its_own(tmp_path: Path) -> None:
    """Xid 79 comes before the agent: the lost GPU shows it by its address."""
    machine = Machine(tmp_path, FakeClock())
    at = "00000000:11:00.0"
    identity = GpuIdentity(1, unknown_uuid(at), pci_bus_id=at)
    silent = GpuReading(identity=identity, state=GpuState.LOST, reason="GPU is lost")
    machine.xids.observe([XidEvent(machine.clock.time(), 79, "0000:11:00", "log")])
    gpus = machine.see(well(0), silent)
    assert gpus[1].xid_errors == {"79": 1}
    assert gpus[0].xid_errors is None


def test_gpus_of_a_virtual_machine_are_neither_missing_nor_lost(tmp_path: Path) -> None:
    """Two of eight boards went to vfio-pci: six are expected, and who the two were is known."""
    clock = FakeClock()
    machine = Machine(tmp_path, clock)
    machine.see(*map(well, range(8)))
    assert machine.node.agent_reading().gpus_expected == 8
    away = tuple(PassedThrough(f"00000000:{0x10 + at:02X}:00.0", "vfio-pci") for at in (6, 7))
    machine.see(*map(well, range(6)), passed_through=away)
    agent, now = machine.node.agent_reading(), machine.node.now()
    assert now is not None
    assert (agent.gpus, agent.gpus_expected, now.gpus_expected) == (6, 6, 6)
    identities = [one.identity for one in now.passed_through]
    assert [identity.uuid for identity in identities if identity] == ["GPU-6", "GPU-7"]
    machine.see(*map(well, range(7)))
    assert machine.node.agent_reading().gpus_expected == 8, (
        "it is not passed through: it is missing"
    )


def test_what_the_source_does_not_list_is_counted_by_why(tmp_path: Path) -> None:
    """What another driver has is not expected; what NVML has not listed is missing."""
    machine = Machine(tmp_path, FakeClock())
    machine.see(
        *map(well, range(4)),
        passed_through=(PassedThrough("00000000:1E:00.0", "vfio-pci"),),
        unlisted=("00000000:1F:00.0", "00000000:20:00.0"),
    )
    agent = machine.node.agent_reading()
    assert agent.gpus_unlisted == {"passed_through": 1, "late": 2}
    assert (agent.gpus, agent.gpus_expected) == (4, 6)
