"""Lines of the NVIDIA drivers in the kernel's log, as events.

The forms are those that the open kernel modules print (kernel_rc.c, osapi.c, common_nvswitch.h) and
that older drivers printed, as people's logs show them.

Users write into these lines: a process's name stands in an Xid's, and what a program calls its own
version stands in the driver's complaint about it. Either may hold line ends and whole lines of the
driver's. So one record gives one event at most, which its first words decide.
"""

from __future__ import annotations

import re

from gpumon.kernellog.prefix import Head, head_of, is_continued, plain
from gpumon.model import SxidEvent, XidEvent
from gpumon.model.events import BUS, LOG, kernel_address

_ADDRESS = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-9a-f])?"

_NUMBER = r"\d{1,9}"
"""A longer one is not a code or a process: the line is damaged."""

_FLAGS = re.IGNORECASE | re.ASCII

_XID = re.compile(
    rf"NVRM: Xid \((?:PCI:)?(?P<pci>{_ADDRESS})"
    rf"(?: GPU-I:(?P<gi>{_NUMBER}))?(?: GPU-CI:(?P<ci>{_NUMBER}))?\): (?P<xid>{_NUMBER})"
    rf"(?:, pid=(?P<pid>'?<unknown>'?|{_NUMBER}\b))?"
    r"(?:, name=(?P<name>.*?))?(?:, (?P<text>.*))?",
    _FLAGS | re.DOTALL,
)

_SXID = re.compile(
    rf"nvidia-nvswitch(?P<nvswitch>{_NUMBER}): SXid \(PCI:(?P<pci>{_ADDRESS})\): "
    # Lines that say neither are the same error's details.
    rf"(?P<sxid>{_NUMBER}), (?P<fatal>Fatal|Non-fatal), (?:Link (?P<link>{_NUMBER})\b\s*)?"
    r"(?P<text>.*)",
    _FLAGS,
)

_OFF_THE_BUS = re.compile(
    rf"NVRM: GPU (?:at )?(?:PCI:)?(?P<pci>{_ADDRESS}):? (?:GPU )?has fallen off the bus", _FLAGS
)

# The same in three lines, of which only the first names the GPU. Where the lines end has changed.
_THE_GPU = re.compile(
    rf"NVRM: The NVIDIA GPU (?P<pci>{_ADDRESS})\b(?P<rest>.*)", _FLAGS | re.DOTALL
)
_HAS_FALLEN = re.compile(r"NVRM: (?:installed in this system has )?fallen off the bus", _FLAGS)
_LINE_END = re.compile(r"\s*\n(?:NVRM:)?\s*")

_NAME_LASTS = 5
"""Messages within which the last of those lines follows the first."""

# The driver's complaint about a program of another version quotes what the program calls its
# version, "since we cannot trust it" (osapi.c) only cut to 64 characters. In a log that puts its
# prefix before each line, a line of the program's own looks like the driver's: nothing between the
# first line of the complaint and its last is taken to be the driver's.
_COMPLAINT = re.compile(r"NVRM: API mismatch", _FLAGS)
_COMPLAINT_ENDS = re.compile(r"NVRM: (?:components )?have the same version\.?", _FLAGS)
_COMPLAINT_LINES = 8

_FALLEN_OFF = 79


class LogParser:
    """Turns messages into events; remembers the last few, since one form has several lines."""

    def __init__(self) -> None:
        """Start without a line before."""
        self._named = ""
        self._named_for = 0
        self._names_a_gpu = False
        self._complaint = 0

    def event(
        self, message: str, time: float, *, bare: bool = False
    ) -> XidEvent | SxidEvent | None:
        """Return the event of a message that was logged at a time (unix seconds), or None.

        It is a line of a log with whatever the log put before it; a ``bare`` one has nothing before
        it, as records of the kernel's own device.
        """
        if not bare and is_continued(message):
            return self._rest_of_record(message, time)
        self._named_for -= 1
        self._names_a_gpu = False
        self._complaint -= 1
        if "NVRM:" not in message and "SXid" not in message:
            return None
        head = Head(plain(message)) if bare else head_of(message)
        words = "" if head is None else head.words.rstrip()
        if self._is_quoted(words):
            return None
        return self._of_a_gpu(words, time) if words[:5].upper() == "NVRM:" else _sxid(words, time)

    def _rest_of_record(self, line: str, time: float) -> XidEvent | None:
        """Return what an indented line adds to the record that a line before it began."""
        self._complaint = 0
        if self._names_a_gpu and _HAS_FALLEN.match(plain(line.strip())):
            return self._named_one_fell(time)
        return None

    def _is_quoted(self, words: str) -> bool:
        """Return whether a line is, or may be, a program's own text in the driver's complaint."""
        if _COMPLAINT.match(words):
            self._complaint = 0 if "\n" in words else _COMPLAINT_LINES
            return True
        if self._complaint <= 0:
            return False
        if _COMPLAINT_ENDS.fullmatch(words):
            self._complaint = 0
        return True

    def _of_a_gpu(self, words: str, time: float) -> XidEvent | None:
        match = _XID.fullmatch(words)
        if match is not None:
            return _xid(match, time)
        match = _OFF_THE_BUS.match(words)
        if match is not None:
            return _fallen(match["pci"], time)
        match = _THE_GPU.fullmatch(words)
        if match is not None:
            self._named, self._named_for, self._names_a_gpu = match["pci"], _NAME_LASTS, True
            fell = "fallen off the bus" in _LINE_END.sub(" ", match["rest"])
            return self._named_one_fell(time) if fell else None
        if self._named_for > 0 and _HAS_FALLEN.match(words):
            return self._named_one_fell(time)
        return None

    def _named_one_fell(self, time: float) -> XidEvent:
        self._named_for, self._names_a_gpu = 0, False
        return _fallen(self._named, time)


def _xid(match: re.Match[str], time: float) -> XidEvent:
    name = match["name"] or ""
    return XidEvent(
        time=time,
        xid=int(match["xid"]),
        pci=kernel_address(match["pci"]),
        source=LOG,
        pid=int(match["pid"]) if (match["pid"] or "").isdecimal() else None,
        process="" if "<unknown>" in name else _printable(name),
        text=_printable(match["text"] or ""),
        gpu_instance=_number(match["gi"]),
        compute_instance=_number(match["ci"]),
    )


def _sxid(words: str, time: float) -> SxidEvent | None:
    match = _SXID.fullmatch(words)
    if match is None:
        return None
    return SxidEvent(
        time=time,
        sxid=int(match["sxid"]),
        pci=kernel_address(match["pci"]),
        nvswitch=int(match["nvswitch"]),
        fatal=match["fatal"].lower() == "fatal",
        link=_number(match["link"]),
        text=_printable(match["text"]),
    )


def _fallen(pci: str, time: float) -> XidEvent:
    return XidEvent(
        time=time,
        xid=_FALLEN_OFF,
        pci=kernel_address(pci),
        source=BUS,
        text="GPU has fallen off the bus",
    )


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _printable(text: str) -> str:
    """Return a text in one line, without what it could do to a terminal or to another log."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
