"""Moments as text: RFC 3339 in UTC, to the millisecond."""

from __future__ import annotations

import datetime as dt


def format_time(seconds: float) -> str:
    """Write unix seconds as RFC 3339 in UTC."""
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """Read RFC 3339 as unix seconds; ValueError where it is none."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
