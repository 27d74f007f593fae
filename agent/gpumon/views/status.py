"""A node at a glance: whether anything is wrong, what, and a line for each GPU, the worst first."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gpumon.checks import Level, Verdict
from gpumon.clock import SYSTEM
from gpumon.model import GpuReading, GpuState, Snapshot
from gpumon.times import format_age
from gpumon.views import words
from gpumon.views.console import SIMULATED, put
from gpumon.views.diagnosis import STYLES, Diagnosis, diagnose

STALE_SECONDS = 10.0
"""A reading older than this is shown with its age."""

LOW_MARGIN_CELSIUS = 5.0
"""Fewer degrees left than this are shown as a warning (nvml-reference: margin)."""

MOST_LINES = 12
"""On a terminal no more lines than these say what is wrong: the GPUs are to be seen as well."""

SORTS = ("worst", "gpu", "power", "margin", "utilization", "activity", "memory", "energy")


def show(console: Console, snapshot: Snapshot, *, sort: str = "worst") -> None:
    """Print the view of a node, its GPUs in one of SORTS."""
    put(console, parts(snapshot, sort, console.width if console.is_terminal else None))


def parts(snapshot: Snapshot, sort: str, width: int | None) -> Iterator[RenderableType]:
    """Yield the view of a node, for a terminal of so many columns (None: no terminal)."""
    found = diagnose(snapshot)
    if snapshot.source.simulated:
        yield SIMULATED
    yield headline(snapshot, found)
    yield from _wrong(found, MOST_LINES if width else None)
    yield from (Text(f"! {error}", style="bold red") for error in _untold_errors(snapshot, found))
    if snapshot.gpus:
        yield _gpus(snapshot, found, sort, width)
    if found.verdicts:
        yield Text("What to do: gpumon check. What it means: gpumon explain WORD.", style="dim")


def headline(snapshot: Snapshot, found: Diagnosis) -> Text:
    """Return one line that sums up a node."""
    power, limit = snapshot.power, _limit(snapshot.gpus)
    moment = dt.datetime.fromtimestamp(snapshot.time).astimezone()
    source = snapshot.source
    texts = [
        f"{snapshot.node or 'this node'}: {verdict(snapshot, found)}",
        words.watts(power.gpu_power_watts, limit),
        f"peak {words.watts(power.gpu_power_peak_watts)}",
        f"{moment:%Y-%m-%d %H:%M:%S}",
        f"{source.source} {source.driver_version}".rstrip(),
    ]
    return Text("  ".join(texts), style=f"bold {style(snapshot, found)}".rstrip())


def style(snapshot: Snapshot, found: Diagnosis) -> str:
    """Return the colour of how a node is."""
    if not snapshot.up or not snapshot.gpus or any(v.level is Level.FAIL for v in found.verdicts):
        return "red"
    return "yellow" if found.verdicts else ""


def verdict(snapshot: Snapshot, found: Diagnosis) -> str:
    """Say how many of a node's GPUs are fine, and how many are not."""
    there = max(len(snapshot.gpus), snapshot.gpus_expected or 0)
    if not there:
        return "no GPUs"
    released = sum(gpu.state is GpuState.RELEASED for gpu in snapshot.gpus)
    failed, warned = found.count(Level.FAIL), found.count(Level.WARN)
    missing = there - len(snapshot.gpus)
    fine = there - failed - warned - missing - released
    others = {
        "failed": failed,
        "missing": missing,
        "with a warning": warned,
        "released": released,
    }
    told = ", ".join(f"{count} {what}" for what, count in others.items() if count)
    if not told:
        return f"{there} GPUs, all fine" if there > 1 else "1 GPU, fine"
    return f"{fine} of {there} GPUs fine, {told}"


def _limit(gpus: Iterable[GpuReading]) -> float | None:
    limits = [gpu.power_limit_watts for gpu in gpus]
    known = [limit for limit in limits if limit is not None]
    return sum(known) if known and len(known) == len(limits) else None


def _wrong(found: Diagnosis, most: int | None) -> Iterator[Text]:
    """Yield a line for all that is wrong, the worst first."""
    shown = found.verdicts if most is None else found.verdicts[:most]
    for each in shown:
        line = Text(f"{each.level.value.upper():<4}  ", style=STYLES[each.level])
        line.append(f"{_subject(each):<6}  {each.evidence}", style="default not bold not dim")
        yield line
    left = len(found.verdicts) - len(shown)
    if left:
        yield Text(f"and {left} more: gpumon check", style="bold")


def _subject(verdict: Verdict) -> str:
    return "node" if verdict.gpu is None else f"GPU {verdict.gpu}"


def _untold_errors(snapshot: Snapshot, found: Diagnosis) -> Iterator[str]:
    """Yield the source's errors that no verdict tells."""
    told = [v.evidence for v in found.verdicts] + [
        gpu.reason for gpu in snapshot.gpus if gpu.reason
    ]
    for error in snapshot.errors:
        if not any(words in error or error in words for words in told):
            yield error


Cell = tuple[str, str]
"""A text and its style."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    """What the columns of a GPU's line are made of."""

    gpu: GpuReading
    snapshot: Snapshot
    level: Level
    most: int | None

    def state(self) -> Cell:
        text = self.gpu.state.value
        age = self.gpu.age(SYSTEM.monotonic())
        if age is not None and age > STALE_SECONDS:
            text += f", {format_age(age)} old"
        return text, STYLES[self.level]

    def margin(self) -> Cell:
        margin = self.gpu.temperature_margin_celsius
        low = margin is not None and margin < LOW_MARGIN_CELSIUS
        return words.celsius(margin), "bold red" if low else ""

    def held_down_by(self) -> Cell:
        reasons = sorted((self.gpu.throttle_reasons or frozenset()) - {"applications_clocks"})
        return " ".join(reasons), "yellow"


def _plain(text: Callable[[_Row], str]) -> Callable[[_Row], Cell]:
    return lambda row: (text(row), "")


_COLUMNS: dict[str, Callable[[_Row], Cell]] = {
    "GPU": _plain(lambda row: str(row.gpu.identity.index)),
    "name": _plain(lambda row: words.name(row.gpu)),
    "state": _Row.state,
    "power": _plain(lambda row: words.watts(row.gpu.power_watts, row.gpu.power_limit_watts)),
    "temp": _plain(lambda row: words.celsius(row.gpu.temperature_celsius)),
    "margin": _Row.margin,
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
    "held down by": _Row.held_down_by,
}

_LEFT = frozenset({"name", "state", "job", "user", "last Xid", "held down by"})

_IF_ANY = frozenset({"job", "user", "last Xid", "held down by"})
"""Columns that are there only where a GPU has something in them."""

_DISPENSABLE = (
    *("energy", "clock", "name", "temp", "held down by", "SM", "last Xid", "user", "job"),
    "memory",
)
"""Columns a narrow terminal goes without, the first one first."""

_GAP = 2


def _gpus(snapshot: Snapshot, found: Diagnosis, sort: str, width: int | None) -> Table:
    """Return the table of the GPUs, with as many columns as a width has room for."""
    rows = [
        _Row(gpu, snapshot, found.level(gpu.identity.index), 1 if width else None)
        for gpu in ordered(snapshot.gpus, found, sort)
    ]
    cells = {title: [column(row) for row in rows] for title, column in _COLUMNS.items()}
    shown = _fitting(cells, width)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    for title in shown:
        justify = "left" if title in _LEFT else "right"
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for n in range(len(rows)):
        table.add_row(*(Text(*cells[title][n]) for title in shown))
    return table


def _fitting(cells: dict[str, list[Cell]], width: int | None) -> list[str]:
    """Return the titles of the columns that are worth their room."""
    shown = [
        title
        for title, column in cells.items()
        if title not in _IF_ANY or any(text not in ("", words.MISSING) for text, _ in column)
    ]
    widths = {
        title: max(len(title), *(len(text) for text, _ in column)) + _GAP
        for title, column in cells.items()
    }
    for title in _DISPENSABLE:
        if width is not None and sum(widths[t] for t in shown) - _GAP > width and title in shown:
            shown.remove(title)
    return shown


def ordered(gpus: Iterable[GpuReading], found: Diagnosis, sort: str) -> list[GpuReading]:
    """Return GPUs in one of SORTS: the worst first, by index, or the most of a reading first.

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
