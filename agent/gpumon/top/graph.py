"""A graph over time out of blocks: as many columns as have room, the newest at the right."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from gpumon.top.curves import QUANTITIES, History, columns

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def bars(values: Sequence[float | None], most: float, height: int) -> list[str]:
    """Return lines of blocks, the highest line first; each value over ``most`` is drawn as that.

    A known value is at least an eighth high, so that zero is not taken for unknown.
    """
    full = 8 * height
    eighths = [
        0 if value is None else max(1, min(full, round(full * value / most))) for value in values
    ]
    return [
        "".join(_EIGHTHS[max(0, min(8, each - 8 * line))] for each in eighths)
        for line in reversed(range(height))
    ]


class Graph(Widget):
    """The history of one quantity of a GPU or of the node."""

    DEFAULT_CSS = """
    Graph { border: round $panel; border-title-color: $text; height: 1fr; width: 1fr;
            color: $accent; }
    """

    def __init__(self, history: History, index: int, name: str) -> None:
        """Draw one of QUANTITIES of a GPU's index, or of NODE."""
        super().__init__()
        self._history = history
        self._index = index
        self._of = name
        self._per_column = 1

    def redraw(self, per_column: int) -> None:
        """Draw what the history has now, several looks in a column."""
        quantity = QUANTITIES[self._of]
        now = next(reversed(self._history.values(self._index, self._of)), None)
        most = self._history.scale(self._index, self._of)
        text = "-" if now is None else f"{quantity.scale * now:,.0f}"
        self.border_title = (
            f"{quantity.title} {text} of {quantity.scale * most:,.0f} {quantity.unit}"
        )
        self._per_column = per_column
        self.refresh()

    def render(self) -> Text:
        """Fill the room there is: a new size redraws it, without another look."""
        width, height = self.content_size
        values = self._history.values(self._index, self._of)
        most = self._history.scale(self._index, self._of)
        drawn = columns(values, self._history.looks, width, self._per_column)
        return Text("\n".join(bars(drawn, most, height)), no_wrap=True)
