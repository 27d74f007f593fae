"""Following a log: from where it was left, over growth, rotation and restarts, without waiting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from gpumon.kernellog import KernelLog, follow
from gpumon.kernellog.lines import Kmsg, Lines
from gpumon.model import SxidEvent, XidEvent
from tests.support.clock import FakeClock


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the log without a pause, so that no test takes its time."""
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(follow, "RETRY_SECONDS", 0.001)


class Heard:
    """Takes in what a log tells."""

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.events: list[XidEvent | SxidEvent] = []
        self.position = ""
        self._news = asyncio.Event()

    def __call__(self, events: Sequence[XidEvent | SxidEvent], position: str) -> None:
        """Take in a batch."""
        self.events += events
        self.position = position
        self._news.set()

    @property
    def xids(self) -> list[int]:
        """The codes so far."""
        return [event.xid for event in self.events if isinstance(event, XidEvent)]

    async def until(self, *xids: int) -> None:
        """Wait until exactly these codes were heard."""
        while self.xids != list(xids):
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 10)


def line(xid: int) -> str:
    """Return a line of the log."""
    return f"NVRM: Xid (PCI:0000:10:00): {xid}, text\n"


def follow_log(
    path: Path, body: Callable[[Heard, KernelLog], Awaitable[None]], position: str = ""
) -> Heard:
    """Follow a log from a position while a coroutine function runs; return what was heard."""
    heard = Heard()

    async def run() -> None:
        kernel_log = KernelLog(path)
        task = asyncio.create_task(kernel_log.run(position, heard))
        try:
            await body(heard, kernel_log)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(run())
    return heard


def test_a_file_is_read_from_its_beginning_and_as_it_grows(tmp_path: Path) -> None:
    """Line by line: half a line waits for its other half."""
    path = tmp_path / "kern.log"
    path.write_text(line(13) + "something else\n" + line(31))

    async def body(heard: Heard, _: KernelLog) -> None:
        await heard.until(13, 31)
        with path.open("a") as file:
            file.write(line(43)[:20])
            file.flush()
            await asyncio.sleep(0.01)
            assert heard.xids == [13, 31]
            file.write(line(43)[20:] + line(45))
        await heard.until(13, 31, 43, 45)

    follow_log(path, body)


def test_after_a_restart_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was read is not read again; what came meanwhile, and the half line, is."""
    path = tmp_path / "kern.log"
    path.write_text(line(13) + line(31)[:10])
    heard = follow_log(path, lambda heard, _: heard.until(13))
    with path.open("a") as file:
        file.write(line(31)[10:] + line(43))
    follow_log(path, lambda heard, _: heard.until(31, 43), heard.position)


def test_a_log_that_is_rotated_or_cut_short_is_read_on(tmp_path: Path) -> None:
    """To its end first, then the new one from its beginning."""
    path = tmp_path / "kern.log"
    path.write_text(line(1))

    async def body(heard: Heard, _: KernelLog) -> None:
        await heard.until(1)
        with path.open("a") as old:
            path.rename(tmp_path / "kern.log.1")
            old.write(line(2))
        path.write_text(line(3))
        await heard.until(1, 2, 3)
        path.write_text("")  # copytruncate
        await asyncio.sleep(0.01)
        path.write_text(line(4))
        await heard.until(1, 2, 3, 4)

    follow_log(path, body)


def test_a_pipe_is_read_as_it_is_written_to(tmp_path: Path) -> None:
    """Nobody has to write to it yet, and writers come and go."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    async def body(heard: Heard, _: KernelLog) -> None:
        for count in (1, 2):
            await asyncio.sleep(0.01)
            with path.open("w") as writer:
                writer.write(line(79))
            await heard.until(*[79] * count)

    follow_log(path, body)


def test_a_log_that_cannot_be_read_is_said_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the next step; and read when it appears."""
    path = tmp_path / "kern.log"

    async def body(heard: Heard, kernel_log: KernelLog) -> None:
        await asyncio.sleep(0.05)
        assert "--kernel-log" in kernel_log.problem
        path.write_text(line(13))
        await heard.until(13)
        assert kernel_log.problem == ""

    follow_log(path, body)
    assert caplog.text.count("cannot be read") == 1


def test_after_a_failed_read_nothing_is_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on from where it was, not from where the agent began."""
    path = tmp_path / "kern.log"
    path.write_text(line(13))
    failed = False

    def read(descriptor: int, most: int, real: Callable[[int, int], bytes] = os.read) -> bytes:
        nonlocal failed
        if not failed and os.lseek(descriptor, 0, os.SEEK_CUR):
            failed = True
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, most)

    monkeypatch.setattr(os, "read", read)

    async def body(heard: Heard, _: KernelLog) -> None:
        await heard.until(13)
        with path.open("a") as file:
            file.write(line(31))
        await heard.until(13, 31)
        assert failed

    follow_log(path, body)


def test_a_log_that_ran_over_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a storm the kernel overwrites what nobody has read yet, again and again."""
    path = tmp_path / "kern.log"
    path.write_text(line(13))
    overruns = [1, 2, 3]

    def read(descriptor: int, most: int, real: Callable[[int, int], bytes] = os.read) -> bytes:
        if overruns:
            overruns.pop()
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return real(descriptor, most)

    monkeypatch.setattr(os, "read", read)
    follow_log(path, lambda heard, _: heard.until(13))
    assert caplog.text.count("run over") == 1


def test_a_date_is_worked_out_only_where_it_matters() -> None:
    """Nearly all lines of a log are no GPU's, and dates are what reading it costs."""
    asked = 0

    class Counting(FakeClock):
        def time(self) -> float:
            nonlocal asked
            asked += 1
            return super().time()

    records = Lines(Counting()).feed(b"[ 1.000000] something else\n" * 100)
    assert len(records) == 100
    assert asked == 0


def test_records_of_the_kernels_device_are_read_once_by_their_number() -> None:
    """Also over a restart in the same boot; after a reboot all of them are new."""
    clock = FakeClock()
    kmsg = Kmsg(clock, "boot-a", "")
    assert [r.message for r in kmsg.feed(b"6,41,5000000,-;NVRM: one\n DEVICE=+pci:0000\n")] == [
        "NVRM: one"
    ]
    assert kmsg.position == "boot-a 41"
    again = Kmsg(clock, "boot-a", kmsg.position)
    assert again.feed(b"6,41,5000000,-;NVRM: one\n") == []
    assert len(again.feed(b"4,42,6000000,c;NVRM: two\n")) == 1
    assert len(Kmsg(clock, "boot-b", again.position).feed(b"6,41,5000000,-;NVRM: one\n")) == 1


def test_only_the_kernels_own_records_count() -> None:
    """A program may write to the device too: its facility is another (here 3, a daemon's)."""
    assert Kmsg(FakeClock(), "boot", "").feed(b"30,41,5000000,-;NVRM: forged\n") == []


@pytest.mark.parametrize("data", [b"", b";", b"a,b,c;x", b",5,6,-;x", b"\xff\xfe", b"6,41;short"])
def test_a_record_that_is_none_is_passed_over(data: bytes) -> None:
    """Whatever the kernel may invent."""
    assert Kmsg(FakeClock(), "boot", "").feed(data) == []


def test_an_old_record_has_its_own_time_and_a_live_one_the_present() -> None:
    """The kernel's stamp is uncorrected and drifts, so it is used only for what is past."""
    clock = FakeClock()
    kmsg = Kmsg(clock, "boot", "")
    uptime = clock.monotonic() - 60
    (old,) = kmsg.feed(f"6,1,{int(uptime * 1e6)},-;NVRM: old\n".encode())
    assert old.time == pytest.approx(clock.time() - 60, abs=1e-3)
    kmsg.caught_up()
    (live,) = kmsg.feed(f"6,2,{int(uptime * 1e6)},-;NVRM: live\n".encode())
    assert live.time == clock.time()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-11-14T22:13:00+00:00 n kernel: NVRM: x", 1_699_999_980.0),
        ("2023-11-14T23:13:00.250+0100 n kernel: NVRM: x", 1_699_999_980.25),
        ("2023-11-14T22:13:00Z NVRM: x", 1_699_999_980.0),
        ("2030-01-01T00:00:00Z NVRM: of a clock that was wrong", 1_700_000_000.0),
        ("2023-99-99T00:00:00Z NVRM: x", 1_700_000_000.0),
        ("NVRM: x", 1_700_000_000.0),
    ],
)
def test_an_old_line_has_the_time_it_says(tmp_path: Path, text: str, expected: float) -> None:
    """In the ways of the usual logs; one that says none, or nonsense, is taken to be of now."""
    clock = FakeClock()
    clock._time = 1_700_000_000.0
    path = tmp_path / "log"
    path.write_text("")
    with path.open() as file:
        lines = Lines(clock, status=os.fstat(file.fileno()), descriptor=file.fileno())
        (record,) = lines.feed(text.encode() + b"\n")
        assert record.time == expected


def test_what_follows_a_line_that_is_too_long_is_not_a_line(tmp_path: Path) -> None:
    """Anybody may log 64 KiB that end in the driver's words; also over a restart in the middle."""
    path = tmp_path / "kern.log"
    flood = "x" * (follow._READ_BYTES + 10)
    path.write_text(line(13) + flood)
    heard = follow_log(path, lambda heard, _: heard.until(13))
    with path.open("a") as file:
        file.write(line(79) + line(31))
    follow_log(path, lambda heard, _: heard.until(31), heard.position)
    follow_log(path, lambda heard, _: heard.until(13, 31))


def test_a_log_that_may_not_be_read_is_denied_and_says_what_to_grant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No failure of the agent, but a right that it was not given."""
    path = tmp_path / "kern.log"
    path.write_text(line(13))
    real = os.open

    def refuse(file: object, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    async def body(heard: Heard, kernel_log: KernelLog) -> None:
        await asyncio.sleep(0.02)
        assert kernel_log.denied is not None
        assert "CAP_SYSLOG" in kernel_log.denied.grant
        monkeypatch.setattr(follow.os, "open", real)
        await heard.until(13)
        assert kernel_log.denied is None

    monkeypatch.setattr(follow.os, "open", refuse)
    follow_log(path, body)
