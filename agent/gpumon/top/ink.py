"""Texts as a terminal can show them: without color, none of them depends on it."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.app import App


def inked(app: App[Any], text: Text) -> Text:
    """Return a text for an application's terminal.

    Textual makes greys of colors there (NO_COLOR), of which red is all but black.
    """
    return Text(text.plain) if app.no_color else text
