"""Follows the kernel's log: the device /dev/kmsg, a log file, or a pipe.

The file is read without waiting, a few times a second, so nothing of it can hold the agent up. A
position is given with each batch of events: if both are kept together in one transaction, the next
agent goes on from there after any end, and nothing is missed or read twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import logging
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from gpumon.clock import SYSTEM, Clock
from gpumon.kernellog.lines import Record, Records, records_of
from gpumon.kernellog.parse import LogParser
from gpumon.model import Denied, SxidEvent, XidEvent

log = logging.getLogger(__name__)

DEVICE = Path("/dev/kmsg")

POLL_SECONDS = 0.25
"""How often the log is read: well within the two seconds in which two reports are one event."""

RETRY_SECONDS = 30.0
"""How often a log that cannot be opened is tried again."""

_READ_BYTES = 64 * 1024

Heard = Callable[[Sequence[XidEvent | SxidEvent], str], None]
"""Takes in events, and the position after them."""

_DENIED = Denied(
    "gpumon_gpu_xid_errors_total",
    "read access to the kernel's log, for the Xids that the driver itself does not report",
    "give the agent CAP_SYSLOG, or --kernel-log a file that it may read (docs/privileges.md)",
)


class KernelLog:
    """Reads one log for as long as the agent runs."""

    def __init__(self, path: Path, clock: Clock = SYSTEM) -> None:
        """Prepare to follow a log; nothing is opened before ``run``."""
        self._path = path
        self._clock = clock
        self._parser = LogParser()
        self._position = ""
        self._overrun = False
        self.problem = ""
        self.denied: Denied | None = None

    async def run(self, position: str, heard: Heard) -> None:
        """Follow the log from a position ("" for all there is), until cancelled."""
        self._position = position
        while True:
            try:
                await self._follow(heard)
                # Another file has taken its place: all of that is new, whatever its length.
                self._position = ""
            except OSError as error:
                self.denied = _DENIED if isinstance(error, PermissionError) else None
                self._problem(_why(self._path, error))
                await asyncio.sleep(RETRY_SECONDS)

    def _problem(self, problem: str) -> None:
        """Say what is wrong when it begins, and when it ends."""
        if problem and problem != self.problem:
            log.warning("%s", problem)
        if self.problem and not problem:
            log.info("%s is read again", self._path)
        self.problem = problem

    async def _follow(self, heard: Heard) -> None:
        """Follow one file until another takes its place.

        The position is kept as it goes: after an error nothing is read a second time.
        """
        # Opening a pipe nobody writes to waits, unless told not to.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            records = records_of(descriptor, self._position, self._clock)
            self._problem("")
            self.denied = None
            while True:
                found, idle = self._read(descriptor, records)
                if found or (idle and records.position != self._position):
                    self._position = records.position
                    heard(found, self._position)
                if idle:
                    records.caught_up()
                    if _replaced(descriptor, self._path, records):
                        return
                    await self._wait(descriptor)
                else:
                    await asyncio.sleep(0)  # a long backlog must not hold up a scrape
        finally:
            os.close(descriptor)

    async def _wait(self, descriptor: int) -> None:
        """Wait for more: until the kernel signals it for its own device, else for a while.

        A file is always ready for reading, and so is a pipe that nobody writes to.
        """
        if not stat.S_ISCHR(os.fstat(descriptor).st_mode):
            await asyncio.sleep(POLL_SECONDS)
            return
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(descriptor)

    def _read(self, descriptor: int, records: Records) -> tuple[list[XidEvent | SxidEvent], bool]:
        """Read one piece; return its events, and whether there was nothing to read."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return [], True
        except OSError as error:
            if error.errno == errno.EPIPE:  # the kernel has overwritten what we had not read yet
                if not self._overrun:
                    log.warning("the kernel's log has run over: some of its lines were not read")
                self._overrun = True
                return [], False
            raise
        return self._events(records.feed(data), bare=records.bare), not data

    def _events(self, records: Sequence[Record], *, bare: bool) -> list[XidEvent | SxidEvent]:
        found = ((each, self._parser.event(each.message, 0.0, bare=bare)) for each in records)
        return [
            dataclasses.replace(event, time=record.time)
            for record, event in found
            if event is not None
        ]


def _replaced(descriptor: int, path: Path, records: Records) -> bool:
    """Return whether a log file was rotated away or cut short: then it is opened again."""
    ours = os.fstat(descriptor)
    if not stat.S_ISREG(ours.st_mode):
        return False
    try:
        theirs = path.stat()
    except FileNotFoundError:  # renamed, and the new one is not there yet
        return False
    other = (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino)
    return other or theirs.st_size < records.offset


def _why(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            f"{path} may not be read by this user: Xids are known from the driver alone, which "
            "reports only some; give the agent CAP_SYSLOG, or --kernel-log a file it may read"
        )
    return (
        f"{path} cannot be read ({error.strerror}): Xids are known from the driver alone; "
        "name the kernel's log with --kernel-log"
    )
