"""Texts as a terminal can show them: where it is to have no colour, none of them depends on it."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.app import App


def inked(app: App[Any], text: Text) -> Text:
    """Return a text for an application's terminal.

    Textual makes greys of colours there (NO_COLOR), of which red is all but black.
    """
    return Text(text.plain) if app.no_color else text
