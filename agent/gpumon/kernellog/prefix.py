r"""What logs put before a message of the kernel: a time, a host, who speaks.

The same record looks different in each log. The device /dev/kmsg gives it whole, with control
characters escaped (``\x0a``). ``dmesg`` and ``journalctl`` write the lines of one record below each
other, all but the first indented. rsyslog writes them into one line (``#012``). ``dmesg -P``, and
everything that reads /proc/kmsg, puts the prefix before each line.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_FULL = r"[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?(?: [A-Za-z0-9+:-]{1,6})?"
_SYSLOG = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})?"
_UNIX = r"\d{9,11}\.\d{1,9}"

_PREFIX = re.compile(
    # rsyslog's raw formats and dmesg -r say the priority, of which the upper bits are who speaks.
    r"(?:<(?P<priority>\d{1,3})>(?:1 (?=\d))?)?"
    # dmesg -x: facility and level.
    r"(?P<facility>[a-z0-9]{3,8} *:[a-z]{3,7} *: )?"
    rf"(?P<stamp>{_ISO}(?= )|{_FULL}(?= )|{_SYSLOG}(?= )|{_UNIX}(?= )|\[[^\]\n]{{1,64}}\])? *"
    # Another program's name in this place means that it is that program that speaks, whatever it
    # says: a user who may write to the system log must not be able to make up a broken GPU. One
    # that calls itself "kernel" cannot be distinguished in a file; /dev/kmsg says who it was. With
    # a process's number, as journalctl writes it, it is not the kernel either.
    r"(?:(?:\S+ )?(?:kern\.[a-z]+ )?kernel(?:: ?| - - - +))?"
    # printk's uptime and caller.
    r"(?P<printk>(?: *\[[^\]\n]{1,64}\]){0,2}) *",
    re.ASCII,
)
"""Before the kernel's words; all of it may be absent."""

_KMSG = re.compile(r"(\d{1,9}),(\d{1,20}),(\d{1,20}),[^;\n]{0,64};", re.ASCII)
"""What the device gives, as ``cat /dev/kmsg`` writes it to a file."""

_COLOUR = re.compile(r"\x1b\[[0-9;]{0,16}m")
_BYTES = re.compile(r"(?:\\x[0-9a-fA-F]{2})+", re.ASCII)
_CONTROL = re.compile(r"#(0[0-3][0-7]|177)", re.ASCII)

_KERNEL = "kern"


class Head(NamedTuple):
    """A message of the kernel's own.

    ``words`` are free of escapes, with the lines of one record below each other. ``stamps`` are the
    times that stood before it, as the log wrote them, best first; a number alone is microseconds
    since the boot.
    """

    words: str
    stamps: tuple[str, ...] = ()


def is_continued(line: str) -> bool:
    """Return whether a line goes on with the record of the line before."""
    return line[:1] in (" ", "\t")


def plain(text: str) -> str:
    r"""Return a text without the escapes of a log: ``\x0a`` of /dev/kmsg, ``#012`` of rsyslog."""
    if "\\x" in text:
        text = _BYTES.sub(_decoded, text)
    return _CONTROL.sub(lambda found: chr(int(found[1], 8)), text) if "#" in text else text


def _decoded(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("\\x", "")).decode("utf-8", "replace")


def head_of(line: str) -> Head | None:
    """Return what the kernel says in a line of a log, or None if somebody else speaks in it."""
    line = _COLOUR.sub("", line) if "\x1b" in line else line
    device = _KMSG.match(line)
    if device is not None:
        if int(device[1]) >> 3:
            return None
        return Head(plain(line[device.end() :]), (device[3],))
    found = _PREFIX.match(line)
    if found is None:
        return None
    if found["priority"] and int(found["priority"]) >> 3:
        return None
    if found["facility"] and not found["facility"].startswith(_KERNEL):
        return None
    stamps = (found["stamp"] or "", *(found["printk"] or "").replace("]", "]\n").split("\n"))
    return Head(plain(line[found.end() :]), tuple(text.strip() for text in stamps if text.strip()))


def time_of(head: Head, now: float, uptime: float | None) -> float | None:
    """Return when a message was logged (unix seconds), or None if its stamps do not say.

    ``now`` is unix seconds, ``uptime`` seconds since the boot. A wall clock's time comes before
    printk's uptime: the boot may be an earlier one. Without an uptime only times count that are
    certain: a log may be of another zone than this process, and printk's clock drifts.
    """
    for stamp in head.stamps:
        with contextlib.suppress(ValueError, OverflowError, OSError):
            found = _wall(stamp, now, certain=uptime is None)
            if found is not None:
                return found
    if uptime is None:
        return None
    ups = (found for stamp in head.stamps if (found := _uptime(stamp)) is not None)
    return next((now - max(0.0, uptime - up) for up in ups), None)


_UPTIME = re.compile(r"\[ *(\d{1,9}\.\d{1,9})(?: <[^>]*>)?\]", re.ASCII)


def _uptime(stamp: str) -> float | None:
    """Return the seconds from the boot to a message."""
    if stamp.isdecimal():
        return int(stamp) / 1e6
    found = _UPTIME.fullmatch(stamp)
    return float(found[1]) if found else None


_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

_WALL = re.compile(
    r"\[?(?:[A-Z][a-z]{2} (?=\d{4}-|[A-Z]))?"  # the day of the week
    r"(?:(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ]"
    r"|(?P<name>[A-Z][a-z]{2}) ?(?P<date>[ \d]\d) )"
    r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:[.,](?P<part>\d{1,9}))?"
    r"(?: (?P<late_year>\d{4}))?"
    r" ?(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?(?: ?[A-Z][A-Za-z]{1,5})?(?: <[^>]*>)?\]?",
    re.ASCII,
)
"""A date and a time of day as logs write them, in brackets by dmesg -T."""

_OLDEST_YEARS = 9
"""How far back a line without a year may be: 29 February comes every eighth year at the latest."""


def _wall(stamp: str, now: float, *, certain: bool) -> float | None:
    if re.fullmatch(_UNIX, stamp, re.ASCII):
        return float(stamp)
    found = _WALL.fullmatch(stamp)
    if found is None or (certain and not (found["zone"] and found["year"])):
        return None
    month = int(found["month"]) if found["month"] else _MONTHS.index(found["name"]) + 1
    day, part = int(found["day"] or found["date"]), float(f"0.{found['part'] or 0}")
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    zone = _zone(found["zone"])
    year = found["year"] or found["late_year"]

    def moment(year: int) -> float:
        return dt.datetime(year, month, day, hour, minute, second, tzinfo=zone).timestamp() + part

    return moment(int(year)) if year else _latest(moment, now)


def _latest(moment: Callable[[int], float], now: float) -> float | None:
    """Return the moment of the latest year in which it is not in the future.

    Tomorrow is not: the log may be of a zone further east.
    """
    year = dt.datetime.fromtimestamp(now, dt.timezone.utc).year
    return next((at for at in _moments(moment, year + 1) if at <= now + 86_400), None)


def _moments(moment: Callable[[int], float], latest: int) -> Iterator[float]:
    for year in range(latest, latest - _OLDEST_YEARS, -1):
        with contextlib.suppress(ValueError):
            yield moment(year)


def _zone(text: str | None) -> dt.tzinfo | None:
    """Return a zone; None, this machine's own, for a name such as CET."""
    if not text:
        return None
    if not text[1:].replace(":", "").isdecimal():
        return dt.timezone.utc
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return dt.timezone(-offset if text[0] == "-" else offset)
