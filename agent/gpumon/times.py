"""Moments as text: RFC 3339 in UTC, to the millisecond."""

from __future__ import annotations

import datetime as dt
import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?", re.ASCII)
_SECONDS_OF = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def format_time(seconds: float) -> str:
    """Write unix seconds as RFC 3339 in UTC."""
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """Read RFC 3339 as unix seconds; ValueError if it is none."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def format_age(seconds: float) -> str:
    """Write a span for people, to two digits: ``0.4 s``, ``40 s``, ``12 min``, ``3 h``, ``2 d``."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def parse_duration(text: str) -> float:
    """Read ``90``, ``90s``, ``30m``, ``1.5h`` or ``2d`` as seconds; ValueError if it is none."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write 90s, 30m, 2h or 1d")
    return float(match[1]) * _SECONDS_OF[match[2] or "s"]


def scaled(duration: str, scale: float) -> str:
    """Return a duration divided by a scale as Prometheus takes it: whole numbers of one unit."""
    if scale == 1.0 and re.fullmatch(r"[0-9]+[smhd]", duration):
        return duration
    milliseconds = max(1, round(parse_duration(duration) * 1000 / scale))
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
