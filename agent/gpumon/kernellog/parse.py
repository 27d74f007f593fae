"""Lines of the NVIDIA drivers in the kernel's log, as events.

The forms are those that the open kernel modules print (kernel_rc.c, common_nvswitch.h) and that
older drivers printed, as people's logs show them.
"""

from __future__ import annotations

import re

from gpumon.model import SxidEvent, XidEvent
from gpumon.model.events import BUS, LOG, kernel_address

_ADDRESS = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-9a-f])?"

_NUMBER = r"\d{1,9}"
"""A longer one is no code and no process, but a line that was damaged."""

_XID = re.compile(
    rf"NVRM: Xid \((?:PCI:)?(?P<pci>{_ADDRESS})"
    rf"(?: GPU-I:(?P<gi>{_NUMBER}))?(?: GPU-CI:(?P<ci>{_NUMBER}))?\): (?P<xid>{_NUMBER})"
    rf"(?:, pid=(?P<pid>'?<unknown>'?|{_NUMBER}\b))?"
    r"(?:, name=(?P<name>.*?))?(?:, (?P<text>.*))?$",
    re.IGNORECASE | re.ASCII,
)

_SXID = re.compile(
    rf"nvidia-nvswitch(?P<nvswitch>{_NUMBER}): SXid \(PCI:(?P<pci>{_ADDRESS})\): "
    # Lines that say neither are the same error's details.
    rf"(?P<sxid>{_NUMBER}), (?P<fatal>Fatal|Non-fatal), (?:Link (?P<link>{_NUMBER})\b\s*)?"
    r"(?P<text>.*)$",
    re.IGNORECASE | re.ASCII,
)

_OFF_THE_BUS = re.compile(
    rf"NVRM: GPU (?:at PCI:)?(?P<pci>{_ADDRESS}): GPU has fallen off the bus",
    re.IGNORECASE | re.ASCII,
)

# The same in three lines, of which only the first names the GPU.
_THE_GPU = re.compile(rf"NVRM: The NVIDIA GPU (?P<pci>{_ADDRESS})", re.IGNORECASE | re.ASCII)
_HAS_FALLEN = re.compile(r"NVRM: fallen off the bus and is not responding to commands")

_NAME_LASTS = 5
"""Messages within which the last of those lines follows the first."""

# What a log file puts before the kernel's words: time and host, who speaks, then printk's uptime
# and caller. Where another program's name and colon come first, it is that program that speaks,
# whatever it says: who may write to the system log must not be able to make up a broken GPU. One
# that calls itself "kernel" cannot be told apart in a file; /dev/kmsg says who it was.
_PREFIX = re.compile(r"(?:(?:(?!: ).)* kernel: ?)?(?:\[[^\]]*\] ?){0,2}")

_FALLEN_OFF = 79


class LogParser:
    """Turns messages into events; remembers the last one, since one form has two lines."""

    def __init__(self) -> None:
        """Start without a line before."""
        self._named = ""
        self._named_for = 0

    def event(self, message: str, time: float) -> XidEvent | SxidEvent | None:
        """Return the event of a message that was logged at a time (unix seconds), or None.

        The message is what follows the log's own prefix; a prefix that is still there does no harm.
        """
        self._named_for -= 1
        if "NVRM:" in message:
            return self._of_a_gpu(message.rstrip(), time)
        if "SXid" in message:
            return _sxid(message.rstrip(), time)
        return None

    def _of_a_gpu(self, message: str, time: float) -> XidEvent | None:
        match = _found(_XID, message)
        if match is not None:
            return _xid(match, time)
        match = _found(_OFF_THE_BUS, message)
        if match is not None:
            return _fallen(match["pci"], time)
        match = _found(_THE_GPU, message)
        if match is not None:
            self._named, self._named_for = match["pci"], _NAME_LASTS
        elif self._named_for > 0 and _found(_HAS_FALLEN, message):
            self._named_for = 0
            return _fallen(self._named, time)
        return None


def _found(pattern: re.Pattern[str], message: str) -> re.Match[str] | None:
    """Find a pattern where the kernel's own words begin, or nowhere."""
    match = pattern.search(message)
    if match is None or not _PREFIX.fullmatch(message[: match.start()]):
        return None
    return match


def _xid(match: re.Match[str], time: float) -> XidEvent:
    name = match["name"] or ""
    return XidEvent(
        time=time,
        xid=int(match["xid"]),
        pci=kernel_address(match["pci"]),
        source=LOG,
        pid=int(match["pid"]) if (match["pid"] or "").isdecimal() else None,
        process="" if "<unknown>" in name else name,
        text=match["text"] or "",
        gpu_instance=_number(match["gi"]),
        compute_instance=_number(match["ci"]),
    )


def _sxid(message: str, time: float) -> SxidEvent | None:
    match = _found(_SXID, message)
    if match is None:
        return None
    return SxidEvent(
        time=time,
        sxid=int(match["sxid"]),
        pci=kernel_address(match["pci"]),
        nvswitch=int(match["nvswitch"]),
        fatal=match["fatal"].lower() == "fatal",
        link=_number(match["link"]),
        text=match["text"],
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
