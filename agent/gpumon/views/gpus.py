"""The GPUs of a node as rows of cells: the columns, and which of them a width has room for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from gpumon.clock import SYSTEM
from gpumon.model import GpuReading, Snapshot
from gpumon.times import format_age
from gpumon.views import words
from gpumon.views.diagnosis import STYLES, Diagnosis

Cell = tuple[str, str]
"""A text and its style."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Line:
    """What the columns of a GPU's line are made of."""

    gpu: GpuReading
    snapshot: Snapshot
    found: Diagnosis
    most: int | None

    def state(self) -> Cell:
        text = self.gpu.state.value
        age = self.gpu.age(SYSTEM.monotonic())
        if age is not None and age > self.found.thresholds.number("monitor.fresh_seconds"):
            text += f", {format_age(age)} old"
        return text, STYLES[self.found.level(self.gpu.identity.index)]

    def margin(self) -> Cell:
        margin = self.gpu.temperature_margin_celsius
        low = margin is not None and margin < self.found.thresholds.number(
            "heat.margin_low_celsius"
        )
        return words.celsius(margin), "bold red" if low else ""

    def held_down_by(self) -> Cell:
        reasons = sorted((self.gpu.throttle_reasons or frozenset()) - {"applications_clocks"})
        return " ".join(reasons), "yellow"


def _plain(text: Callable[[_Line], str]) -> Callable[[_Line], Cell]:
    return lambda row: (text(row), "")


_COLUMNS: dict[str, Callable[[_Line], Cell]] = {
    "GPU": _plain(lambda row: str(row.gpu.identity.index)),
    "name": _plain(lambda row: words.name(row.gpu)),
    "state": _Line.state,
    "power": _plain(lambda row: words.watts(row.gpu.power_watts, row.gpu.power_limit_watts)),
    "temp": _plain(lambda row: words.celsius(row.gpu.temperature_celsius)),
    "margin": _Line.margin,
    "util": _plain(lambda row: words.share(row.gpu.utilization_ratio)),
    "SM": _plain(lambda row: words.share(row.gpu.sm_active_ratio)),
    "memory": _plain(
        lambda row: words.gibibytes(row.gpu.memory_used_bytes, row.gpu.memory_total_bytes)
    ),
    "clock": _plain(lambda row: words.megahertz((row.gpu.clock_hertz or {}).get("sm"))),
    "energy": _plain(lambda row: words.energy(row.gpu.energy_joules)),
    "job": _plain(lambda row: words.some(row.gpu.jobs, row.most)),
    "user": _plain(lambda row: words.some(words.users(row.gpu, row.snapshot), row.most)),
    "last Xid": _plain(lambda row: words.last_xid(row.gpu, row.snapshot.time)),
    "throttled": _Line.held_down_by,
}

LEFT = frozenset({"name", "state", "job", "user", "last Xid", "throttled"})

_IF_ANY = frozenset({"job", "user", "last Xid", "throttled"})
"""Columns that are there only if a GPU has something in them."""

_DISPENSABLE = (
    *("energy", "clock", "name", "temp", "throttled", "SM", "last Xid", "user", "job"),
    "memory",
)
"""Columns a narrow terminal goes without, the first one first."""

GAP = 2
"""The blanks between two columns."""


@dataclasses.dataclass(frozen=True, slots=True)
class Grid:
    """A table of GPUs: the titles of its columns, and a row of cells for each GPU of ``gpus``."""

    titles: tuple[str, ...]
    gpus: tuple[GpuReading, ...]
    rows: tuple[tuple[Cell, ...], ...]


def grid(
    snapshot: Snapshot, found: Diagnosis, gpus: Iterable[GpuReading], width: int | None
) -> Grid:
    """Return GPUs as rows, with as many columns as a width has room for (None: all)."""
    shown = tuple(gpus)
    rows = [_Line(gpu, snapshot, found, 1 if width else None) for gpu in shown]
    cells = {title: [column(row) for row in rows] for title, column in _COLUMNS.items()}
    titles = tuple(_fitting(cells, width))
    return Grid(titles, shown, tuple(tuple(cells[t][n] for t in titles) for n in range(len(rows))))


def _fitting(cells: dict[str, list[Cell]], width: int | None) -> list[str]:
    """Return the titles of the columns that are worth their room."""
    shown = [
        title
        for title, column in cells.items()
        if title not in _IF_ANY or any(text not in ("", words.MISSING) for text, _ in column)
    ]
    widths = {
        title: max(len(title), *(len(text) for text, _ in column)) + GAP
        for title, column in cells.items()
    }
    for title in _DISPENSABLE:
        if width is not None and sum(widths[t] for t in shown) - GAP > width and title in shown:
            shown.remove(title)
    return shown


def ordered(gpus: Iterable[GpuReading], found: Diagnosis, sort: str) -> list[GpuReading]:
    """Return GPUs in one of GPU_ORDERS: the worst first, by index, or the most of a reading first.

    By margin the least comes first; what is not known comes last.
    """
    if sort in ("worst", "gpu"):
        rank = found.rank if sort == "worst" else lambda gpu: (0, gpu.identity.index)
        return sorted(gpus, key=rank)
    field, sign = _BY[sort]

    def key(gpu: GpuReading) -> tuple[bool, float, int]:
        value = getattr(gpu, field)
        return value is None, sign * (value or 0.0), gpu.identity.index

    return sorted(gpus, key=key)


_BY = {
    "power": ("power_watts", -1),
    "margin": ("temperature_margin_celsius", 1),
    "utilization": ("utilization_ratio", -1),
    "activity": ("sm_active_ratio", -1),
    "memory": ("memory_used_bytes", -1),
    "energy": ("energy_joules", -1),
}
