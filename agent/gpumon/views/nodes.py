"""Several nodes side by side: which respond, what is wrong with each, and their sums."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gpumon.checks import Level
from gpumon.documents.snapshot import to_document
from gpumon.documents.write import json_line, json_text
from gpumon.errors import UsageError
from gpumon.model import Snapshot
from gpumon.targets.several import Look
from gpumon.views import words
from gpumon.views.console import SIMULATED, make_console, put
from gpumon.views.diagnosis import Diagnosis, diagnose
from gpumon.views.records import csv_of
from gpumon.views.status import style, verdict


def write(looks: Sequence[Look], form: str, *, header: bool) -> None:
    """Write what nodes say; who did not answer is in the table and the JSON, else on stderr."""
    if form == "table":
        console = make_console()
        put(console, _parts(looks, wide=not console.is_terminal))
        return
    if form == "prom":
        raise UsageError("-o prom is of one node", "name one, or let Prometheus scrape them")
    documents = [to_document(look.snapshot) for look in looks if look.snapshot is not None]
    silent = [look for look in looks if look.snapshot is None]
    if form == "json":
        unanswered = [{"target": look.target, "error": look.problem} for look in silent]
        text = json_text({"nodes": documents, "unanswered": unanswered})
    elif form == "csv":
        text = csv_of(documents, header=header)
    else:
        text = "".join(map(json_line, documents))
    sys.stdout.write(text)
    sys.stdout.flush()
    if form != "json":
        sys.stderr.write("".join(f"{look.target}: {look.problem}\n" for look in silent))


@dataclasses.dataclass(frozen=True, slots=True)
class _Node:
    """A node that answered, and what is wrong with it."""

    snapshot: Snapshot
    found: Diagnosis

    @property
    def rank(self) -> tuple[bool, int, int]:
        """The worst first: no driver, then by what failed, then by what is a warning."""
        return self.snapshot.up, -self.found.count(Level.FAIL), -self.found.count(Level.WARN)


def _parts(looks: Sequence[Look], *, wide: bool) -> Iterator[RenderableType]:
    nodes = [
        _Node(look.snapshot, diagnose(look.snapshot, look.thresholds))
        for look in looks
        if look.snapshot is not None
    ]
    if any(node.snapshot.source.simulated for node in nodes):
        yield SIMULATED
    yield _summary(nodes, len(looks))
    for look in looks:
        if look.snapshot is None:
            yield Text(f"! {look.target}: {look.problem}", style="bold red")
    if nodes:
        yield _table(sorted(nodes, key=lambda node: node.rank), wide=wide)


def _summary(nodes: Sequence[_Node], asked: int) -> Text:
    gpus = sum(len(node.snapshot.gpus) for node in nodes)
    failed = sum(node.found.count(Level.FAIL) for node in nodes)
    warned = sum(node.found.count(Level.WARN) for node in nodes)
    power = [node.snapshot.power.gpu_power_watts for node in nodes]
    drawn = sum(watts for watts in power if watts is not None)
    told = [
        f"{len(nodes)} of {asked} nodes responded",
        f"{gpus - failed - warned} of {gpus} GPUs fine",
    ]
    told += [f"{failed} failed"] * bool(failed) + [f"{warned} with a warning"] * bool(warned)
    good = len(nodes) == asked and not failed and all(node.snapshot.up for node in nodes)
    return Text(f"{', '.join(told)}  {words.watts(drawn)}", style="bold" if good else "bold red")


def _table(nodes: Sequence[_Node], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("node", "GPUs", "power", "margin", "util", "SM", "what"):
        right = title not in ("node", "GPUs", "what")
        table.add_column(
            title, justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    for node in nodes:
        table.add_row(*_row(node, wide=wide))
    return table


MOST_WORDS = 3
"""A terminal shows no more than these of a node; ``gpumon status NODE`` shows all."""


def _row(node: _Node, *, wide: bool) -> Iterator[Text]:
    snapshot, gpus = node.snapshot, node.snapshot.gpus
    margins = [
        g.temperature_margin_celsius for g in gpus if g.temperature_margin_celsius is not None
    ]
    wrong = [
        f"{'node' if v.gpu is None else f'GPU {v.gpu}'} {v.evidence}" for v in node.found.verdicts
    ]
    shown = wrong if wide else wrong[:MOST_WORDS]
    more = [f"and {len(wrong) - len(shown)} more"] * (len(wrong) > len(shown))
    yield Text(snapshot.node)
    yield Text(verdict(snapshot, node.found), style=style(snapshot, node.found))
    yield Text(words.watts(snapshot.power.gpu_power_watts))
    yield Text(words.celsius(min(margins, default=None)))
    yield Text(words.share(_mean([gpu.utilization_ratio for gpu in gpus])))
    yield Text(words.share(_mean([gpu.sm_active_ratio for gpu in gpus])))
    yield Text("; ".join([*shown, *more]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
