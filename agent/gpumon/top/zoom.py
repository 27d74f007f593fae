"""One GPU alone: what is wrong with it, its graphs, and everything that is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.screen import Screen
from textual.widgets import Footer, Static

from gpumon.model import GpuReading, Kind, Snapshot
from gpumon.model.origins import Origins
from gpumon.top.curves import QUANTITIES, History
from gpumon.top.graph import Graph
from gpumon.top.ink import inked
from gpumon.top.tables import LiveTable, Row
from gpumon.views.diagnosis import STYLES, Diagnosis
from gpumon.views.info import known_of_gpu, table_of

_TITLES = ("value", "what", "how it is known")
_LEFT = frozenset({"what", "how it is known"})


class ZoomScreen(Screen[None]):
    """The screen of one GPU."""

    DEFAULT_CSS = """
    ZoomScreen { layout: vertical; }
    ZoomScreen #who { height: auto; max-height: 5; padding: 0 1; }
    ZoomScreen #gpu-graphs { grid-size: 2 2; height: 12; }
    ZoomScreen LiveTable { height: 1fr; }
    ZoomScreen.tall #gpu-graphs { height: 20; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "app.pop_screen", "Back"),
        # The table would take the arrows for itself.
        Binding("left", "app.step(-1)", "GPU before", priority=True),
        Binding("right", "app.step(1)", "Next GPU", priority=True),
    ]

    def __init__(self, history: History, index: int) -> None:
        """Show the GPU of NVML's index."""
        super().__init__()
        self._history = history
        self.index = index

    def compose(self) -> ComposeResult:
        """Make the parts, from the top."""
        yield Static(id="who")
        with Grid(id="gpu-graphs"):
            for name in QUANTITIES:
                yield Graph(self._history, self.index, name)
        yield LiveTable("known")
        yield Footer()

    def on_mount(self) -> None:
        """Give the keys to what can be scrolled."""
        self.query_one(LiveTable).focus()

    def refresh_from(self, snapshot: Snapshot, found: Diagnosis, per_column: int) -> None:
        """Show a snapshot."""
        if not self.children:
            return  # not composed yet, or already being taken down
        self.set_class(self.size.height >= _TALL, "tall")
        gpu = next((g for g in snapshot.gpus if g.identity.index == self.index), None)
        self.query_one("#who", Static).update(inked(self.app, _who(gpu, self.index, found)))
        for graph in self.query(Graph):
            graph.redraw(per_column)
        if gpu is not None:
            self.query_one(LiveTable).fill(
                _TITLES, list(_rows(gpu, table_of(snapshot, gpu))), _LEFT
            )


_TALL = 40
"""From this number of lines on there is room for higher graphs."""


def _who(gpu: GpuReading | None, index: int, found: Diagnosis) -> Text:
    if gpu is None:
        return Text(f"GPU {index} is gone", style="bold red")
    identity = gpu.identity
    style = f"bold {STYLES[found.level(index)]}" if index in found.gpus else "bold"
    text = Text(f"GPU {index}  {identity.name}  {identity.uuid}  {gpu.state.value}", style=style)
    for verdict in found.gpus.get(index, ()):
        text.append(f"\n{verdict.evidence}: {verdict.next_step}", style="not bold default")
    return text


def _rows(gpu: GpuReading, table: Origins | None) -> Iterator[Row]:
    """Yield what is known, a line each; a fact that is a label has the label for a name."""
    for each in known_of_gpu(gpu, table):
        facts = each.labels if each.metric.kind is Kind.INFO else {}
        name = each.name.removeprefix("gpumon_gpu_")
        pairs = [*facts.items()] or [(name, _number(each.number))]
        for what, value in pairs:
            key = f"{each.metric.name} {what}"
            yield key, [Text(value), Text(what), Text(each.origin)]


def _number(value: float) -> str:
    return f"{value:,.3f}".rstrip("0").rstrip(".")
