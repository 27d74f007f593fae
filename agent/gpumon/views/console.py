"""Where views are printed: on a terminal as wide as it is, elsewhere whole and without color."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.text import Text

ANY_WIDTH = 1000
"""Off a terminal nothing is cut off or wrapped."""

SIMULATED = Text("SIMULATED: no hardware was measured", style="bold magenta")
"""What every view of simulated data begins with."""


def make_console() -> Console:
    """Return a console for stdout: off a terminal without color and without truncation."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=ANY_WIDTH)


def put(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print a view at once; off a terminal without trailing blanks."""
    view = Group(*parts)
    if console.is_terminal:
        console.print(view)
    else:
        console.file.write(text_of(console, view))
        console.file.flush()


def text_of(console: Console, view: RenderableType) -> str:
    """Return a view as the text that a console would print, without trailing blanks."""
    with console.capture() as capture:
        console.print(view)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
