"""Xids remembered: each once, through restarts, and for the GPU that had them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.ledger.measure import Epoch
from gpumon.model import GpuIdentity, GpuReading, GpuState, SxidEvent, XidEvent
from gpumon.model.events import BUS, LOG, NVML
from gpumon.server.xidmemory import SAME_SECONDS, XidMemory
from gpumon.statedb.file import StateFile
from gpumon.statedb.xids import PastEvent
from tests.support.clock import FakeClock

GPU = GpuIdentity(index=3, uuid="GPU-3", pci_bus_id="00000000:3A:00.0")
PCI = "0000:3a:00"


def xid(time: float, code: int, source: str = LOG, **more: object) -> XidEvent:
    """Return an Xid of GPU 3."""
    return XidEvent(time, code, PCI, source, **more)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves; it is 1970, as in the events below."""
    clock = FakeClock()
    clock._time = 1000.0
    return clock


@pytest.fixture
def memory(clock: FakeClock) -> XidMemory:
    """A memory that knows GPU 3, and nothing that happened to it."""
    memory = XidMemory(StateFile(None), clock)
    memory.identify([GPU])
    return memory


def told(memory: XidMemory, state: GpuState = GpuState.OK) -> GpuReading:
    """Return GPU 3's reading as it is served."""
    (reading,) = memory.complete((GpuReading(identity=GPU, state=state),))
    return reading


def test_a_gpu_without_xids_counts_from_nought(memory: XidMemory) -> None:
    """A counter that begins with its first event would hide it from increase()."""
    reading = told(memory)
    assert reading.xid_events == {"application": 0, "driver": 0, "hardware": 0}
    assert reading.xid_errors is None


def test_xids_are_counted_by_code_and_class_with_the_time_of_the_last(memory: XidMemory) -> None:
    """Whatever the GPU's state: it matters most where it is lost."""
    memory.observe([xid(100, 13), xid(200, 13), xid(300, 79), xid(150, 13)])
    reading = told(memory, GpuState.LOST)
    assert reading.xid_errors == {"13": 3, "79": 1}
    assert reading.xid_last_timestamp_seconds == {"13": 200, "79": 300}
    assert reading.xid_events == {"application": 3, "driver": 0, "hardware": 1}


@pytest.mark.parametrize("order", [(LOG, NVML), (NVML, LOG)])
def test_what_two_sources_tell_within_two_seconds_is_one(
    memory: XidMemory, order: tuple[str, str]
) -> None:
    """In whichever order; later it is two."""
    first, second = order
    assert len(memory.observe([xid(100, 31, first)])) == 1
    assert memory.observe([xid(101.9, 31, second)]) == []
    assert told(memory).xid_errors == {"31": 1}
    memory.observe([xid(200, 31, first)])
    memory.observe([xid(202.1, 31, second)])
    assert told(memory).xid_errors == {"31": 3}


def test_what_one_source_tells_twice_is_two(memory: XidMemory) -> None:
    """However close; and the other source's two tellings are the same two."""
    memory.observe([xid(100, 45), xid(100, 45), xid(100.1, 45, NVML), xid(100.2, 45, NVML)])
    assert told(memory).xid_errors == {"45": 2}


def test_plain_words_about_the_bus_are_the_xid_that_has_a_number(memory: XidMemory) -> None:
    """Number, words, and the driver's event: one Xid 79."""
    memory.observe([xid(100, 79, BUS), xid(100.1, 79, LOG), xid(100.5, 79, NVML)])
    assert told(memory).xid_errors == {"79": 1}


@given(
    st.lists(
        st.tuples(st.sampled_from([LOG, NVML]), st.floats(0, 30)),
        max_size=40,
    )
)
def test_the_count_is_at_least_each_sources_and_at_most_their_sum(
    tellings: list[tuple[str, float]],
) -> None:
    """Two tellings of one source are never one, and nothing is counted twice by one telling."""
    memory = XidMemory(StateFile(None), FakeClock())
    memory.identify([GPU])
    tellings.sort(key=lambda telling: telling[1])
    for source, time in tellings:
        memory.observe([xid(1000 + time, 13, source)])
    of_log = sum(source == LOG for source, _ in tellings)
    of_nvml = len(tellings) - of_log
    count = (told(memory).xid_errors or {"13": 0})["13"]
    assert max(of_log, of_nvml) <= count <= of_log + of_nvml
    assert count == len(tellings) - _pairs(tellings)


def _pairs(tellings: list[tuple[str, float]]) -> int:
    """Count the pairs by the rule, told another way: each takes the oldest that is still open."""
    pairs = 0
    waiting: list[tuple[str, float]] = []
    for source, time in tellings:
        partner = next(
            (w for w in waiting if w[0] != source and abs(time - w[1]) <= SAME_SECONDS), None
        )
        if partner is None:
            waiting.append((source, time))
        else:
            waiting.remove(partner)
            pairs += 1
    return pairs


def test_a_restart_loses_nothing_and_invents_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """Counts, times and the place in the log are there again; and so is what is still open."""
    path = tmp_path / "state.db"
    state = StateFile(path)
    before = XidMemory(state, clock)
    before.identify([GPU])
    before.observe([xid(100, 13), xid(100, 13)], "boot 7")
    before.observe([xid(200, 63, NVML)])
    state.close()
    after = XidMemory(StateFile(path), clock)
    assert after.position == "boot 7"
    assert told(after).xid_errors == {"13": 2, "63": 1}
    # The log line of what the driver had told before the end.
    assert after.observe([xid(201, 63, LOG, pid=7)], "boot 8") == []
    after.observe([xid(300, 63)], "boot 9")
    assert told(after).xid_errors == {"13": 2, "63": 2}


def test_an_xid_of_an_address_without_a_gpu_waits_for_one(tmp_path: Path, clock: FakeClock) -> None:
    """As of one that fell off the bus before the agent came; also over a restart."""
    path = tmp_path / "state.db"
    state = StateFile(path)
    before = XidMemory(state, clock)
    before.observe([xid(100, 79), xid(101, 13)])
    assert before.unattributed == 2
    state.close()
    state = StateFile(path)
    after = XidMemory(state, clock)
    assert after.unattributed == 2
    after.identify([GPU])
    assert after.unattributed == 0
    assert told(after).xid_errors == {"13": 1, "79": 1}
    state.close()
    again = XidMemory(StateFile(path), clock)
    assert told(again).xid_errors == {"13": 1, "79": 1}
    # Not enumerated any more, but known: it is still its own.
    again.observe([xid(500, 79)])
    assert again.unattributed == 0
    assert told(again).xid_errors == {"13": 1, "79": 2}


def test_a_board_that_was_exchanged_does_not_inherit(memory: XidMemory) -> None:
    """What happened belongs to the board and not to its slot."""
    memory.observe([xid(100, 79)])
    other = GpuIdentity(index=3, uuid="GPU-new", pci_bus_id=GPU.pci_bus_id)
    memory.identify([other])
    memory.observe([xid(200, 13)])
    (new,) = memory.complete((GpuReading(identity=other, state=GpuState.OK),))
    assert new.xid_errors == {"13": 1}
    assert told(memory).xid_errors == {"79": 1}


def test_nvswitches_are_counted_by_code_and_severity(tmp_path: Path, clock: FakeClock) -> None:
    """And remembered likewise."""
    state = StateFile(tmp_path / "state.db")
    memory = XidMemory(state, clock)
    memory.observe(
        [
            SxidEvent(100, 20034, "0000:87:00", 0, fatal=True, link=44),
            SxidEvent(110, 20034, "0000:87:00", 0, fatal=True, link=45),
            SxidEvent(120, 12028, "0000:87:00", 0, fatal=False),
        ]
    )
    (switch,) = memory.nvswitches()
    assert switch.label_values == ("0", "0000:87:00")
    assert switch.sxid_errors == {("12028", "non_fatal"): 1, ("20034", "fatal"): 2}
    assert switch.sxid_last_timestamp_seconds == {"12028": 120, "20034": 110}
    state.close()
    assert XidMemory(StateFile(tmp_path / "state.db"), clock).nvswitches() == (switch,)


def test_each_event_is_one_line_with_what_is_known_of_it(
    memory: XidMemory, caplog: pytest.LogCaptureFixture
) -> None:
    """When, which GPU, whose process, the words, and what to do; told again it is not repeated."""
    caplog.set_level(logging.INFO)
    memory.observe([xid(100, 31, LOG, pid=4711, process="python3", text="MMU Fault")])
    memory.observe([xid(100, 31, NVML)])
    (record,) = caplog.records
    assert record.getMessage() == "Xid 31 on GPU 3: A program touched memory that is not mapped"
    fields = record.fields  # type: ignore[attr-defined]
    assert fields["uuid"] == "GPU-3"
    assert (fields["pid"], fields["process"], fields["text"]) == (4711, "python3", "MMU Fault")
    assert fields["event_time"].startswith("1970-01-01T00:01:40")
    assert fields["next_step"]


def test_ten_in_many_days_are_no_flood(
    memory: XidMemory, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has its line, also where nobody scrapes meanwhile."""
    caplog.set_level(logging.INFO)
    for _ in range(20):
        clock.pass_(86400)
        memory.observe([xid(clock.time(), 31)])
    assert len(caplog.records) == 20


def test_a_flood_of_an_nvswitch_is_logged_in_short_too(
    memory: XidMemory, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A link that trains and fails tells of it again and again."""
    memory.observe([SxidEvent(n / 100, 20034, "0000:87:00", 0, fatal=True) for n in range(500)])
    assert len(caplog.records) == 10
    clock.pass_(61)
    memory.observe([])
    assert "SXid 20034 at 0000:87:00: 490 more in a minute" in caplog.text
    (switch,) = memory.nvswitches()
    assert switch.sxid_errors == {("20034", "fatal"): 500}


def test_past_events_are_told_with_all_that_any_source_said(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The newest, oldest first; what a source of before a restart said is not forgotten."""
    path = tmp_path / "state.db"
    clock._time = 1000.0
    state = StateFile(path)
    before = XidMemory(state, clock)
    before.identify([GPU])
    before.observe([xid(100, 13), xid(200, 31, LOG, gpu_instance=2, compute_instance=1)])
    state.close()
    state = StateFile(path)
    after = XidMemory(state, clock)
    after.observe([xid(201, 31, NVML, pid=7)])
    after.observe([SxidEvent(300, 20034, "0000:87:00", 0, fatal=True, text="Fault")])
    state.close()
    memory = XidMemory(StateFile(path), clock)
    assert [event.code for event in memory.recent(0, 10)] == [13, 31, 20034]
    assert [event.code for event in memory.recent(150, 1)] == [20034]
    merged = memory.recent(150, 2)[0]
    assert merged == PastEvent(200, "xid", PCI, "GPU-3", 31, (LOG, NVML), 7, "", "", 2, 1)
    assert memory.recent(301, 10) == []


def test_a_flood_is_counted_in_full_and_logged_in_short(
    memory: XidMemory, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten lines, and once a minute how many more there were."""
    caplog.set_level(logging.INFO)
    memory.observe([xid(100 + n / 100, 45) for n in range(1000)])
    told(memory)
    assert len(caplog.records) == 10
    clock.pass_(61)
    assert told(memory).xid_errors == {"45": 1000}
    assert "990 more in a minute" in caplog.text


def switches(memory: XidMemory) -> dict[str, int] | None:
    """Return which SXids of the one NVSwitch wait for a reset."""
    (switch,) = memory.nvswitches()
    return dict(switch.sxid_unresolved or {})


FATAL = SxidEvent(900, 20034, "0000:87:00", 0, fatal=True)


def test_an_xid_that_asks_for_a_reset_waits_for_one(memory: XidMemory) -> None:
    """However long; what asks for nothing, and another GPU's reset, is no part of it."""
    memory.observe([xid(900, 79), xid(900, 48), xid(900, 13)])
    assert told(memory).xid_unresolved == {"48": 1, "79": 1}
    memory.was_reset("GPU-another", 2000)
    assert told(memory).xid_unresolved == {"48": 1, "79": 1}
    memory.was_reset("GPU-3", 2000)
    assert told(memory).xid_unresolved == {"48": 0, "79": 0}
    memory.observe([xid(2100, 48)])
    assert told(memory).xid_unresolved == {"48": 1, "79": 0}


def test_what_is_heard_late_of_before_a_reset_asks_for_nothing(memory: XidMemory) -> None:
    """The log may be read after the GPU was, by an agent that comes back."""
    memory.was_reset("GPU-3", 950)
    memory.switches_were_reset(950)
    memory.observe([xid(900, 79), FATAL])
    assert told(memory).xid_unresolved == {"79": 0}
    assert switches(memory) == {"20034": 0}


@pytest.mark.parametrize(
    ("later", "unresolved"),
    [
        (Epoch("one", "7"), 1),
        (Epoch("two", "7"), 0),
        (Epoch("one", "8"), 0),
        (Epoch("", ""), 1),
    ],
)
def test_a_boot_and_a_load_of_the_driver_end_it(
    tmp_path: Path, clock: FakeClock, later: Epoch, unresolved: int
) -> None:
    """Of GPUs and NVSwitches, over a restart of the agent; one that is not known is no other."""
    state = StateFile(tmp_path / "state.db")
    before = XidMemory(state, clock, epoch=lambda: Epoch("one", "7"))
    before.identify([GPU])
    before.observe([xid(900, 79), FATAL])
    state.close()
    state = StateFile(tmp_path / "state.db")
    after = XidMemory(state, clock, epoch=lambda: later)
    after.identify([GPU])
    assert told(after).xid_unresolved == {"79": unresolved}
    assert switches(after) == {"20034": unresolved}
    state.close()
    again = XidMemory(StateFile(tmp_path / "state.db"), clock, epoch=lambda: later)
    assert told(again).xid_unresolved == {"79": unresolved}
    assert switches(again) == {"20034": unresolved}


def test_an_earlier_boots_xids_ask_for_nothing(tmp_path: Path) -> None:
    """A log file may hold them; what came while the agent was down in this boot counts."""
    clock = FakeClock()
    clock._time = 100_000.0
    memory = XidMemory(StateFile(None), clock, uptime=lambda: 1000.0)
    memory.identify([GPU])
    memory.observe([xid(98_000, 79), xid(99_500, 48)])
    assert told(memory).xid_unresolved == {"48": 1, "79": 0}


def test_a_first_look_at_a_log_does_not_ask_for_what_is_long_past(tmp_path: Path) -> None:
    """Whether the GPU was reset meanwhile nobody knows; an agent that was there before goes on."""
    clock = FakeClock()
    clock._time = 1_000_000.0
    path = tmp_path / "state.db"
    state = StateFile(path)
    first = XidMemory(state, clock)
    first.identify([GPU])
    first.observe([xid(10_000, 79), xid(999_000, 48)], "read so far")
    assert told(first).xid_unresolved == {"48": 1, "79": 0}
    state.close()
    clock._time = 2_000_000.0
    second = XidMemory(StateFile(path), clock)
    second.observe([xid(1_500_000, 79)])
    assert told(second).xid_unresolved == {"48": 1, "79": 1}


def test_what_waits_for_its_gpu_waits_for_its_reset(memory: XidMemory, clock: FakeClock) -> None:
    """An Xid at an address goes over to the GPU with all that is known of it."""
    memory = XidMemory(StateFile(None), clock)
    memory.observe([xid(900, 79)])
    memory.identify([GPU])
    assert told(memory).xid_unresolved == {"79": 1}
