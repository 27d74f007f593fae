"""What Xids' numbers mean, in words short enough for a table."""

from __future__ import annotations

from dashboards.kit import style
from dashboards.kit.style import State
from gpumon.xids import Xid, xids


def words() -> dict[int, State]:
    """Return each code's number and meaning, coloured by how bad it is for the node."""
    return {code: State(f"{code}: {xid.meaning}", _color(xid)) for code, xid in xids().items()}


def _color(xid: Xid) -> str:
    if xid.severity == "critical":
        return style.BAD
    ours = xid.xid_class != "application" and xid.severity == "warning"
    return style.WARNING if ours else style.NEUTRAL
