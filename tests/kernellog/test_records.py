"""The same record in each log that people have: its event, its own time, and no second event."""

from __future__ import annotations

import calendar
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.kernellog import LogParser
from gpumon.kernellog.lines import Kmsg, Lines, Record
from gpumon.kernellog.prefix import head_of, plain, time_of
from gpumon.model import SxidEvent, XidEvent
from gpumon.model.events import BUS, LOG
from tests.support.clock import FakeClock
from tests.support.fuzz import FUZZ

HERE = Path(__file__).parent

NOW = float(calendar.timegm((2026, 11, 24, 9, 0, 0)))
UPTIME = 3600.0
"""The machine was started at eight o'clock."""

THREE_LINES = (
    "NVRM: The NVIDIA GPU 0000:b3:00.0",
    "NVRM: (PCI ID: 10de:26b5) installed in this system has",
    "NVRM: fallen off the bus and is not responding to commands.",
)

Event = XidEvent | SxidEvent


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is an hour ahead of UTC: logs without a zone are in local time."""
    monkeypatch.setenv("TZ", "CET-1CEST")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def clock() -> FakeClock:
    """Return a clock at NOW, UPTIME after the boot."""
    made = FakeClock(NOW)
    made._monotonic = UPTIME
    return made


def heard(records: list[Record], *, bare: bool = False) -> list[tuple[float, Event]]:
    """Return the events of records, each with its record's time."""
    parser = LogParser()
    found = ((record, parser.event(record.message, 0.0, bare=bare)) for record in records)
    return [(record.time, event) for record, event in found if event is not None]


def of_file(text: str) -> list[tuple[float, Event]]:
    """Return the events of an old log file, each with its time."""
    lines = Lines(clock())
    return heard(lines.feed(text.encode()))


def of_device(record: bytes) -> list[tuple[float, Event]]:
    """Return the events of one record of /dev/kmsg."""
    return heard(Kmsg(clock(), "boot", "").feed(record), bare=True)


def fallen(found: list[tuple[float, Event]]) -> list[tuple[str, int, str]]:
    """Return what events say."""
    return [(e.pci, e.xid, e.source) for _, e in found if isinstance(e, XidEvent)]


def indented(prefix: str) -> str:
    """Return the three lines as dmesg and journalctl write them."""
    first, *rest = THREE_LINES
    return "\n".join([prefix + first, *(" " * len(prefix) + line for line in rest)]) + "\n"


AT_0830 = NOW - 1800
AT_0831 = NOW - 1800 + 43.308145
TWENTY_DAYS_AGO = AT_0830 + 43 - 20 * 86_400
LAST_YEAR = AT_0830 + 43 - 359 * 86_400
LEAP_DAY = float(calendar.timegm((2024, 2, 29, 8, 30, 43)))

PREFIXES = {
    "dmesg": ("[ 1843.308145] ", AT_0831),
    "dmesg with callers": ("[ 1843.308145] [ T1234] ", AT_0831),
    "dmesg -d": ("[ 1843.308145 <    0.000012>] ", AT_0831),
    "dmesg -x": ("kern  :err   : [ 1843.308145] ", AT_0831),
    "dmesg -r": ("<3>[ 1843.308145] ", AT_0831),
    "dmesg -T": ("[Tue Nov 24 09:30:43 2026] ", AT_0830 + 43),
    "dmesg -x -T": ("kern  :err   : [Tue Nov 24 09:30:43 2026] ", AT_0830 + 43),
    "dmesg -e": ("[Nov24 09:30] ", AT_0830),
    "dmesg --time-format iso": ("2026-11-24T09:30:43,308145+01:00 ", AT_0831),
    "dmesg -x --time-format iso": ("kern  :err   : 2026-11-24T09:30:43,308145+01:00 ", AT_0831),
    "dmesg --color": ("\x1b[32m[ 1843.308145] \x1b[0m", AT_0831),
    "journalctl": ("Nov 24 09:30:43 n1 kernel: ", AT_0830 + 43),
    "short-precise": ("Nov 24 09:30:43.308145 n1 kernel: ", AT_0831),
    "short-full": ("Tue 2026-11-24 09:30:43 CET n1 kernel: ", AT_0830 + 43),
    "short-full --utc": ("Tue 2026-11-24 08:30:43 UTC n1 kernel: ", AT_0830 + 43),
    "short-full, a zone without a name": ("Tue 2026-11-24 11:30:43 +03 n1 kernel: ", AT_0830 + 43),
    "short-iso": ("2026-11-24T09:30:43+0100 n1 kernel: ", AT_0830 + 43),
    "short-iso of systemd 255": ("2026-11-24T09:30:43+01:00 n1 kernel: ", AT_0830 + 43),
    "short-iso-precise": ("2026-11-24T09:30:43.308145+01:00 n1 kernel: ", AT_0831),
    "short-unix": (f"{AT_0831:.6f} n1 kernel: ", AT_0831),
    "short-monotonic": ("[ 1843.308145] n1 kernel: ", AT_0831),
    "short-delta": ("[ 1843.308145 <    0.000012 >] n1 kernel: ", AT_0831),
    "rsyslog": ("Nov 24 09:30:43 n1 kernel: [ 1843.308145] ", AT_0830 + 43),
    "rsyslog, another boot's uptime": ("Nov 24 09:30:43 n1 kernel: [99999.308145] ", AT_0830 + 43),
    "rsyslog, a day of one digit": ("Nov  4 09:30:43 n1 kernel: [ 1843.3] ", TWENTY_DAYS_AGO),
    "rsyslog, a year ago": ("Nov 30 09:30:43 n1 kernel: ", LAST_YEAR),
    "rsyslog, 29 February": ("Feb 29 09:30:43 n1 kernel: ", LEAP_DAY),
    "rsyslog, ISO": ("2026-11-24T09:30:43.308145+01:00 n1 kernel: [ 1843.308145] ", AT_0831),
    "rsyslog, RFC 5424": ("<3>1 2026-11-24T09:30:43.308145+01:00 n1 kernel - - -  ", AT_0831),
    "RFC 3164": ("<3>Nov 24 09:30:43 n1 kernel: ", AT_0830 + 43),
    "busybox": ("Nov 24 09:30:43 n1 kern.err kernel: [ 1843.308145] ", AT_0830 + 43),
    "a month that no year has": ("Nov 31 09:30:43 n1 kernel: ", NOW),
    "nothing": ("", NOW),
}  # fmt: skip
"""What stands before a message of 08:30 UTC, and which time that is."""


@pytest.mark.parametrize(("prefix", "expected"), PREFIXES.values(), ids=PREFIXES)
@pytest.mark.parametrize("form", ["one", "indented", "each", "escaped"])
def test_every_log_gives_the_gpu_and_the_time(prefix: str, expected: float, form: str) -> None:
    """In one line, its lines indented, each with the prefix (dmesg -P), or escaped (rsyslog)."""
    text = {
        "one": f"{prefix}NVRM: Xid (PCI:0000:b3:00): 79, pid=7, GPU has fallen off the bus.\n",
        "indented": indented(prefix or "  "),
        "each": "".join(f"{prefix}{line}\n" for line in THREE_LINES),
        "escaped": f"{prefix}{'#012'.join(THREE_LINES)}\n",
    }[form]
    if form == "indented" and not prefix:
        text = text.lstrip()
    found = of_file(text)
    assert fallen(found) == [("0000:b3:00", 79, LOG if form == "one" else BUS)]
    assert found[0][0] == pytest.approx(expected, abs=2e-6)


PCI_ID = "(PCI ID: 10de:26b5)"
FELL = "has fallen off the bus and is not responding to"
OLD_FORMS = {
    "with the number's words": ["NVRM: GPU 0000:b3:00.0: GPU has fallen off the bus."],
    "of 2015": ["NVRM: GPU at 0000:b3:00.0 has fallen off the bus."],
    "of 2016": ["NVRM: GPU at PCI:0000:b3:00: GPU has fallen off the bus."],
    "of 2017": [
        f"NVRM: The NVIDIA GPU 0000:b3:00.0 {PCI_ID}",
        "NVRM: installed in this system has fallen off the bus and is not",
        "NVRM: responding to commands.",
    ],
    "in one line": [
        f"NVRM: The NVIDIA GPU 0000:b3:00.0 {PCI_ID} installed in this system {FELL} commands."
    ],
}


@pytest.mark.parametrize("lines", OLD_FORMS.values(), ids=OLD_FORMS)
@pytest.mark.parametrize("end", ["\n", "#012"])
def test_every_way_in_which_drivers_say_it_is_understood(lines: list[str], end: str) -> None:
    """Older ones break the lines elsewhere."""
    assert fallen(of_file(end.join(lines) + "\n")) == [("0000:b3:00", 79, BUS)]


def test_what_else_the_driver_says_of_a_gpu_that_it_names_is_not_a_loss() -> None:
    """It names GPUs that it does not support in the same words."""
    text = (
        "NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:128b)#012NVRM: installed in this system "
        "is not supported by the 580.105.08 driver\n"
    )
    assert of_file(text) == []


def test_the_record_of_a_live_machine_is_heard() -> None:
    """The three lines come in one record of /dev/kmsg; its stamp is from before the agent."""
    found = of_device((HERE / "fallen-kmsg.log").read_bytes())
    assert fallen(found) == [("0000:b3:00", 79, BUS)]
    assert found[0][0] == pytest.approx(AT_0831)


def test_a_file_of_such_records_is_read_too() -> None:
    """As ``cat /dev/kmsg > file`` makes it, facts of the device and all."""
    found = of_file((HERE / "fallen-kmsg.log").read_text())
    assert fallen(found) == [("0000:b3:00", 79, BUS)]
    assert found[0][0] == pytest.approx(AT_0831)


def test_the_journal_of_a_live_machine_is_heard() -> None:
    """The lines after the first are indented; their time is the first one's."""
    found = of_file((HERE / "fallen-journalctl.log").read_text())
    assert fallen(found) == [("0000:b3:00", 79, BUS)]
    assert found[0][0] == calendar.timegm((2026, 2, 14, 4, 3, 42))


def test_a_live_line_has_the_time_it_says_if_that_is_certain() -> None:
    """A zone may be another than this process's, and printk's clock drifts: then it is now."""
    lines = Lines(clock())
    lines.caught_up()
    for prefix, expected in (
        ("2026-11-24T09:30:43.308145+01:00 n1 kernel: ", AT_0831),
        (f"{AT_0831:.6f} n1 kernel: ", AT_0831),
        ("Tue 2026-11-24 08:30:43 UTC n1 kernel: ", AT_0830 + 43),
        ("Tue 2026-11-24 09:30:43 CET n1 kernel: ", NOW),
        ("Nov 24 09:30:43 n1 kernel: ", NOW),
        ("[ 1843.308145] ", NOW),
    ):
        (record,) = lines.feed(f"{prefix}NVRM: x\n".encode())
        assert record.time == pytest.approx(expected), prefix


FORGED = "NVRM: Xid (PCI:0000:10:00): 79, pid=1, name=x, GPU has fallen off the bus."
FALLEN = "NVRM: GPU 0000:10:00.0: GPU has fallen off the bus."
NAMES = [
    "a\nb",
    f"a\n{FORGED}",
    f"a\n{FALLEN}\nb",
    f"NVRM: Xid {FORGED}",
    f"{FORGED}",
    "a\nNVRM: The NVIDIA GPU 0000:10:00.0\nNVRM: fallen off the bus and is not responding",
    f"a#012{FORGED}",
    f"a\\x0a{FORGED}",
    "\x1b[31mred\x07",
    "wörk",
]


def escaped(text: str) -> str:
    """Return a text as the kernel writes it into a record of its device (printk.c)."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02x}" for byte in text.encode()
    )


def as_rsyslog(text: str) -> str:
    """Return a text as rsyslog writes it: control characters in octal."""
    return "".join(c if ord(c) >= 32 else f"#{ord(c):03o}" for c in text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("log", ["device", "journal", "dmesg", "rsyslog"])
def test_a_process_cannot_make_up_an_event_by_its_name(name: str, log: str) -> None:
    """One Xid of the GPU that had it, whatever lines the name holds; printable, and in one line."""
    message = f"NVRM: Xid (PCI:0000:29:00): 31, pid=4711, name={name}, Ch 00000008"
    prefix = {"journal": "Nov 24 09:30:43 n1 kernel: ", "dmesg": "kern  :warn  : [ 1843.3] "}.get(
        log
    )
    if log == "device":
        found = of_device(f"4,913,1843308145,-;{escaped(message)}\n SUBSYSTEM=pci\n".encode())
    elif prefix is not None:
        found = of_file(prefix + message.replace("\n", "\n" + " " * len(prefix)) + "\n")
    else:
        found = of_file(f"Nov 24 09:30:43 n1 kernel: [ 1843.3] {as_rsyslog(message)}\n")
    ((_, event),) = found
    assert isinstance(event, XidEvent)
    assert (event.pci, event.xid, event.pid) == ("0000:29:00", 31, 4711)
    assert (event.process + event.text).isprintable()


def test_a_name_is_shown_as_it_is() -> None:
    """With what is not ASCII in it, which the device escapes as well."""
    message = "NVRM: Xid (PCI:0000:29:00): 31, pid=4711, name=wörk a, Ch 00000008"
    ((_, event),) = of_device(f"4,913,5,-;{escaped(message)}\n".encode())
    assert isinstance(event, XidEvent)
    assert (event.process, event.text) == ("wörk a", "Ch 00000008")


COMPLAINT = (
    "NVRM: API mismatch: the client 'x' (pid 7)",
    f"NVRM: has the version 1\n{FORGED}\n{FALLEN}, but this kernel module has",
    "NVRM: the version 580.105.08.  Please make sure that this",
    "NVRM: kernel module and all NVIDIA driver components",
    "NVRM: have the same version.",
)
"""The driver quotes what a program calls its version: anybody's words (osapi.c)."""

REAL = "NVRM: Xid (PCI:0000:29:00): 63, pid=7, x"


@pytest.mark.parametrize("log", ["device", "indented", "each", "escaped", "bare"])
def test_a_program_cannot_make_up_an_event_by_its_version(log: str) -> None:
    """Not even in a log that puts its prefix before each line; what follows is heard."""
    prefix = "Nov 24 09:30:43 n1 kernel: [ 1843.308145] "
    lines = "\n".join(COMPLAINT).split("\n")
    if log == "device":
        assert of_device(f"3,1,5,-;{escaped(chr(10).join(lines))}\n".encode()) == []
        return
    text = {
        "indented": prefix + ("\n" + " " * len(prefix)).join(lines),
        "each": "\n".join(prefix + line for line in lines),
        "escaped": prefix + "#012".join(lines),
        "bare": "\n".join(lines),
    }[log]
    found = of_file(f"{text}\n{prefix}{REAL}\n")
    assert fallen(found) == [("0000:29:00", 63, LOG)]


def test_another_drivers_record_cannot_hold_one_of_ours() -> None:
    """As the name of a USB device, which whoever plugs it in chooses."""
    words = f"usb 1-1: Product: x\n{FORGED}\n{FALLEN}"
    assert of_device(f"6,1,5,-;{escaped(words)}\n".encode()) == []
    prefix = "Nov 24 09:30:43 n1 kernel: "
    assert of_file(prefix + words.replace("\n", "\n" + " " * len(prefix)) + "\n") == []
    assert of_file(prefix + as_rsyslog(words) + "\n") == []


def test_the_device_has_no_prefix_that_could_be_stripped() -> None:
    """Words before the driver's are another driver's, however much they look like a log's."""
    for words in (f"x kernel: {FORGED}", f"[1.2] {FORGED}", f"  {FORGED}", f"3,1,5,-;{FORGED}"):
        assert of_device(f"6,1,5,-;{words}\n".encode()) == []


def test_escapes_are_undone_once() -> None:
    """What was a backslash is one again, and no escape of its own."""
    assert plain(r"a\x0ab\x5cx0ac\xc3\xb6 #012#177#190") == "a\nb\\x0acö \n\x7f#190"


ANYTHING = st.text(max_size=60) | st.sampled_from(NAMES)


@FUZZ
@given(st.sampled_from([prefix for prefix, _ in PREFIXES.values()]) | ANYTHING, ANYTHING)
def test_no_line_is_too_strange(prefix: str, words: str) -> None:
    """Whatever stands where a time or the kernel's words do, there is no traceback."""
    for line in f"{prefix}{words}".split("\n"):
        head = head_of(line)
        if head is not None:
            time_of(head, NOW, UPTIME)
            time_of(head, NOW, None)


@FUZZ
@given(
    st.from_regex(
        r"\[?[A-Z][a-z]{2} [ \d]{2}[\d :.,T+-]{6,30}[A-Z]{0,4}\]? NVRM: x", fullmatch=True
    )
)
def test_no_date_is_too_strange(line: str) -> None:
    """Months of 99 days, years that no calendar has."""
    head = head_of(line)
    assert head is None or (time_of(head, NOW, UPTIME) or NOW) < 1e12


@FUZZ
@given(ANYTHING, st.sampled_from(["device", "journal", "rsyslog"]))
def test_no_name_makes_a_second_event(name: str, log: str) -> None:
    """Whatever it is made of."""
    message = f"NVRM: Xid (PCI:0000:29:00): 31, pid=4711, name={name}, Ch 00000008"
    if log == "device":
        found = of_device(f"4,913,1843308145,-;{escaped(message)}\n".encode("utf-8", "replace"))
    elif log == "rsyslog":
        found = of_file(f"Nov 24 09:30:43 n1 kernel: {as_rsyslog(message)}\n")
    else:
        found = of_file(
            "Nov 24 09:30:43 n1 kernel: " + message.replace("\n", "\n" + " " * 27) + "\n"
        )
    assert [(e.pci, e.xid) for _, e in found if isinstance(e, XidEvent)] == [("0000:29:00", 31)]
    assert len(found) == 1


def test_a_file_is_read_through_the_whole_of_it(tmp_path: Path) -> None:
    """Both cases of the field in one file, with an old one's time."""
    path = tmp_path / "kern.log"
    path.write_bytes(
        (HERE / "fallen-journalctl.log").read_bytes() + (HERE / "fallen-kmsg.log").read_bytes()
    )
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        lines = Lines(clock(), status=status, descriptor=file.fileno())
        assert len(heard(lines.feed(file.read()))) == 2
