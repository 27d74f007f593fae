"""What the server knows, tells, and stops telling."""

from __future__ import annotations

import dataclasses

import pytest

from gpumon.model import GpuIdentity, GpuReading, GpuState, Snapshot, SourceInfo
from gpumon.model.agent import ThresholdsInfo
from gpumon.server.node import Node
from gpumon.server.parts import NodeParts
from gpumon.thresholds import shipped, with_own
from tests.support.clock import FakeClock

SOURCE = SourceInfo("nvml", driver_version="580")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def node(clock: FakeClock) -> Node:
    """A node that was told nothing yet."""
    return Node("n1", SOURCE, NodeParts.bare(clock=clock), clock=clock)


def snapshot(clock: FakeClock, count: int = 2, **changes: object) -> Snapshot:
    """Return a snapshot of some healthy GPUs, read now."""
    gpus = tuple(
        GpuReading(
            identity=GpuIdentity(index=i, uuid=f"GPU-{i}"),
            state=GpuState.OK,
            time=clock.time(),
            read_at=clock.monotonic(),
            power_watts=300.0,
        )
        for i in range(count)
    )
    whole = Snapshot(time=clock.time(), source=SOURCE, gpus=gpus, read_seconds=0.25)
    return dataclasses.replace(whole, **changes)


def test_before_the_first_word_nothing_is_claimed(node: Node) -> None:
    """Neither a GPU nor a source that is up."""
    assert node.now() is None
    assert node.ready() == "no reading yet"
    agent = node.agent_reading()
    assert (agent.source_up, agent.gpus, agent.gpus_expected) == (False, 0, None)
    assert agent.source_info == SOURCE


def test_what_was_read_is_told(node: Node, clock: FakeClock) -> None:
    """With the node's name, the sum, and how long reading took."""
    node.snapshot(snapshot(clock))
    now = node.now()
    assert now is not None
    assert now.node == "n1"
    assert now.power.gpu_power_watts == 600
    assert node.ready() == ""
    agent = node.agent_reading()
    assert (agent.source_up, agent.gpus, agent.gpus_expected) == (True, 2, 2)
    assert agent.collector_duration_seconds == {"reader": 0.25}


def test_what_the_gpus_add_up_to_is_told_of_the_moment_of_asking(
    node: Node, clock: FakeClock
) -> None:
    """While they answer; of a silent reader only that they hang, and without books no holders."""
    node.snapshot(snapshot(clock))
    now = node.now()
    assert now is not None
    assert now.totals.gpus is not None
    assert now.totals.gpus["ok"] == 2
    assert (now.totals.gpus_held, now.totals.gpu_energy_joules) == (None, None)
    clock.pass_(60)
    now = node.now()
    assert now is not None
    assert now.totals.gpus is not None
    assert (now.totals.gpus["ok"], now.totals.gpus["hung"]) == (0, 2)


def test_a_silent_reader_means_that_nothing_is_known(node: Node, clock: FakeClock) -> None:
    """Past its patience every GPU hangs, without a reading, and the source is down."""
    node.snapshot(snapshot(clock))
    clock.pass_(6.9)
    assert node.agent_reading().source_up
    clock.pass_(0.2)
    now = node.now()
    assert now is not None
    assert {gpu.state for gpu in now.gpus} == {GpuState.HUNG}
    assert {gpu.power_watts for gpu in now.gpus} == {None}
    assert now.power.gpu_power_watts is None
    assert now.errors == ("the driver has answered nothing since 2023-11-14T22:13:20Z",)
    assert not node.agent_reading().source_up
    assert node.agent_reading().gpus == 0
    assert node.ready() == now.errors[0]
    clock.pass_(60)
    still = node.now()
    assert still is not None
    assert still.errors == now.errors
    node.snapshot(snapshot(clock))
    assert node.ready() == ""


def test_a_reader_that_died_is_said_to_have(node: Node, clock: FakeClock) -> None:
    """For a moment its readings stand; then they are an error, not a hang."""
    node.snapshot(snapshot(clock))
    node.gone("the reader ended unexpectedly (signal 11)")
    assert node.ready() == ""
    clock.pass_(8)
    now = node.now()
    assert now is not None
    assert {gpu.state for gpu in now.gpus} == {GpuState.ERROR}
    assert node.ready() == "the reader ended unexpectedly (signal 11)"


def test_a_driver_that_goes_away_leaves_identities_and_no_count(
    node: Node, clock: FakeClock
) -> None:
    """Who the GPUs were is worth saying; that they are there is not true."""
    node.snapshot(snapshot(clock))
    clock.pass_(1)
    node.snapshot(snapshot(clock, gpus=(), up=False, errors=("no driver",)))
    now = node.now()
    assert now is not None
    assert [(gpu.identity.uuid, gpu.state, gpu.reason) for gpu in now.gpus] == [
        ("GPU-0", GpuState.ERROR, "no driver"),
        ("GPU-1", GpuState.ERROR, "no driver"),
    ]
    agent = node.agent_reading()
    assert (agent.gpus, agent.gpus_expected, agent.source_up) == (0, 2, False)


def test_an_error_is_logged_once(
    node: Node, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Not each tick that it lasts, and again when it comes again."""
    for errors in (("gpu 1 is lost",),) * 3 + ((),) + (("gpu 1 is lost",),):
        node.snapshot(snapshot(clock, errors=errors))
    assert [record.message for record in caplog.records] == ["gpu 1 is lost"] * 2


def test_the_page_gets_the_last_minutes(node: Node, clock: FakeClock) -> None:
    """One point for each reading, of GPUs that are there; five minutes of them."""
    for _ in range(400):
        node.snapshot(snapshot(clock))
        clock.pass_(1)
    history = node.history()
    assert set(history) == {"GPU-0", "GPU-1"}
    assert len(history["GPU-0"]) == 300
    node.snapshot(snapshot(clock, count=1))
    assert set(node.history()) == {"GPU-0"}


def test_it_is_ready_by_the_sites_own_age_and_says_which_thresholds_it_has(
    clock: FakeClock,
) -> None:
    """A reading of four seconds is fresh by what ships, and not by this site."""
    site = with_own({"monitor.fresh_seconds": 3})
    usual = Node("n1", SOURCE, NodeParts.bare(clock=clock), clock=clock)
    own = Node("n1", SOURCE, NodeParts.bare(thresholds=site, clock=clock), clock=clock)
    for node in (usual, own):
        node.snapshot(snapshot(clock))
    clock.pass_(4)
    assert usual.ready() == ""
    assert own.ready() == "no GPU has been read in the last 3 s"
    assert own.agent_reading().thresholds_info == ThresholdsInfo(site.digest)
    assert usual.agent_reading().thresholds_info == ThresholdsInfo(shipped().digest)
