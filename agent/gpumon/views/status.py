"""A node at a glance: whether anything is wrong, what, and a line for each GPU, the worst first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gpumon.checks import Level, Verdict
from gpumon.model import GpuReading, GpuState, Snapshot
from gpumon.thresholds import Thresholds
from gpumon.views import words
from gpumon.views.console import SIMULATED, put
from gpumon.views.diagnosis import STYLES, Diagnosis, diagnose
from gpumon.views.gpus import GAP, LEFT, grid, ordered

MOST_LINES = 12
"""A terminal shows no more lines than these of what is wrong: the GPUs need room as well."""


def show(
    console: Console, snapshot: Snapshot, thresholds: Thresholds, *, sort: str = "worst"
) -> None:
    """Print the view of a node, its GPUs in one of GPU_ORDERS."""
    found = diagnose(snapshot, thresholds)
    put(console, parts(snapshot, found, sort, console.width if console.is_terminal else None))


def parts(
    snapshot: Snapshot, found: Diagnosis, sort: str, width: int | None
) -> Iterator[RenderableType]:
    """Yield the view of a node, for a terminal of ``width`` columns (None: no terminal)."""
    if snapshot.source.simulated:
        yield SIMULATED
    yield headline(snapshot, found)
    yield from wrong(snapshot, found, MOST_LINES if width else None)
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
    """Return the color of how a node is."""
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


def wrong(snapshot: Snapshot, found: Diagnosis, most: int | None) -> Iterator[Text]:
    """Yield a line for each thing that is wrong, the worst first; no more than ``most`` of them."""
    shown = found.verdicts if most is None else found.verdicts[:most]
    for each in shown:
        line = Text(f"{each.level.value.upper():<4}  ", style=STYLES[each.level])
        line.append(f"{_subject(each):<6}  {each.evidence}", style="default not bold not dim")
        yield line
    left = len(found.verdicts) - len(shown)
    if left:
        yield Text(f"and {left} more: gpumon check", style="bold")
    yield from (Text(f"! {error}", style="bold red") for error in _untold_errors(snapshot, found))


def _subject(verdict: Verdict) -> str:
    return "node" if verdict.gpu is None else f"GPU {verdict.gpu}"


def _untold_errors(snapshot: Snapshot, found: Diagnosis) -> Iterator[str]:
    """Yield the source's errors that no verdict mentions."""
    told = [v.evidence for v in found.verdicts] + [
        gpu.reason for gpu in snapshot.gpus if gpu.reason
    ]
    for error in snapshot.errors:
        if not any(words in error or error in words for words in told):
            yield error


def _gpus(snapshot: Snapshot, found: Diagnosis, sort: str, width: int | None) -> Table:
    """Return the table of the GPUs, with as many columns as a width has room for."""
    shown = grid(snapshot, found, ordered(snapshot.gpus, found, sort), width)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, GAP, 0, 0))
    for title in shown.titles:
        table.add_column(title, justify="left" if title in LEFT else "right", no_wrap=True)
    for row in shown.rows:
        table.add_row(*(Text(*cell) for cell in row))
    return table
