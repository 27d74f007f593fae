"""What the keys do."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS = (
    ("↑ ↓ PgUp PgDn", "move along the rows"),
    ("Enter, or click twice", "zoom into the GPU"),
    ("← →", "there: the GPU before, the next one"),
    ("Esc", "back; end of the filter"),
    ("1 2 3", "GPUs, processes, jobs"),
    ("s, or click a title", "sort by something else"),
    ("/", "show only the rows with a text in them"),
    ("[ ]", "graphs of a shorter, a longer time"),
    ("Space", "hold the picture, and go on"),
    ("d", "dark or light"),
    ("q, Ctrl-C", "quit"),
)


class KeysScreen(ModalScreen[None]):
    """The keys; any of them leads back."""

    DEFAULT_CSS = """
    KeysScreen { align: center middle; }
    KeysScreen Vertical { width: 74; height: auto; max-height: 100%; border: round $accent;
                          background: $surface; padding: 0 2; border-title-color: $text; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,question_mark,q,enter,space", "app.pop_screen", "Back")
    ]

    def compose(self) -> ComposeResult:
        """Make the list."""
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for key, what in KEYS:
            table.add_row(key, what)
        with Vertical() as box:
            box.border_title = "keys"
            yield Static(table)
