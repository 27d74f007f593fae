"""The clock by which everything is dated: kept or not, set, and a machine that slept or booted."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
from pathlib import Path

import pytest
from rich.console import Console

from gpumon.host import timekeeping
from gpumon.host.timekeeping import Daemon, KernelClock, Timekeeping
from gpumon.model import GpuIdentity, SourceInfo, SxidEvent, XidEvent
from gpumon.model.events import NVML
from gpumon.server import clockwatch
from gpumon.server.chronicle import Chronicle
from gpumon.server.clockwatch import LOOK_SECONDS, ClockWatch, Senses
from gpumon.server.xidmemory import XidMemory
from gpumon.statedb.events import Event, load_events
from gpumon.statedb.expected import ExpectedGpus
from gpumon.statedb.file import StateFile
from gpumon.views.events import show, to_text
from tests.support.clock import FakeClock

KEPT = Timekeeping(KernelClock(True, 0.0), Daemon())
UNKEPT = Timekeeping(KernelClock(False, 0.0), Daemon())
UNKNOWN = Timekeeping(KernelClock(), Daemon())
AHEAD = Timekeeping(KernelClock(True, 0.0), Daemon("chronyd", True, 12.0))

HOUR = 3600.0


class Machine:
    """A machine whose clock a test sets, and that sleeps and boots; with an agent on it."""

    def __init__(self, path: Path) -> None:
        """Boot it, and start its agent."""
        self.path = path
        self.clock = FakeClock()
        self.slept = 0.0
        self.boot = "boot-a"
        self.keepers = KEPT
        self.looks: list[float] = []
        self.start()

    def start(self) -> None:
        """Start an agent."""
        self.state = StateFile(self.path)
        self.chronicle = Chronicle(self.state, self.clock)
        self.xids = XidMemory(self.state, self.clock)
        self.watch = ClockWatch(
            self.chronicle,
            self.state,
            set_by=self.xids.clock_was_set,
            clock=self.clock,
            senses=Senses(
                look=self.look,
                uptime=lambda: self.clock.monotonic() + self.slept,
                boot=lambda: self.boot,
            ),
        )

    def look(self) -> Timekeeping:
        """Return what the clock's keepers say."""
        self.looks.append(self.clock.time())
        return self.keepers

    def restart(self, boot: str = "") -> None:
        """End the agent, and start another, perhaps after a boot."""
        self.state.close(5)
        self.boot = boot or self.boot
        self.start()

    def set_by(self, seconds: float) -> None:
        """Set the clock."""
        self.clock._time += seconds

    def sleep(self, seconds: float) -> None:
        """Suspend it: the steady clock stands still."""
        self.clock._time += seconds
        self.slept += seconds

    def go_on(self, seconds: float = 10.0) -> None:
        """Let time pass, with the agent's ticks."""
        for _ in range(round(seconds / 5)):
            self.clock.pass_(5)
            self.watch.tick()

    def xid(self, code: int) -> None:
        """Let a GPU have an Xid."""
        self.xids.observe([XidEvent(self.clock.time(), code, "0000:29:00", NVML)])

    def events(self) -> list[Event]:
        """End the agent, and return all that was written down."""
        self.state.close(5)
        return load_events(self.path, 0, 1e12)

    def notes(self) -> list[str]:
        """Return what was written down of the clock and boots, in the order of its times."""
        return [f"{e.kind}: {e.text}" for e in self.events() if e.kind in ("clock", "boot")]


@pytest.fixture(autouse=True)
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel's first word be that its clock is kept, unless a test says otherwise."""
    monkeypatch.setattr(timekeeping, "kernel_clock", lambda: KernelClock(True, 0.0))


def test_a_clock_that_is_kept_and_goes_on_is_nothing(tmp_path: Path) -> None:
    """Nor is one of which nobody knows, or that is corrected slowly."""
    machine = Machine(tmp_path / "state.db")
    machine.watch.take(KEPT)
    for _ in range(100):
        machine.go_on()
        machine.set_by(0.5)
    machine.watch.take(UNKNOWN)
    assert machine.notes() == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(HOUR, "set forward by 3600.0 s"), (-HOUR, "set back by 3600.0 s"), (1.5, "set forward by")],
)
def test_a_clock_that_is_set_is_noted(tmp_path: Path, seconds: float, words: str) -> None:
    """Once, and its keepers are asked at once."""
    machine = Machine(tmp_path / "state.db")
    machine.go_on()
    machine.set_by(seconds)
    machine.go_on()
    (note,) = machine.notes()
    assert words in note


def test_sleep_is_no_jump_of_the_clock(tmp_path: Path) -> None:
    """The time since the boot says so; a clock that is set besides is one."""
    machine = Machine(tmp_path / "state.db")
    machine.go_on()
    machine.sleep(HOUR)
    machine.go_on()
    assert machine.notes() == ["clock: the machine slept for 3600 s"]
    machine = Machine(tmp_path / "other.db")
    machine.sleep(HOUR)
    machine.set_by(-30)
    machine.go_on()
    assert machine.notes() == [
        "clock: the machine slept for 3600 s",
        "clock: set back by 30.0 s",
    ]


def test_a_boot_is_noted_and_a_restart_is_not(tmp_path: Path) -> None:
    """Two boots between two agents are seen as one: the machine was started again."""
    machine = Machine(tmp_path / "state.db")
    machine.restart()
    machine.restart("boot-c")
    machine.restart()
    assert machine.notes() == ["boot: the machine was started again, 1000 s ago"]


def marks(events: list[Event]) -> list[tuple[int | None, str]]:
    """Return the Xids with what is said of the clock that dated them."""
    return [(event.code, event.clock) for event in events if event.kind == "xid"]


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 0.0])
def test_events_are_marked_while_nothing_keeps_the_clock(tmp_path: Path, ahead: float) -> None:
    """Whichever way it was wrong; those before, and those after it was set, are not."""
    machine = Machine(tmp_path / "state.db")
    machine.watch.take(KEPT)
    machine.xid(13)
    machine.go_on(60)
    machine.set_by(ahead)
    machine.watch.take(UNKEPT)
    machine.go_on(30)
    machine.xid(31)
    machine.go_on(30)
    machine.xid(43)
    machine.set_by(-ahead)
    machine.go_on()
    machine.watch.take(KEPT)
    machine.go_on(60)
    machine.xid(63)
    found = machine.events()
    assert sorted(marks(found)) == [
        (13, ""),
        (31, "not synchronized"),
        (43, "not synchronized"),
        (63, ""),
    ]
    states = [e.text for e in found if e.kind == "clock" and "set" not in e.text]
    assert sorted(states) == [
        "not synchronized: the times of events from here on may be wrong",
        "right again (it was not synchronized)",
    ]


def test_a_clock_that_is_kept_and_off_marks_events_too(tmp_path: Path) -> None:
    """With by how much, in the table and in the document."""
    machine = Machine(tmp_path / "state.db")
    machine.watch.take(AHEAD)
    machine.go_on()
    machine.xid(79)
    found = machine.events()
    assert marks(found) == [(79, "12.0 s ahead")]
    console = Console(file=io.StringIO(), width=160)
    show(console, found)
    assert "(clock 12.0 s ahead)" in console.file.getvalue()  # type: ignore[attr-defined]
    assert '"clock": "12.0 s ahead"' in to_text(found, "json")
    assert to_text(found, "csv").splitlines()[0].endswith(",clock")


def test_a_wrong_clock_is_known_to_the_next_agent(tmp_path: Path) -> None:
    """It is not said a second time, and its end is."""
    machine = Machine(tmp_path / "state.db")
    machine.watch.take(UNKEPT)
    machine.go_on()
    machine.xid(13)
    machine.restart()
    machine.watch.take(UNKEPT)
    machine.go_on()
    machine.xid(31)
    machine.restart()
    machine.watch.take(KEPT)
    machine.go_on(30)
    machine.xid(43)
    found = machine.events()
    assert marks(found) == [(13, "not synchronized"), (31, "not synchronized"), (43, "")]
    assert len([event for event in found if event.kind == "clock"]) == 2


def test_a_clock_that_flaps_is_written_down_to_the_end(tmp_path: Path) -> None:
    """A note that is left out would mark everything that follows."""
    machine = Machine(tmp_path / "state.db")
    for _ in range(30):
        machine.watch.take(UNKEPT)
        machine.go_on(60)
        machine.watch.take(KEPT)
        machine.go_on(60)
    machine.xid(79)
    assert marks(machine.events()) == [(79, "")]


def test_a_clock_that_is_years_ahead_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a boot with a dead battery, before anything has set it."""
    machine = Machine(tmp_path / "state.db")
    machine.xid(79)
    machine.chronicle.note("order", "released")
    source = SourceInfo("nvml")
    ExpectedGpus(None, machine.state).saw(source, 8, machine.clock.time())
    monkeypatch.setattr(timekeeping, "kernel_clock", lambda: KernelClock(False, 0.0))
    machine.set_by(80 * 365 * 86_400)
    machine.restart("boot-b")
    machine.xid(13)
    machine.chronicle.note("order", "resumed")
    expected = ExpectedGpus(None, machine.state)
    expected.saw(source, 7, machine.clock.time())
    machine.set_by(-80 * 365 * 86_400)
    machine.watch.take(KEPT)
    machine.go_on()
    assert expected.count(source, machine.clock.time()) == 8
    texts = [event.text for event in machine.events()]
    assert {"released", "resumed"} <= set(texts)
    assert any("Xid 79" in text for text in texts)


def test_it_looks_at_the_clock_each_minute_and_reports_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keepers are asked in a thread, since they may take a while."""
    machine = Machine(tmp_path / "state.db")
    machine.keepers = AHEAD
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        machine.clock.pass_(seconds)
        await real_sleep(0)
        if len(machine.looks) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(clockwatch.asyncio, "sleep", sleep)
    assert machine.watch.reading()["clock_synchronized"] is None
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(machine.watch.run())
    assert [b - a for a, b in itertools.pairwise(machine.looks)] == [LOOK_SECONDS] * 2
    reading = machine.watch.reading()
    assert (reading["clock_synchronized"], reading["clock_offset_seconds"]) == (True, 12.0)
    assert reading["boot_info"].boot_id == "boot-a"
    machine.state.close(5)


@pytest.mark.parametrize("wrong_by", [HOUR, -HOUR, 10 * 365 * 86_400.0])
def test_how_long_ago_an_xid_was_does_not_change_as_the_clock_is_set(
    tmp_path: Path, wrong_by: float
) -> None:
    """Alerts ask that. One of long ago keeps its time, and the next agent knows the same."""
    machine = Machine(tmp_path / "state.db")
    machine.xids.identify([GpuIdentity(0, "GPU-0", pci_bus_id="00000000:29:00.0")])
    old = machine.clock.time() - 86_400
    machine.xids.observe([XidEvent(old, 13, "0000:29:00", "log")])
    machine.go_on()
    machine.restart("boot-b")
    machine.set_by(wrong_by)
    machine.watch.tick()
    machine.xid(79)
    machine.xids.observe([SxidEvent(machine.clock.time(), 20034, "0000:c1:00", 1, fatal=True)])
    machine.xids.observe([XidEvent(machine.clock.time(), 31, "0000:99:00", NVML)])  # not yet seen
    machine.go_on(30)
    machine.xids.identify([GpuIdentity(1, "GPU-1", pci_bus_id="00000000:99:00.0")])
    machine.set_by(-wrong_by)
    machine.go_on(30)

    def ages() -> dict[str, float]:
        found = {
            **machine.xids.remembered("GPU-0")["xid_last_timestamp_seconds"],
            **machine.xids.remembered("GPU-1")["xid_last_timestamp_seconds"],
            **machine.xids.nvswitches()[0].sxid_last_timestamp_seconds,
        }
        return {code: machine.clock.time() - last for code, last in found.items()}

    expected = {"13": machine.clock.time() - old, "79": 60.0, "31": 60.0, "20034": 60.0}
    assert ages() == pytest.approx(expected)
    machine.restart()
    machine.xids.identify([GpuIdentity(0, "GPU-0", pci_bus_id="00000000:29:00.0")])
    assert ages() == pytest.approx(expected)
    machine.state.close(5)


def test_an_xid_told_on_both_sides_of_a_step_is_one(tmp_path: Path) -> None:
    """By the driver before, by the log after, a clock set back in between: two, and both marked.

    What tells them apart is their times; that they may be wrong is said.
    """
    machine = Machine(tmp_path / "state.db")
    machine.xids.identify([GpuIdentity(0, "GPU-0", pci_bus_id="00000000:29:00.0")])
    machine.watch.take(UNKEPT)
    machine.go_on()
    machine.xid(79)
    machine.set_by(-HOUR)
    machine.go_on()
    machine.xids.observe([XidEvent(machine.clock.time(), 79, "0000:29:00", "log")])
    found = machine.events()
    assert marks(found) == [(79, "not synchronized")] * 2
