"""Lines of the kernel's log: every form of an Xid, and nothing that only looks like one."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.kernellog import LogParser
from gpumon.model import SxidEvent, XidEvent
from gpumon.model.events import BUS, LOG, kernel_address
from tests.fakenvml import profiles
from tests.kernellog.expected import SXIDS, XIDS
from tests.support.fuzz import FUZZ

LINES = (Path(__file__).parent / "xids.log").read_text().splitlines()


def parse(line: str) -> XidEvent | SxidEvent | None:
    """Return the event of a line that stands alone."""
    return LogParser().event(line, 12.5)


def test_a_log_of_every_form_yields_exactly_its_xids() -> None:
    """At least sixty lines of the drivers; the plain words beside a number are a second telling."""
    parser = LogParser()
    assert sum("NVRM:" in line or "SXid" in line for line in LINES) >= 60
    events = [event for line in LINES if (event := parser.event(line, 0.0)) is not None]
    addresses = {kernel_address(str(profiles.identity(gpu)["pci_bus_id"])): gpu for gpu in range(8)}
    xids = collections.Counter((addresses[e.pci], e.xid) for e in events if isinstance(e, XidEvent))
    xids[4, 79] -= 1  # both tellings of it
    assert xids == {(gpu, xid): n for gpu, counts in XIDS.items() for xid, n in counts.items()}
    sxids = collections.Counter(
        (str(e.nvswitch), e.pci, str(e.sxid), "fatal" if e.fatal else "non_fatal")
        for e in events
        if isinstance(e, SxidEvent)
    )
    assert sxids == SXIDS


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "NVRM: Xid (PCI:0000:29:00): 31, pid=4711, name=python3, Ch 00000008",
            XidEvent(12.5, 31, "0000:29:00", LOG, 4711, "python3", "Ch 00000008"),
        ),
        (
            "NVRM: Xid (PCI:0000:29:00 GPU-I:02 GPU-CI:01): 43, pid=9, Ch 4",
            XidEvent(12.5, 43, "0000:29:00", LOG, 9, "", "Ch 4", 2, 1),
        ),
        (
            "NVRM: Xid (PCI:0000:29:00 GPU-I:13): 13, pid='<unknown>', name=<unknown>, x, y",
            XidEvent(12.5, 13, "0000:29:00", LOG, None, "", "x, y", 13),
        ),
        (
            "NVRM: Xid (0000:03:00): 8, Channel 1",
            XidEvent(12.5, 8, "0000:03:00", LOG, text="Channel 1"),
        ),
        (
            "NVRM: Xid (PCI:00010000:3B:00.0): 62, 1d9f",
            XidEvent(12.5, 62, "00010000:3b:00", LOG, text="1d9f"),
        ),
        (
            "NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.",
            XidEvent(12.5, 79, "0000:18:00", BUS, text="GPU has fallen off the bus"),
        ),
        (
            "nvidia-nvswitch1: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
            SxidEvent(12.5, 20034, "0000:c1:00", 1, True, 30, "LTSSM Fault Up"),
        ),
    ],
)
def test_what_a_line_tells_is_kept(line: str, expected: XidEvent | SxidEvent) -> None:
    """Address without function, in lower case; who did it; the instance; and the words."""
    assert parse(line) == expected


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[  169.200400] ",
        "[Mon Nov 24 08:00:00 2026] ",
        "Nov 24 08:00:00 node17 kernel: [  169.200400] ",
        "2026-11-24T08:00:00.123456+01:00 node17 kernel: ",
        "[  169.200400][ T1234] ",
        "[  169.200400] node17 kernel: ",
    ],
)
def test_what_a_log_puts_before_the_kernels_words_does_no_harm(prefix: str) -> None:
    """As dmesg, syslog and journald write it."""
    assert parse(f"{prefix}NVRM: Xid (PCI:0000:29:00): 79, GPU has fallen off the bus.")


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: Xid (PCI:0000:zz:00): 79, pid=1",
        "NVRM: Xid (PCI:0000:29:00): none",
        f"NVRM: Xid (PCI:0000:29:00): {'9' * 5000}, pid=1",
        "Nov 24 08:00:00 node17 user[99]: NVRM: Xid (PCI:0000:29:00): 79, forged",
        "Nov 24 08:00:00 node17 user: x kernel: NVRM: Xid (PCI:0000:29:00): 79, forged",
        f"NVRM: Xid (PCI:0000:29:00 GPU-I:{'9' * 5000}): 13, x",
        f"nvidia-nvswitch{'9' * 5000}: SXid (PCI:0000:89:00.0): 12028, Fatal, Link 1 x",
        "user: NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.",
        "NVRM: fallen off the bus and is not responding to commands.",
        "user  :warn  : [  169.200400] NVRM: Xid (PCI:0000:29:00): 79, forged",
        "<12>Nov 24 08:00:00 node17 kernel: NVRM: Xid (PCI:0000:29:00): 79, forged",
        "12,913,1843308145,-;NVRM: Xid (PCI:0000:29:00): 79, forged",
        "Nov 24 08:00:00 node17 kernel[99]: NVRM: Xid (PCI:0000:29:00): 79, forged",
        "Nov 24 08:00:00 node17 x kernel: NVRM: Xid (PCI:0000:29:00): 79, forged",
        "Nov 24 08:00:00 node17 NVRM: Xid (PCI:0000:29:00): 79, forged by a program named NVRM",
        "nvidia-nvswitch2: SXid (PCI:0000:89:00.0): 12028, Severity 0 Engine instance 51",
        "nvidia-nvswitch2: SXid (PCI:0000:89:00.0): 12028, Data {0x00140004, 0x00100000}",
    ],
)
def test_what_only_looks_like_one_is_none(line: str) -> None:
    """Damaged lines, other programs' lines, and the details of an error that was told."""
    assert parse(line) is None


def test_a_damaged_number_is_left_among_the_words() -> None:
    """Longer than any process's: neither Python nor the state file could hold it."""
    event = parse(f"NVRM: Xid (PCI:0000:29:00): 31, pid={'9' * 5000}, x")
    assert isinstance(event, XidEvent)
    assert event.pid is None
    switch = parse(f"nvidia-nvswitch1: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link {'9' * 5000} x")
    assert isinstance(switch, SxidEvent)
    assert switch.link is None


DIGITS = st.sampled_from([1, 9, 10, 4301]).map("9".__mul__)


@FUZZ
@given(DIGITS, DIGITS, st.sampled_from(["GPU-I:", "GPU-CI:", ""]), st.text(max_size=20))
def test_no_number_is_too_long(first: str, second: str, instance: str, text: str) -> None:
    """Python refuses to read one of more than 4300 digits."""
    where = f" {instance}{first}" if instance else ""
    parse(f"NVRM: Xid (PCI:0000:29:00{where}): {second}, pid={first}, name={text}, {text}")
    parse(f"nvidia-nvswitch{first}: SXid (PCI:0000:89:00.0): {second}, Fatal, Link {first} {text}")


@FUZZ
@given(st.text() | st.from_regex(r"NVRM: Xid \(PCI:.{0,40}\): .{0,40}"))
def test_no_line_is_too_strange(line: str) -> None:
    """The log holds what every driver of the machine writes."""
    parse(line)
