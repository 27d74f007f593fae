"""Which GPUs a job leaves idle: for minutes on end, and never by a guess."""

from __future__ import annotations

from gpumon.ledger import Ledger
from gpumon.ledger.ledger import Books
from gpumon.model import Allocation, LedgerState
from gpumon.statedb.file import StateFile
from gpumon.statedb.ledger import LedgerFile
from tests.ledger.test_ledger import ACTIVE_RATIO, Bench, by, held

WINDOW = 60.0


def bench() -> Bench:
    """Return a ledger for which a minute without activity is idle."""
    journal = LedgerFile(StateFile(None))
    return Bench(Ledger(Books(), journal, active_ratio=ACTIVE_RATIO, idle_seconds=WINDOW))


def idle(state: LedgerState) -> dict[str, bool | None]:
    """Return what is known of each job's GPU."""
    return {share.job_id: share.idle for share in state.shares if share.share is not None}


def test_a_gpu_is_idle_after_the_window() -> None:
    """From when it was last active; a moment of activity begins it anew."""
    node = bench()
    job = held(by("1"))
    assert idle(node.tick(job)) == {"1": False}
    for _ in range(5):
        assert idle(node.tick(job, seconds=10, activity=0.0)) == {"1": False}
    assert idle(node.tick(job, seconds=10, activity=0.0)) == {"1": True}
    assert idle(node.tick(job, activity=0.06)) == {"1": False}
    assert idle(node.tick(job, activity=0.0)) == {"1": False}


def test_a_job_that_begins_on_an_idle_gpu_has_not_left_it_idle() -> None:
    """However long nobody used the GPU before."""
    node = bench()
    for _ in range(10):
        node.tick(Allocation(), seconds=10, activity=0.0)
    assert idle(node.tick(held(by("1")), activity=0.0)) == {"1": False}
    for _ in range(6):
        state = node.tick(held(by("1")), seconds=10, activity=0.0)
    assert idle(state) == {"1": True}
    # Another job on it begins anew.
    assert idle(node.tick(held(by("2")), activity=0.0)) == {"2": False}


def test_an_agent_that_starts_does_not_know_what_was_before() -> None:
    """Until it has looked for as long as the window, or has seen activity."""
    node = bench()
    job = held(by("1"))
    assert idle(node.tick(job, activity=0.0)) == {"1": None}
    assert idle(node.tick(job, seconds=50, activity=0.0)) == {"1": None}
    assert idle(node.tick(job, seconds=10, activity=0.0)) == {"1": True}
    other = bench()
    other.tick(job, activity=0.0)
    assert idle(other.tick(job, activity=1.0)) == {"1": False}


def test_activity_that_is_not_known_is_not_idleness() -> None:
    """A GPU that reports none (MIG) is left out."""
    node = bench()
    for _ in range(10):
        state = node.tick(held(by("1")), seconds=10, activity=None)
    assert idle(state) == {"1": None}


def test_a_clock_that_was_set_back_is_a_new_beginning() -> None:
    """It is not known for how long the GPU has been idle."""
    node = bench()
    node.tick(held(by("1")), activity=1.0)
    assert idle(node.tick(held(by("1")), seconds=-1000, activity=0.0)) == {"1": None}
    assert idle(node.tick(held(by("1")), seconds=WINDOW, activity=0.0)) == {"1": True}
