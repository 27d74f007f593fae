"""The application: what is on the first screen, and what the keys do there."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Resize
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from gpumon.errors import GpumonError, UnavailableError
from gpumon.model import Snapshot
from gpumon.top.curves import NODE, History
from gpumon.top.graph import Graph
from gpumon.top.ink import inked
from gpumon.top.keys import KeysScreen
from gpumon.top.looking import Looking
from gpumon.top.tables import LiveTable, Row
from gpumon.top.zoom import ZoomScreen
from gpumon.views import gpus, jobs, ps, status
from gpumon.views.console import SIMULATED
from gpumon.views.diagnosis import Diagnosis, diagnose
from gpumon.views.orders import GPU_ORDERS

SPANS = (1, 5, 30)
"""How many looks a column of a graph stands for."""

_SORT_OF_TITLE = {
    "GPU": "gpu",
    "state": "worst",
    "power": "power",
    "margin": "margin",
    "util": "utilization",
    "SM": "activity",
    "memory": "memory",
    "energy": "energy",
}
_ROOM_FOR_GRAPHS = 30
"""Lines of a terminal from which on the node's graphs are shown above the rows."""

_END_SECONDS = 2.0
"""How long the screen may take to be put back, once a signal ends the command."""

_LINES_PER_TROUBLE = 8
"""One of this many lines may say what is wrong: the rows need the others."""


class Seen(Message):
    """A look at the target: its snapshot, or why there is none."""

    def __init__(self, look: Snapshot | GpumonError) -> None:
        """Carry a look."""
        super().__init__()
        self.look = look


class TopApp(App[None]):
    """The live view of a node; it reads only."""

    TITLE = "gpumon top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head, #trouble { height: auto; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #node-graphs { height: 7; display: none; }
    .tall #node-graphs { display: block; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    LiveTable { height: 1fr; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.open { display: block; }
    .nothing { padding: 1 2; color: $text-muted; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "keys", "Keys", key_display="?"),
        Binding("s", "sort", "Sort"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("space", "hold", "Hold"),
        Binding("d", "shade", "Dark/light"),
        Binding("left_square_bracket", "span(-1)", "Shorter", show=False),
        Binding("right_square_bracket", "span(1)", "Longer", show=False),
        Binding("1", "tab('gpus')", "GPUs", show=False),
        Binding("2", "tab('processes')", "Processes", show=False),
        Binding("3", "tab('jobs')", "Jobs", show=False),
        Binding("escape", "unfilter", "End of the filter", show=False),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", "Quit", show=False, priority=True),
    ]

    def __init__(self, looking: Looking, sort: str) -> None:
        """Show what is seen by ``looking``, the GPUs in one of GPU_ORDERS."""
        super().__init__()
        self.problem: GpumonError | None = None
        self.crash: Exception | None = None
        self._history = History()
        self._looking = looking
        self._sort = sort
        self._span = 0
        self._wanted = ""
        self._held = False
        self._snapshot: Snapshot | None = None
        self._silence = ""

    # -- what is there ------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Make the parts, from the top."""
        yield Static("reading the GPUs …", id="head")
        yield Static(id="trouble")
        with Horizontal(id="node-graphs"):
            for name in ("power", "margin", "activity"):
                yield Graph(self._history, NODE, name)
        with TabbedContent(id="tabs"):
            with TabPane("GPUs", id="gpus"):
                yield LiveTable("gpu-rows")
            with TabPane("Processes", id="processes"):
                yield LiveTable("process-rows")
            with TabPane("Jobs", id="jobs"):
                yield Static(_NO_JOBS, id="no-jobs", classes="nothing")
                yield LiveTable("job-rows")
        yield Input(placeholder="show rows with this text; Esc shows all", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look, and end in order on a signal."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._ended_by, number)
        self.query_one("#gpu-rows").focus()
        self._looking.start(lambda look: self.post_message(Seen(look)))

    def on_unmount(self) -> None:
        """Let the target go."""
        self._looking.stop()

    def _ended_by(self, number: int) -> None:
        code = 128 + number
        # A terminal that is gone takes no more output, and Textual would wait for it for ever.
        last_resort = threading.Timer(_END_SECONDS, os._exit, (code,))
        last_resort.daemon = True
        last_resort.start()
        self.exit(return_code=code)

    # -- what is seen -------------------------------------------------------------------------

    def on_seen(self, message: Seen) -> None:
        """Show a look; while a target is silent, the last one stays."""
        look = message.look
        if isinstance(look, UnavailableError):
            self._silence = str(look)
        elif isinstance(look, GpumonError):
            self.problem = look
            self.exit(return_code=look.exit_code)
            return
        else:
            self._silence = ""
            self._history.add(look)
            if not self._held:
                self._snapshot = look
        self._show()

    def _show(self) -> None:
        if not self.screen_stack or not self.screen_stack[0].children:
            return  # not composed yet, or already being taken down
        snapshot = self._snapshot
        if snapshot is None:
            self._head(Text(self._silence or "reading the GPUs …", style="bold red"))
            return
        found = diagnose(snapshot, self._looking.thresholds)
        self._head(status.headline(snapshot, found))
        self._trouble(snapshot, found)
        self.screen_stack[0].set_class(self.size.height >= _ROOM_FOR_GRAPHS, "tall")
        for graph in self.screen_stack[0].query(Graph):
            graph.redraw(SPANS[self._span])
        self._rows(snapshot, found)
        if isinstance(self.screen, ZoomScreen):
            self.screen.refresh_from(snapshot, found, SPANS[self._span])

    def _head(self, line: Text) -> None:
        lines = [line]
        if self._snapshot is not None and self._snapshot.source.simulated:
            lines.insert(0, SIMULATED)
        if self._silence and self._snapshot is not None:
            lines.append(Text(f"! {self._silence}: as it was last", style="bold red"))
        if self._held:
            lines.append(Text("HELD: Space goes on", style="bold reverse"))
        self.screen_stack[0].query_one("#head", Static).update(inked(self, Text("\n").join(lines)))

    def _trouble(self, snapshot: Snapshot, found: Diagnosis) -> None:
        most = max(1, self.size.height // _LINES_PER_TROUBLE)
        lines = list(status.wrong(snapshot, found, most))
        area = self.screen_stack[0].query_one("#trouble", Static)
        area.display = bool(lines)
        area.update(inked(self, Text("\n").join(lines)))

    def _rows(self, snapshot: Snapshot, found: Diagnosis) -> None:
        table = self._table("gpu-rows")
        # A table has a blank at each side of a column where a printed one has two between them.
        width = max(20, self.size.width - 2)
        grid = gpus.grid(snapshot, found, gpus.ordered(snapshot.gpus, found, self._sort), width)
        table.fill(
            [f"{t}▾" if _SORT_OF_TITLE.get(t) == self._sort else t for t in grid.titles],
            self._filtered(
                (str(gpu.identity.index), [Text(*cell) for cell in row])
                for gpu, row in zip(grid.gpus, grid.rows, strict=True)
            ),
            gpus.LEFT | {f"{title}▾" for title in gpus.LEFT},
        )
        self._table("process-rows").fill(
            ps.TITLES,
            self._filtered(
                (
                    f"{row.gpu}/{row.process.pid if row.process else '-'}/{n}",
                    _texts(ps.cells(row, 1)),
                )
                for n, row in enumerate(ps.held(snapshot))
            ),
            ps.LEFT,
        )
        of_jobs = jobs.rows(snapshot)
        self._table("job-rows").fill(
            jobs.TITLES,
            self._filtered((row.reading.job.job_id, _texts(jobs.cells(row))) for row in of_jobs),
            jobs.LEFT,
        )
        self.screen_stack[0].query_one("#no-jobs").display = not of_jobs

    def _table(self, name: str) -> LiveTable:
        return self.screen_stack[0].query_one(f"#{name}", LiveTable)

    def _filtered(self, rows: Iterable[Row]) -> list[Row]:
        wanted = self._wanted.casefold()
        return [
            (key, cells)
            for key, cells in rows
            if not wanted or any(wanted in cell.plain.casefold() for cell in cells)
        ]

    # -- what the keys and the mouse do -------------------------------------------------------

    def on_resize(self, _event: Resize) -> None:
        """Show as many columns and graphs as there is room for now."""
        self.call_after_refresh(self._show)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Zoom into the GPU of a row."""
        if event.data_table.id == "gpu-rows" and event.row_key.value is not None:
            self._zoom(int(event.row_key.value))

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by the column whose title was clicked."""
        title = str(event.column_key.value).removesuffix("▾")
        if event.data_table.id == "gpu-rows" and title in _SORT_OF_TITLE:
            self._sort = _SORT_OF_TITLE[title]
            self._show()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the rows that the filter leaves, with every key."""
        self._wanted = event.value
        self._show()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Go back to the rows, of which the filter goes on to leave some out."""
        self._focus_rows()

    def _zoom(self, index: int) -> None:
        self.push_screen(ZoomScreen(self._history, index))
        self.call_after_refresh(self._show)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key does something here: keys for rows need rows."""
        return action not in _ON_ROWS or len(self.screen_stack) == 1

    def action_step(self, by: int) -> None:
        """Zoom into the GPU before or after the one that is shown, in the order of the rows."""
        snapshot, screen = self._snapshot, self.screen
        if snapshot is None or not isinstance(screen, ZoomScreen):
            return
        found = diagnose(snapshot, self._looking.thresholds)
        order = [g.identity.index for g in gpus.ordered(snapshot.gpus, found, self._sort)]
        place = order.index(screen.index) if screen.index in order else 0
        self.switch_screen(ZoomScreen(self._history, order[(place + by) % len(order)]))
        self.call_after_refresh(self._show)

    def action_sort(self) -> None:
        """Sort by the next of the orders."""
        self._sort = GPU_ORDERS[(GPU_ORDERS.index(self._sort) + 1) % len(GPU_ORDERS)]
        self.notify(f"sorted by {self._sort}", timeout=2)
        self._show()

    def action_filter(self) -> None:
        """Open the filter."""
        field = self.query_one("#filter", Input)
        field.add_class("open")
        field.focus()

    def action_unfilter(self) -> None:
        """Show all rows again."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("open")
        self._focus_rows()

    def action_hold(self) -> None:
        """Hold the picture, or go on; the graphs lose nothing meanwhile."""
        self._held = not self._held
        self._show()

    def action_span(self, by: int) -> None:
        """Draw a longer or a shorter time."""
        self._span = min(len(SPANS) - 1, max(0, self._span + by))
        self._show()

    def action_shade(self) -> None:
        """Dark on light, or light on dark."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    def action_tab(self, name: str) -> None:
        """Show the GPUs, the processes or the jobs."""
        self.query_one(TabbedContent).active = name
        self._focus_rows()

    def action_keys(self) -> None:
        """Show what the keys do."""
        self.push_screen(KeysScreen())

    def action_interrupt(self) -> None:
        """End as a user who presses Ctrl-C expects."""
        self.exit(return_code=130)

    def _focus_rows(self) -> None:
        pane = self.query_one(TabbedContent).active_pane
        if pane is not None:
            pane.query_one(LiveTable).focus()

    # -- what goes wrong ----------------------------------------------------------------------

    def _handle_exception(self, error: Exception) -> None:
        """Keep what crashed for ``gpumon.cli`` to say; Textual would print pages of its own."""
        self.crash = self.crash or error
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()


_ON_ROWS = frozenset({"sort", "filter", "unfilter", "tab"})

_NO_JOBS = (
    "No job is known here. An agent knows the jobs of its workload manager: gpumon top HOST, or "
    "gpumon agent on this machine."
)


def _texts(cells: Iterable[str]) -> list[Text]:
    return [Text(cell) for cell in cells]
