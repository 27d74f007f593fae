"""What a log is made of: records of /dev/kmsg, or lines of a file or a pipe; when, and where."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from gpumon.clock import Clock

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_LONGEST_LINE = 64 * 1024
"""Bytes of a line without an end that are kept; more is no log."""

_UPTIME = re.compile(r"\[\s*(\d{1,9}\.\d{1,9})\]")
_ISO = re.compile(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)")
_KMSG = re.compile(r"(\d{1,9}),(\d{1,20}),(\d{1,20}),", re.ASCII)
_SYSLOG = re.compile(r"^([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) ")


class Record(NamedTuple):
    """One message; when it was logged is worked out only where it matters.

    Few lines of a log are a GPU's, and reading a date takes ten times as long as passing a line by.
    """

    message: str
    when: Callable[[], float]

    @property
    def time(self) -> float:
        """When it was logged, in unix seconds."""
        return self.when()


class Records(Protocol):
    """Cuts what is read into records, and knows where it is."""

    position: str
    offset: int

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that are complete with this piece."""
        ...

    def caught_up(self) -> None:
        """Take note that all there was has been read: what follows is of now."""
        ...


def records_of(descriptor: int, position: str, clock: Clock) -> Records:
    """Return the reader of what a file is, set to go on after a position of an earlier time."""
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return Lines(clock, status=status, descriptor=descriptor, position=position)
    if stat.S_ISCHR(status.st_mode):
        return Kmsg(clock, _boot_id(), position)
    return Lines(clock)


class Kmsg:
    """Records of /dev/kmsg: ``priority,sequence,microseconds,flags;message`` (kernel: dev-kmsg).

    Each read gives one record, the first from the oldest that the kernel still has. The position is
    the boot and the sequence number of the last record.
    """

    def __init__(self, clock: Clock, boot: str, position: str) -> None:
        """Go on after a position of the same boot."""
        self._clock = clock
        self._boot = boot
        self._live = False
        self.offset = 0
        before, _, number = position.rpartition(" ")
        self._last = int(number) if before == boot and number.isdecimal() else -1
        self.position = position

    def feed(self, data: bytes) -> list[Record]:
        """Return the record, unless it was read at an earlier time."""
        first, _, _ = data.decode("utf-8", "replace").partition("\n")  # what follows are its facts
        prefix, semicolon, message = first.partition(";")
        match = _KMSG.match(prefix)
        if not semicolon or match is None:
            return []
        priority, number, microseconds = (int(text) for text in match.groups())
        if number <= self._last:
            return []
        self._last = number
        self.position = f"{self._boot} {number}"
        if priority >> 3:  # the facility: a program's words, not the kernel's
            return []
        return [Record(message, functools.partial(self._time, microseconds / 1e6))]

    def caught_up(self) -> None:
        """From now on a record is of the moment it arrives."""
        self._live = True

    def _time(self, uptime: float) -> float:
        # The kernel stamps by a clock that nobody corrects, which drifts by seconds a month; a
        # record that has just arrived is of now. CLOCK_MONOTONIC begins with the boot, as it does.
        if self._live:
            return self._clock.time()
        return self._clock.time() - max(0.0, self._clock.monotonic() - uptime)


class Lines:
    """Lines of a log file, or of a pipe. The position is the file's identity and its offset."""

    def __init__(
        self,
        clock: Clock,
        *,
        status: os.stat_result | None = None,
        descriptor: int = -1,
        position: str = "",
    ) -> None:
        """Go on after a position of the same file, unless it has been cut short since."""
        self._clock = clock
        self._live = status is None
        self._rest = b""
        self._file = "" if status is None else f"{status.st_dev}:{status.st_ino}"
        self.offset = 0
        before, _, number = position.rpartition(" ")
        if status is not None and before == self._file and number.isdecimal():
            offset = int(number)
            if offset <= status.st_size:
                self.offset = os.lseek(descriptor, offset, os.SEEK_SET)
        self.position = self._here(0) if self._file else ""

    def feed(self, data: bytes) -> list[Record]:
        """Return the lines that are complete; a line is not read before its end is there."""
        self.offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            self._rest = b""
        if self._file:
            self.position = self._here(len(self._rest))
        texts = (line.decode("utf-8", "replace") for line in lines)
        return [Record(text, functools.partial(self._time, text)) for text in texts]

    def caught_up(self) -> None:
        """From now on a line is of the moment it arrives."""
        self._live = True

    def _here(self, unread: int) -> str:
        return f"{self._file} {self.offset - unread}"

    def _time(self, line: str) -> float:
        """Return when an old line was logged, as far as it says so itself; else now."""
        now = self._clock.time()
        if self._live:
            return now
        return min(now, _stamped(line, now, self._clock) or now)


def _stamped(line: str, now: float, clock: Clock) -> float | None:
    """Return the unix seconds a line is stamped with, in one of the usual ways, or None."""
    with contextlib.suppress(ValueError, OverflowError):
        match = _ISO.match(line)
        if match is not None:
            text = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", match[1].replace(",", "."))
            text = re.sub(r"\.\d+", "", text).replace("Z", "+00:00")
            return dt.datetime.fromisoformat(text).timestamp()
        match = _SYSLOG.match(line)
        if match is not None:  # without a year: the latest one that is not to come
            year = dt.datetime.fromtimestamp(now).astimezone().year
            for candidate in (year, year - 1):
                text = f"{candidate} {match[1]}"
                moment = dt.datetime.strptime(text, "%Y %b %d %H:%M:%S").astimezone().timestamp()
                if moment <= now + 86400:
                    return moment
        match = _UPTIME.search(line)
        if match is not None:
            return now - max(0.0, clock.monotonic() - float(match[1]))
    return None


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return "unknown"
