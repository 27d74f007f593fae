"""A table whose rows change while it is shown: the cursor stays on its row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text
from textual.widgets import DataTable

from gpumon.top.ink import inked

Row = tuple[str, Sequence[Text]]
"""What a row is known by, and its cells."""


class LiveTable(DataTable[Text]):
    """A table of texts that is filled again and again."""

    def __init__(self, name: str) -> None:
        """Make an empty table, known by a name."""
        super().__init__(cursor_type="row", zebra_stripes=False, id=name)
        self._titles: tuple[str, ...] = ()
        self._rows: dict[str, list[Text]] = {}
        self._widths: list[int] = []

    def fill(self, titles: Sequence[str], rows: Iterable[Row], left: frozenset[str]) -> None:
        """Show rows below titles; the columns not in ``left`` are of numbers, at the right."""
        shown = {key: self._aligned(titles, cells, left) for key, cells in rows}
        if self._fits(tuple(titles), shown):
            self._change(shown)
        else:
            self._refill(tuple(titles), shown, left)
        self._titles, self._rows = tuple(titles), shown

    def _aligned(
        self, titles: Sequence[str], cells: Sequence[Text], left: frozenset[str]
    ) -> list[Text]:
        shown = [inked(self.app, cell) for cell in cells]
        for title, cell in zip(titles, shown, strict=True):
            cell.justify = "left" if title in left else "right"
        return shown

    def _fits(self, titles: tuple[str, ...], shown: dict[str, list[Text]]) -> bool:
        """Return whether the same rows in the same order fit into the present columns."""
        return (titles, list(shown)) == (self._titles, list(self._rows)) and all(
            len(cell) <= width
            for cells in shown.values()
            for cell, width in zip(cells, self._widths, strict=True)
        )

    def _change(self, shown: dict[str, list[Text]]) -> None:
        """Write the cells that have changed; to let the table measure each costs it a second."""
        for key, cells in shown.items():
            for title, cell, before in zip(self._titles, cells, self._rows[key], strict=True):
                if (cell.plain, cell.style) != (before.plain, before.style):
                    self.update_cell(key, title, cell)

    def _refill(
        self, titles: tuple[str, ...], shown: dict[str, list[Text]], left: frozenset[str]
    ) -> None:
        under_cursor = self.current
        top = self.scroll_offset.y
        self._widths = [
            max(len(title), *(len(cells[n]) for cells in shown.values()), 0)
            for n, title in enumerate(titles)
        ]
        self.clear(columns=True)
        for title, width in zip(titles, self._widths, strict=True):
            label = Text(title, style="dim", justify="left" if title in left else "right")
            self.add_column(label, key=title, width=width)
        for key, cells in shown.items():
            self.add_row(*cells, key=key)
        if under_cursor in shown:
            row = list(shown).index(under_cursor)
            self.move_cursor(row=row, animate=False, scroll=False)
            self.scroll_to(y=top, animate=False)

    @property
    def current(self) -> str | None:
        """The row under the cursor, by what it is known by."""
        keys = list(self._rows)
        return keys[self.cursor_row] if self.cursor_row < len(keys) else None
