"""Without a workload manager a GPU is held by whose processes run on it."""

from __future__ import annotations

import dataclasses

from gpumon.model import GpuIdentity, GpuProcess, GpuReading, GpuState
from gpumon.workloads.processes.processes import Processes

ALICE = GpuProcess(pid=1, kind="compute", user="alice", uid=1000)
BOB = GpuProcess(pid=2, kind="compute", user="bob", uid=1001)


def gpu(*processes: GpuProcess, index: int = 0, state: GpuState = GpuState.OK) -> GpuReading:
    """Return a GPU with processes on it."""
    return GpuReading(identity=GpuIdentity(index, f"GPU-{index}"), state=state, held_by=processes)


def test_all_processes_of_a_user_are_one_job() -> None:
    """On however many GPUs; its id names no user."""
    found = Processes().allocation([gpu(ALICE, BOB), gpu(ALICE, index=1)], {}, 100.0)
    assert found is not None
    assert {(h.job_id, h.uuid) for h in found.holdings} == {
        ("user-1000-100", "GPU-0"),
        ("user-1000-100", "GPU-1"),
        ("user-1001-100", "GPU-0"),
    }
    assert found.jobs["user-1000-100"].user == "alice"
    assert found.pids == {1: "user-1000-100", 2: "user-1001-100"}


def test_a_job_that_is_still_shown_goes_on() -> None:
    """Programs that follow each other are one job."""
    manager = Processes()
    first = manager.allocation([gpu(ALICE)], {}, 100.0)
    assert first is not None
    again = manager.allocation([gpu(ALICE)], first.jobs, 200.0)
    assert again is not None
    assert set(again.jobs) == {"user-1000-100"}


def test_a_silent_gpu_is_held_by_whom_it_was() -> None:
    """A GPU that is lost has not been given back."""
    manager = Processes()
    manager.allocation([gpu(ALICE)], {}, 100.0)
    lost = manager.allocation([gpu(state=GpuState.LOST)], {}, 101.0)
    assert lost is not None
    assert [h.uuid for h in lost.holdings] == ["GPU-0"]


def test_who_is_not_to_be_seen_is_unknown() -> None:
    """A process of another namespace has no user here; its GPU is held all the same."""
    stranger = dataclasses.replace(ALICE, user="", uid=None)
    found = Processes().allocation([gpu(stranger)], {}, 100.0)
    assert found is not None
    assert set(found.jobs) == {"user-unknown-100"}
