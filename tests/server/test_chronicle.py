"""What the agent writes down of what happened, and what it leaves out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gpumon.model import (
    GpuIdentity,
    GpuReading,
    GpuState,
    PassedThrough,
    Snapshot,
    SourceInfo,
)
from gpumon.server.chronicle import MOST_AN_HOUR, Chronicle
from gpumon.statedb.events import Event, load_events
from gpumon.statedb.file import StateFile
from gpumon.views.console import make_console
from gpumon.views.events import about, show, to_text
from tests.support.clock import FakeClock

NVML = SourceInfo("nvml", driver_version="570")


def gpu(state: GpuState = GpuState.OK, reason: str = "") -> GpuReading:
    """Return GPU 3 in a state."""
    return GpuReading(identity=GpuIdentity(3, "GPU-3"), state=state, reason=reason)


def snapshot(*gpus: GpuReading, up: bool = True, source: SourceInfo = NVML) -> Snapshot:
    """Return a snapshot of these."""
    errors = () if up else ("all calls stand still",)
    return Snapshot(time=0.0, source=source, up=up, gpus=gpus, errors=errors)


def told(path: Path, *snapshots: Snapshot, clock: FakeClock | None = None) -> list[str]:
    """Have an agent see these, and return all that stands in the file then."""
    clock = clock or FakeClock()
    state = StateFile(path)
    chronicle = Chronicle(state, clock)
    for one in snapshots:
        chronicle.observe(one)
        clock.pass_(1)
    state.close(5)
    return [f"{e.kind}: {e.text}" for e in load_events(path, 0, 1e12)]


def test_changes_are_told_and_not_what_lasts(tmp_path: Path) -> None:
    """A GPU that is well at first sight is nothing; a loss is one line, its return another."""
    lost = gpu(GpuState.LOST, "GPU is lost")
    seen = [snapshot(one) for one in (gpu(), gpu(), lost, lost, lost, gpu(), gpu())]
    assert told(tmp_path / "state.db", *seen) == [
        "state: ok -> lost: GPU is lost",
        "state: lost -> ok",
    ]


def test_the_next_agent_knows_in_which_state_a_gpu_was(tmp_path: Path) -> None:
    """Lost when the last one ended, and well now."""
    path = tmp_path / "state.db"
    told(path, snapshot(gpu(GpuState.LOST)))
    assert told(path, snapshot(gpu()))[-1] == "state: lost -> ok"


def test_drivers_come_and_go(tmp_path: Path) -> None:
    """A new version, a driver that stands still, and its return."""
    new = dataclasses.replace(NVML, driver_version="580")
    seen = [snapshot(gpu()), snapshot(gpu(), up=False), snapshot(gpu(), source=new)]
    assert told(tmp_path / "state.db", *seen) == [
        "driver: all calls stand still",
        "driver: version 570 -> 580",
        "driver: responds again",
    ]


def test_a_gpu_that_flaps_does_not_fill_the_disk(tmp_path: Path) -> None:
    """A bounded number an hour, and then again."""
    clock = FakeClock()
    flapping = [snapshot(gpu(state)) for state in (GpuState.LOST, GpuState.OK)] * 500
    lines = told(tmp_path / "state.db", *flapping, clock=clock)
    assert len(lines) == MOST_AN_HOUR
    assert lines[-1].endswith("within the hour)")
    clock.pass_(3600)
    assert len(told(tmp_path / "state.db", *flapping[:2], clock=clock)) > MOST_AN_HOUR


def test_events_can_be_chosen_by_gpu_and_kind() -> None:
    """By index or UUID."""
    events = [
        Event(time=1, kind="state", text="a", gpus=(3,), uuids=("GPU-3",)),
        Event(time=2, kind="job", text="b", gpus=(3, 4), uuids=("GPU-3", "GPU-4")),
        Event(time=3, kind="agent", text="c"),
    ]
    kinds = ("state", "job", "agent")
    assert [e.text for e in about(events, "4", kinds)] == ["b"]
    assert [e.text for e in about(events, "GPU-3", kinds)] == ["a", "b"]
    assert [e.text for e in about(events, None, ("agent",))] == ["c"]
    assert to_text(events, "csv").splitlines()[2].startswith("1970-01-01T00:00:02.000Z,job,b,3 4,")


def test_a_name_does_nothing_to_the_terminal(capsys: object) -> None:
    """Control characters of a job's or a process's name are shown as what they are not."""
    console = make_console()
    with console.capture() as capture:
        show(console, [Event(time=0, kind="job", text="job [red]x\x1b[2J\nend[/red]")])
    assert "\x1b" not in capture.get()


def listed(*indices: int, **more: object) -> Snapshot:
    """Return a snapshot of GPUs that are well, by their index; the uuid is of their address."""
    gpus = tuple(
        GpuReading(
            identity=GpuIdentity(
                i, f"GPU-{i}", "H100", serial=f"16{i}", pci_bus_id=f"00000000:1{i}:00.0"
            ),
            state=GpuState.OK,
        )
        for i in indices
    )
    return dataclasses.replace(snapshot(*gpus), **more)


def test_gpus_come_and_go(tmp_path: Path) -> None:
    """Those of the first sight are not new; one that goes to a virtual machine is told apart."""
    away = (PassedThrough("00000000:12:00.0", "vfio-pci"),)
    seen = [
        listed(0, 1, 2),
        listed(0, 1, 2, 3),
        listed(0, 1, 3, passed_through=away),
        listed(0, 1),
        listed(0, 1, unlisted=("00000000:15:00.0",)),
        listed(0, 1, unlisted=("00000000:15:00.0",)),
    ]
    assert told(tmp_path / "state.db", *seen) == [
        "gpu: new: H100, serial 163 at 00000000:13:00.0",
        "gpu: passed through to vfio-pci: H100, serial 162 at 00000000:12:00.0",
        "gpu: no longer listed: H100, serial 163 at 00000000:13:00.0",
        "gpu: the GPU at 00000000:15:00.0 has come to the driver, and NVML does not list it",
    ]


def test_a_gpu_that_says_who_it_is_is_not_new(tmp_path: Path) -> None:
    """It was there all the time, lost."""
    nameless = GpuReading(identity=GpuIdentity(1, "unknown:gpu1"), state=GpuState.LOST)
    first = listed(0)
    seen = [dataclasses.replace(first, gpus=(*first.gpus, nameless)), listed(0, 1)]
    assert told(tmp_path / "state.db", *seen) == ["state: ok -> lost"]
