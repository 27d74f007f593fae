"""Whether something keeps this machine's clock, and by how much it is off. No network is asked.

The kernel knows what disciplines it (adjtimex(2)). chronyd does so only with ``rtcsync`` in its
configuration, and corrects large errors itself, so that the kernel knows of no offset: chronyd is
asked as well, over its local socket.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gpumon.clock import boot_id
from gpumon.ledger.measure import Epoch

TIMESYNCD = Path("/run/systemd/timesync")
"""The folder in which systemd-timesyncd leaves a mark once it has set the clock."""

CHRONYC = ("chronyc", "-c", "tracking")
_TRACKING_FIELDS = 14
_SYSTEM_TIME = 4
"""Of chronyc(1): reference id and name, stratum, time, system time, seven numbers, interval, leap
status. The system time is by how many seconds the clock is behind (client.c: "slow")."""

_CALL_SECONDS = 2.0

WORTH_SAYING_SECONDS = 1.0
"""A clock this far off is wrong: what two sources report within two seconds is one event."""

_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000
"""From linux/timex.h."""

_MODULE = Path("/sys/module/nvidia")


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the kernel writes no more than the whole 208 bytes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class KernelClock(NamedTuple):
    """What the kernel says: whether its clock is kept, how far ahead it is, and its bound for that.

    Seconds; None is not known.
    """

    kept: bool | None = None
    offset_seconds: float | None = None
    error_seconds: float = 0.0


class Daemon(NamedTuple):
    """A daemon that keeps the clock: its name, whether it does, and how far ahead the clock is."""

    name: str = ""
    keeps: bool | None = None
    offset_seconds: float | None = None


class Timekeeping(NamedTuple):
    """What the kernel and a daemon say of the clock."""

    kernel: KernelClock
    daemon: Daemon

    @property
    def synchronized(self) -> bool | None:
        """Whether something keeps the clock; None if nobody says."""
        if self.kernel.kept or self.daemon.keeps:
            return True
        return None if self.kernel.kept is None and self.daemon.keeps is None else False

    @property
    def wrong(self) -> str | None:
        """What is wrong with the clock in words, empty if nothing is; None if nobody says."""
        if self.synchronized is None:
            return None
        if not self.synchronized:
            return "not synchronized"
        offset = self.offset_seconds
        if offset is None or abs(offset) <= WORTH_SAYING_SECONDS:
            return ""
        return f"{abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"

    @property
    def offset_seconds(self) -> float | None:
        """By how much the clock is ahead, as its keeper reckons; None if nobody keeps it."""
        if self.daemon.keeps and self.daemon.offset_seconds is not None:
            return self.daemon.offset_seconds
        return self.kernel.offset_seconds if self.kernel.kept else None


def look(marks: Path = TIMESYNCD) -> Timekeeping:
    """Ask the kernel and the daemons; it may take two seconds."""
    kernel = kernel_clock()
    daemon = chrony(printed(CHRONYC))
    if not kernel.kept and daemon.keeps is None and (marks / "synchronized").exists():
        daemon = Daemon("systemd-timesyncd", keeps=True)
    return Timekeeping(kernel, daemon)


def kernel_clock() -> KernelClock:
    """Ask adjtimex(2), which everybody may; a filter of system calls may refuse even that."""
    asked = _Timex()  # modes 0: only ask
    outcome = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    if outcome < 0:
        return KernelClock()
    kept = outcome != _TIME_ERROR and not asked.status & _STA_UNSYNC
    # What is still to be added to the clock: it is behind by as much.
    behind = asked.offset / (1e9 if asked.status & _STA_NANO else 1e6)
    return KernelClock(kept, 0.0 - behind, asked.maxerror / 1e6)


def chrony(text: str | None) -> Daemon:
    """Read the comma-separated reply of ``chronyc -c tracking``; None is that there was none."""
    fields = (text or "").strip().split(",")
    if len(fields) < _TRACKING_FIELDS:
        return Daemon()
    keeps = fields[-1] != "Not synchronised"
    try:
        offset = 0.0 - float(fields[_SYSTEM_TIME])
    except ValueError:
        return Daemon("chronyd", keeps)
    return Daemon("chronyd", keeps, offset if keeps and abs(offset) < 1e9 else None)


def printed(argv: Sequence[str]) -> str | None:
    """Return what a command printed; None if it is not there, fails or takes too long."""
    if shutil.which(argv[0]) is None:
        return None
    try:
        done = subprocess.run(
            argv,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CALL_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


def uptime() -> float:
    """Return the seconds since the boot, those among them in which the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def counter_epoch(module: Path = _MODULE, boot: Callable[[], str] = boot_id) -> Epoch:
    """Return since when the GPUs' energy counters count.

    The kernel gives a module's folder a new number each time that it is loaded.
    """
    try:
        driver = str(module.stat().st_ino)
    except OSError:
        driver = ""
    return Epoch(boot(), driver)
