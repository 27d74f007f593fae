"""What a log is made of: records of /dev/kmsg, or lines of a file or a pipe; when, and where."""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from gpumon.clock import Clock, boot_id
from gpumon.kernellog.prefix import head_of, is_continued, time_of

_LONGEST_LINE = 64 * 1024
"""Bytes of a line without an end that are kept; a longer line is passed over."""

_KMSG = re.compile(r"(\d{1,9}),(\d{1,20}),(\d{1,20}),", re.ASCII)


class Record(NamedTuple):
    """One message; when it was logged is worked out only if it matters.

    Few lines of a log are a GPU's, and reading a date takes ten times as long as passing a line by.
    """

    message: str
    when: Callable[[], float]

    @property
    def time(self) -> float:
        """When it was logged, in unix seconds."""
        return self.when()


class Records(Protocol):
    """Cuts what is read into records, and knows where it is.

    A record of a ``bare`` log has nothing before its message.
    """

    bare: bool
    position: str
    offset: int

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that are complete with this piece."""
        ...

    def caught_up(self) -> None:
        """Take note that all there was has been read: what follows is news."""
        ...


def records_of(descriptor: int, position: str, clock: Clock) -> Records:
    """Return the reader for a file of its kind, set to go on after an earlier position."""
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return Lines(clock, status=status, descriptor=descriptor, position=position)
    if stat.S_ISCHR(status.st_mode):
        return Kmsg(clock, boot_id() or "unknown", position)
    return Lines(clock)


class Kmsg:
    """Records of /dev/kmsg: ``priority,sequence,microseconds,flags;message`` (kernel: dev-kmsg).

    Each read gives one record, the first from the oldest that the kernel still has. The position is
    the boot and the sequence number of the last record.
    """

    bare = True

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
        """From here on the time of a record is that of its arrival."""
        self._live = True

    def _time(self, uptime: float) -> float:
        # The kernel stamps by a clock that nobody corrects, which drifts by up to a minute a month.
        # CLOCK_MONOTONIC begins with the boot, as it does.
        if self._live:
            return self._clock.time()
        return self._clock.time() - max(0.0, self._clock.monotonic() - uptime)


class Lines:
    """Lines of a log file, or of a pipe. The position is the file's identity and its offset."""

    bare = False

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
        self._live = False
        self._rest = b""
        self._dropped = 0
        self._first = ""
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
        if lines and self._dropped:
            # What is left of a line that was too long is not a line: its words are anybody's.
            lines, self._dropped = lines[1:], 0
        if self._dropped or len(self._rest) > _LONGEST_LINE:
            self._dropped, self._rest = self._dropped + len(self._rest), b""
        if self._file:
            self.position = self._here(self._dropped + len(self._rest))
        return list(self._records(line.decode("utf-8", "replace") for line in lines))

    def caught_up(self) -> None:
        """From here on a line that does not say its time for certain is of its arrival."""
        self._live = True

    def _here(self, unread: int) -> str:
        return f"{self._file} {self.offset - unread}"

    def _records(self, lines: Iterable[str]) -> Iterator[Record]:
        for line in lines:
            # A line that goes on with a record is of the moment at which the record began.
            if not is_continued(line):
                self._first = line
            yield Record(line, functools.partial(self._time, self._first))

    def _time(self, line: str) -> float:
        """Return when a line was logged, as far as it says so itself; else now.

        Of a line that has just arrived only a time that is certain is better than the present.
        """
        now, head = self._clock.time(), head_of(line)
        if head is None:
            return now
        stamped = time_of(head, now, None if self._live else self._clock.monotonic())
        return now if stamped is None else min(now, stamped)
