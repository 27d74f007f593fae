"""Since when what ails a GPU has lasted."""

from __future__ import annotations

from gpumon.derive import Since
from gpumon.documents.snapshot import from_document, to_document
from gpumon.model import GpuIdentity, GpuReading, GpuState, Snapshot, SourceInfo

WHO = GpuIdentity(3, "GPU-3")
WELL = GpuReading(identity=WHO, state=GpuState.OK)
HOT = WELL.changed(throttle_reasons=frozenset({"sw_thermal"}))


def began(since: Since, gpu: GpuReading, now: float) -> dict[str, float]:
    """Return when each condition began, with one look at a time."""
    return since.of(gpu, now).get("since") or {}


def test_it_keeps_the_moment_at_which_it_was_first_seen() -> None:
    """However often one looks after that."""
    since = Since()
    assert began(since, HOT, 1000.0) == {"sw_thermal": 1000.0}
    assert began(since, HOT, 1005.0) == {"sw_thermal": 1000.0}


def test_what_comes_and_goes_has_lasted() -> None:
    """A limit that is reached is left again for a tick; away for longer, it begins anew."""
    since = Since()
    began(since, HOT, 1000.0)
    assert began(since, WELL, 1005.0) == {}
    assert began(since, HOT, 1009.0) == {"sw_thermal": 1000.0}
    assert began(since, WELL, 1010.0) == {}
    assert began(since, HOT, 1020.0) == {"sw_thermal": 1020.0}


def test_all_kinds_of_conditions_have_their_own_time() -> None:
    """States, demands of the driver and reasons; what somebody set is none."""
    since = Since()
    both = HOT.changed(throttle_reasons=frozenset({"sw_thermal", "applications_clocks"}))
    began(since, both, 1000.0)
    sick = both.changed(recovery_action="gpu_reset")
    assert began(since, sick, 1002.0) == {"sw_thermal": 1000.0, "gpu_reset": 1002.0}
    lost = GpuReading(identity=WHO, state=GpuState.LOST)
    assert began(since, lost, 1004.0) == {"lost": 1004.0}


def test_a_healthy_gpu_costs_nothing() -> None:
    """Nothing is remembered of it, and no field of its reading is set."""
    assert Since().of(WELL.changed(recovery_action="none"), 1000.0) == {}


def test_a_clock_that_goes_back_has_no_past() -> None:
    """A recording that begins again begins anew."""
    since = Since()
    began(since, HOT, 1000.0)
    assert began(since, HOT, 900.0) == {"sw_thermal": 900.0}


def test_a_recording_tells_what_was_before_it() -> None:
    """The first look at a reading that knows keeps what it knows."""
    assert began(Since(), HOT.changed(since={"sw_thermal": 400.0}), 1000.0) == {"sw_thermal": 400.0}


def test_a_gpu_that_is_gone_is_forgotten() -> None:
    """Another that comes in its place starts anew."""
    since = Since()
    began(since, HOT, 1000.0)
    since.forget(Snapshot(time=1001.0, source=SourceInfo("sim")))
    assert began(since, HOT, 1002.0) == {"sw_thermal": 1002.0}


def test_it_is_in_the_document() -> None:
    """As times, and what is read back is the same."""
    gpu = HOT.changed(since={"sw_thermal": 1000.0})
    document = to_document(Snapshot(time=1003.0, source=SourceInfo("sim"), gpus=(gpu,)))
    assert document["gpus"][0]["since"] == {"sw_thermal": "1970-01-01T00:16:40.000Z"}
    assert from_document(document).gpus[0].since == gpu.since
