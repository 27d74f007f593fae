"""What no hardware can mean does not get past a source: absent, counted, and nobody else's loss."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.exposition import Encoder, Format
from gpumon.exposition.owners import owners_of
from gpumon.ledger import Ledger
from gpumon.ledger.ledger import Books
from gpumon.model import (
    GpuProcess,
    GpuReading,
    HostReading,
    MigIdentity,
    MigReading,
    PowerSample,
    Snapshot,
    Tier,
    XidEvent,
    group_of,
)
from gpumon.model.bounds import Bound, bound_of
from gpumon.refusals import Refusals
from gpumon.server.bookkeeper import BookKeeper
from gpumon.server.node import Node
from gpumon.server.parts import NodeParts
from gpumon.sources import open_source
from gpumon.sources.gate import Gate
from gpumon.sources.kinds import ROWS
from gpumon.statedb.file import StateFile
from gpumon.statedb.ledger import LedgerFile
from gpumon.workloads import choose
from tests.support.clock import FakeClock
from tests.support.fuzz import FUZZ

ONES = (2**8 - 1, 2**16 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
NO_NUMBERS = (math.nan, math.inf, -math.inf)
"""What stands in a reading for a value that is not known."""


@pytest.fixture(scope="module")
def node() -> Snapshot:
    """Two healthy GPUs with everything that a GPU can report."""
    return open_source("sim:2xH100,workload=training", FakeClock()).read()


def gate() -> Gate:
    """Return a gate that has seen nothing, and counts for itself."""
    return Gate(Refusals())


def with_gpu(node: Snapshot, **changes: Any) -> Snapshot:
    """Return the node with other values of its first GPU."""
    return dataclasses.replace(node, gpus=(node.gpus[0].changed(**changes), *node.gpus[1:]))


def test_what_is_possible_passes_as_it_is(node: Snapshot) -> None:
    """Of a simulation in full load, not one value is touched."""
    assert gate().snapshot(node) == node


@pytest.mark.parametrize("kind", [row.name for row in ROWS])
def test_every_kind_of_source_is_behind_the_gate(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a package opens, another vendor's as well."""
    row = next(row for row in ROWS if row.name == kind)
    package = importlib.import_module(f"gpumon.sources.{kind}")
    whole = open_source("sim:1xH100", FakeClock()).read()

    class Absurd:
        def read(self) -> Snapshot:
            return with_gpu(whole, utilization_ratio=(2**32 - 1) / 100, temperature_celsius=-1.0)

    monkeypatch.setattr(package, "open_source", lambda *_: Absurd())
    snapshot = open_source(row.example).read()
    assert snapshot.gpus[0].utilization_ratio is None
    assert snapshot.gpus[0].temperature_celsius is None
    assert snapshot.refused == {"gpu_utilization": 1, "gpu_temperature": 1}


IMPOSSIBLE = [
    ("utilization_ratio", (2**32 - 1) / 100),
    ("utilization_ratio", 2.55),
    ("power_watts", (2**32 - 1) / 1000),
    ("power_watts", -5.0),
    ("power_watts", 1500.0),  # of a GPU with a limit of 700 W
    ("power_peak_watts", 4e6),
    ("memory_power_watts", 65_535.0),
    ("power_limit_watts", (2**32 - 1) / 1000),
    ("energy_joules", (2**64 - 1) / 1000),
    ("energy_joules", (2**32 - 1) / 1000),
    ("energy_joules", -1.0),
    ("temperature_celsius", -1.0),
    ("temperature_celsius", -128.0),
    ("temperature_celsius", 9000.0),
    ("temperature_celsius", 255.0),
    ("memory_temperature_celsius", 2.0**32 - 1),
    ("temperature_margin_celsius", 2.0**32 - 1),
    ("fan_speed_ratio", 655.35),
    ("memory_used_bytes", 2**64 - 1),
    ("memory_used_bytes", 81 * 2**30),  # of 80 GiB
    ("memory_total_bytes", 2**64 - 1),
    ("pcie_link_generation", 2**32 - 1),
    ("pcie_link_generation", 6),  # of 5 at most
    ("pcie_link_width", 32),  # of 16 lanes
    ("pcie_transmit_bytes", 2**64 - 1),
    ("pcie_replays", 2**32 - 1),
    ("nvlink_links_active", 19),  # of 18
    ("nvlink_transmit_bytes", (2**64 - 1) * 1024),
    ("processes", 2**32 - 1),
    ("fabric_status", 2**32 - 1),
    ("row_remap_failed", 2**32 - 1),
    ("throttle_reasons", 2**64 - 1),
    ("sm_active_ratio", math.nan),
]


@pytest.mark.parametrize(("field", "value"), IMPOSSIBLE)
def test_a_value_that_cannot_be_is_absent_and_counted(
    node: Snapshot, field: str, value: Any
) -> None:
    """Every other value of the GPU stays, and the other GPU as it is."""
    passed = gate().snapshot(with_gpu(node, **{field: value}))
    assert passed.gpus[0] == node.gpus[0].changed(**{field: None})
    assert passed.gpus[1] == node.gpus[1]
    assert sum(passed.refused.values()) == 1


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("clock_hertz", {"sm": (2**32 - 1) * 10**6, "memory": 2.6e9}, {"memory": 2.6e9}),
        ("clock_hertz", {"sm": 4e9, "memory": 2.6e9}, {"memory": 2.6e9}),
        ("throttle_seconds", {"sw_power_cap": -1.0, "sync_boost": 0.5}, {"sync_boost": 0.5}),
        ("ecc_errors", {("corrected", "dram"): 2**64 - 1}, None),
        ("nvlink_link_errors", {("crc", "0"): 2**64 - 1, ("crc", "1"): 4}, {("crc", "1"): 4}),
        ("nvlink_link_up", {"0": True, "1": 2**32 - 1}, {"0": True}),
        ("remapped_rows", {"corrected": 2**32 - 1, "uncorrected": 0}, {"uncorrected": 0}),
        ("fabric_unhealthy", {"join_failed": 7}, None),
    ],
)
def test_of_a_value_by_labels_only_the_impossible_goes(
    node: Snapshot, field: str, value: Any, left: Any
) -> None:
    """The rest is shown."""
    passed = gate().snapshot(with_gpu(node, **{field: value}))
    assert getattr(passed.gpus[0], field) == left
    assert sum(passed.refused.values()) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("power_watts", 1399.0),
        ("temperature_margin_celsius", -1.0),
        ("temperature_celsius", 0.0),
        ("temperature_celsius", -3.0),
        ("fan_speed_ratio", 1.04),
        ("sm_active_ratio", 1.0001),
        ("power_watts", 65.535),
        ("pcie_link_width", 4),
        ("memory_used_bytes", 80 * 2**30),
    ],
)
def test_what_is_odd_but_true_passes(node: Snapshot, field: str, value: float) -> None:
    """A spike, heat beyond the slowdown, a cold start, a fan above its maximum, an idle link."""
    snapshot = with_gpu(node, **{field: value, "memory_total_bytes": 80 * 2**30})
    assert getattr(gate().snapshot(snapshot).gpus[0], field) == value


def test_a_limit_of_0_is_not_known_and_refuses_nothing(node: Snapshot) -> None:
    """Of a value, and of one of several by label; what is known of the others holds."""
    odd = with_gpu(
        node,
        clock_hertz={"sm": 1.9e9, "memory": 9e9},
        clock_max_hertz={"sm": 0, "memory": 2.6e9},
        pcie_link_width=16,
        pcie_link_width_max=0,
    )
    passed = gate().snapshot(odd)
    assert passed.gpus[0].clock_hertz == {"sm": 1.9e9}
    assert passed.gpus[0].pcie_link_width == 16
    assert passed.refused == {"gpu_clock": 1}


def test_an_impossible_limit_does_not_excuse_impossible_power(node: Snapshot) -> None:
    """Both are refused, by physics."""
    odd = with_gpu(
        node,
        power_watts=4.29e6,
        power_limit_watts=4.29e6,
        power_limit_default_watts=None,
    )
    gpu = gate().snapshot(odd).gpus[0]
    assert gpu.power_watts is None
    assert gpu.power_limit_watts is None


def test_the_parts_of_a_reading_are_held_against_the_gpu_as_well(node: Snapshot) -> None:
    """Samples, processes and MIG instances."""
    total = node.gpus[0].memory_total_bytes or 0
    good = GpuProcess(7, "compute", 5, 0.5, gpu_instance=1)
    mig = MigReading(
        gpu=0,
        uuid="u",
        identity=MigIdentity("MIG-1", "1g.10gb", 7, 0),
        multiprocessors=2**32 - 1,
        memory_total_bytes=total // 7,
        memory_used_bytes=total // 6,
        sm_active_ratio=math.nan,
    )
    time = node.time
    odd = with_gpu(
        node,
        power_samples=(
            PowerSample(time, 100.0),
            PowerSample(time, 4.29e6),
            PowerSample(2**64 / 1e6, 100.0),
            PowerSample(math.nan, 100.0),
        ),
        held_by=(
            good,
            GpuProcess(2**32 - 1, "compute"),
            GpuProcess(8, "compute", 2**64 - 1, 42949672.95, gpu_instance=2**32 - 1),
        ),
        processes=3,
        mig=(mig,),
        identity=dataclasses.replace(node.gpus[0].identity, module_id=2**32 - 1),
    )
    passed = gate().snapshot(odd)
    gpu = passed.gpus[0]
    assert gpu.power_samples == (PowerSample(time, 100.0),)
    assert gpu.held_by == (good, GpuProcess(8, "compute"))
    assert gpu.processes == 2
    assert gpu.identity == dataclasses.replace(node.gpus[0].identity, module_id=None)
    assert gpu.mig == (
        dataclasses.replace(
            mig, multiprocessors=None, memory_used_bytes=None, sm_active_ratio=None
        ),
    )
    assert passed.refused == {
        "gpu_power_sample": 3,
        "gpu_process_id": 1,
        "gpu_process_memory": 1,
        "gpu_process_sm": 1,
        "gpu_module_id": 1,
        "mig_multiprocessors": 1,
        "mig_memory_used": 1,
        "mig_sm_active": 1,
    }


def test_events_and_the_host_pass_it_too(node: Snapshot) -> None:
    """An Xid is a number of some digits, and a node draws less than a rack."""
    good = XidEvent(node.time, 79, "0000:01:00", "nvml")
    host = HostReading(
        power_watts={("measured", "ipmi"): 65_535.0},
        cpus=64,
        memory_total_bytes=2**40,
        memory_available_bytes=2**41,
    )
    odd = dataclasses.replace(
        node,
        host=host,
        events=(
            good,
            XidEvent(node.time, 2**64 - 1, "0000:01:00", "nvml"),
            XidEvent(math.nan, 31, "0000:01:00", "nvml", pid=2**64 - 1, gpu_instance=-1),
        ),
    )
    passed = gate().snapshot(odd)
    assert passed.events == (good, XidEvent(node.time, 31, "0000:01:00", "nvml"))
    assert passed.host == HostReading(cpus=64, memory_total_bytes=2**40)
    assert passed.refused == {"xid": 1, "node_power": 1, "node_memory_available": 1}


def test_a_reading_is_counted_once_however_often_it_is_shown(
    node: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    """A GPU that is late has its last reading in each snapshot; it is logged once for all time."""
    door = gate()
    odd = with_gpu(node, utilization_ratio=42949672.95, remapped_rows={"corrected": -1})
    with caplog.at_level(logging.WARNING):
        first = door.snapshot(odd)
        again = door.snapshot(odd)
        tick = odd.gpus[0].changed(time=odd.time + 1, repeated=frozenset({"remapped_rows"}))
        later = door.snapshot(dataclasses.replace(odd, gpus=(tick, *odd.gpus[1:])))
    assert first.refused == {"gpu_utilization": 1, "gpu_remapped_rows": 1}
    assert again.refused == {}
    assert again.gpus == first.gpus
    assert later.refused == {"gpu_utilization": 1}  # the rows were not read again
    assert later.gpus[0].remapped_rows is None
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all("gpu 0 (GPU-" in line and "impossible" in line for line in lines)


SLOW = [
    ("pcie_link_width", 255),  # one object wherever it is read
    ("pcie_replays", 2**32 - 1),
    ("nvlink_errors", {"crc": -1, "replay": 3}),
    ("row_remap_failed", 2**32 - 1),
    ("fabric_state", 255),
    ("nvlink_links_active", 19),  # of 18
    ("held_by", (GpuProcess(2**32 - 1, "compute"), GpuProcess(4711, "compute"))),
]


@pytest.mark.parametrize(("field", "value"), SLOW)
def test_a_refused_value_is_counted_once_for_each_time_it_is_read(
    node: Snapshot, field: str, value: Any
) -> None:
    """Not on the ticks between, on which it is remembered as absent; a good one is shown again."""
    good = with_gpu(node, held_by=(GpuProcess(4711, "compute"),), processes=1)
    odd = with_gpu(good, **{field: value})
    kept = with_gpu(odd, repeated=frozenset({field, "processes"}))
    door, counts, shown = gate(), [], []
    for snapshot in (odd, kept, kept, odd, kept, good):
        passed = door.snapshot(dataclasses.replace(snapshot, gpus=(snapshot.gpus[0].changed(),)))
        counts.append(sum(passed.refused.values()))
        shown.append(getattr(passed.gpus[0], field))
    assert counts == [1, 0, 0, 1, 0, 0]
    assert len({str(each) for each in shown[:5]}) == 1
    assert shown[5] == getattr(good.gpus[0], field)


def test_of_an_identity_and_of_instances_too(node: Snapshot) -> None:
    """An instance's SMs and numbers are read when it is found, and not again."""
    odd_number = MigReading(
        gpu=0, uuid="GPU-0", identity=MigIdentity("MIG-1", "1g.10gb", 2**32 - 1, 0)
    )
    odd_sms = dataclasses.replace(odd_number, multiprocessors=2**32 - 1)
    identity = dataclasses.replace(node.gpus[0].identity, module_id=2**32 - 1)
    first = with_gpu(node, identity=identity, mig=(odd_sms,))
    kept = frozenset({"identity", "mig.multiprocessors"})
    door = gate()
    assert door.snapshot(first).refused == {
        "gpu_module_id": 1,
        "mig_multiprocessors": 1,
        "mig_gpu_instance": 1,
    }
    later = door.snapshot(with_gpu(first, repeated=kept))
    assert later.refused == {}
    assert later.gpus[0].identity.module_id is None
    assert later.gpus[0].mig[0].multiprocessors is None
    assert later.gpus[0].mig[0].identity.gpu_instance is None
    another = dataclasses.replace(odd_sms, identity=MigIdentity("MIG-2", "1g.10gb", 2, 0))
    assert door.snapshot(with_gpu(first, repeated=kept, mig=(odd_sms, another))).refused == {
        "mig_multiprocessors": 1
    }


# ---------------------------------------------------------------- whatever a source may say

ABSURD = st.one_of(
    st.sampled_from([*ONES, *(-one for one in ONES), *(one / 1000 for one in ONES), -1, 0]),
    st.sampled_from(NO_NUMBERS),
    st.integers(-(2**70), 2**70),
    st.floats(),
)
NO_NUMBER = re.compile(rb" (NaN|[+-]Inf)$", re.MULTILINE)
FIELDS = {m.field: m for m in group_of(GpuReading).metrics}
READ = {field.name for field in dataclasses.fields(GpuReading)}
NUMBERS = [f for f in FIELDS if f in READ and isinstance(bound_of(GpuReading, FIELDS[f]), Bound)]


@st.composite
def readings(draw: st.DrawFn) -> Mapping[str, Any]:
    """Return absurd values of some fields of a GPU's reading."""
    found: dict[str, Any] = {}
    for field in draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=6, unique=True)):
        metric = FIELDS[field]
        value = draw(ABSURD)
        keys = metric.keys or (("0",),)
        if metric.labels:
            key = draw(st.sampled_from(keys))
            key = (*key, *("0",) * (len(metric.labels) - len(key)))
            value = {key if len(key) > 1 else key[0]: value}
        found[field] = value
    if draw(st.booleans()):
        found["time"] = draw(ABSURD)
    if draw(st.booleans()):
        found["power_samples"] = (PowerSample(draw(ABSURD), draw(ABSURD)),)
    if draw(st.booleans()):
        pid, memory, share = (draw(ABSURD) for _ in range(3))
        found["held_by"] = (GpuProcess(pid, "compute", memory, share),)
    if draw(st.booleans()):
        found["throttle_reasons"] = draw(ABSURD)
    return found


class Agent:
    """An agent's node with its books, fed by hand."""

    def __init__(self, clock: FakeClock, snapshot: Snapshot) -> None:
        """Begin with empty books."""
        parts = NodeParts.bare(clock=clock)
        ledger = Ledger(Books(), LedgerFile(StateFile(None)), active_ratio=0.05)
        books = BookKeeper(
            ledger, choose("auto", {}, real=False), chronicle=parts.chronicle, clock=clock
        )
        self.parts = dataclasses.replace(parts, books=books)
        self.node = Node("n1", snapshot.source, self.parts, clock=clock)
        self.gate = gate()

    def tick(self, snapshot: Snapshot) -> None:
        """Let it read."""
        self.node.snapshot(self.gate.snapshot(snapshot))

    def joules(self, uuid: str) -> tuple[float, ...]:
        """Return what the ledger says of a GPU."""
        now = self.node.now()
        assert now is not None
        accounts = [a for a in now.ledger.gpus if a.uuid == uuid]
        return tuple(a.ledger_energy_joules or 0.0 for a in accounts)


SECONDS = 6
_CLOCK = FakeClock()
_SIM = open_source("sim:2xH100,workload=training", _CLOCK)


def _recorded() -> list[Snapshot]:
    ticks = []
    for _ in range(SECONDS):
        ticks.append(_SIM.read())
        _CLOCK.pass_(1)
    return ticks


TICKS = _recorded()


def _healthy() -> tuple[float, ...]:
    clock = FakeClock(TICKS[0].time)
    agent = Agent(clock, TICKS[0])
    for tick in TICKS:
        agent.tick(tick)
        clock.pass_(1)
    return agent.joules(TICKS[0].gpus[1].identity.uuid)


HEALTHY = _healthy()
assert HEALTHY[0] > 0


@given(odd=readings(), at=st.integers(0, SECONDS - 1), lasts=st.booleans())
@FUZZ
def test_whatever_a_gpu_reports_its_neighbour_is_booked_as_without_it(
    odd: Mapping[str, Any], at: int, *, lasts: bool
) -> None:
    """The agent goes on, what it shows is possible, and the sick GPU's own joules are, too."""
    clock = FakeClock(TICKS[0].time)
    agent = Agent(clock, TICKS[0])
    for second, tick in enumerate(TICKS):
        is_odd = second == at or (lasts and second > at)
        agent.tick(with_gpu(tick, **odd) if is_odd else tick)
        clock.pass_(1)
    assert agent.joules(TICKS[0].gpus[1].identity.uuid) == HEALTHY
    now = agent.node.now()
    assert now is not None
    shown = Encoder(Format.TEXT, Tier.FULL).encode(owners_of(now, clock.monotonic()))
    assert not NO_NUMBER.search(shown)
    for gpu in now.gpus:
        for field, value in numbers(gpu):
            bound = bound_of(GpuReading, FIELDS[field])
            assert isinstance(bound, Bound)
            assert bound.holds(value), (field, value)
    # Without any power or energy there is no account; with either it is possible.
    assert all(0 <= j <= SECONDS * 1400 for j in agent.joules(TICKS[0].gpus[0].identity.uuid))


def numbers(gpu: GpuReading) -> Iterator[tuple[str, float]]:
    """Yield each number of a reading with its field."""
    for field in NUMBERS:
        value = getattr(gpu, field)
        for each in value.values() if isinstance(value, Mapping) else [value]:
            if each is not None:
                yield field, each
