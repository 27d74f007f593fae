"""Reads JSON of others: Python's ``json`` takes ``NaN``, and makes infinity of ``1e999``.

Texts in it come from users, drivers and other machines; what could do something to a terminal is
replaced here, once for all who show them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from gpumon.errors import printable


def parse(text: str | bytes) -> Any:
    """Return the value of JSON text, with None for each number in it that is not finite.

    Raises ValueError if it is not JSON.
    """
    return _loaded(text, constant=lambda _: None, number=_finite_or_none)


def parse_strictly(text: str | bytes) -> Any:
    """Return the value of JSON text; ValueError for a number in it that is not finite, too."""
    return _loaded(text, constant=_refuse, number=_finite)


def _loaded(
    text: str | bytes, *, constant: Callable[[str], object], number: Callable[[str], object]
) -> Any:
    try:
        value = json.loads(text, parse_constant=constant, parse_float=number)
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        return _harmless(value) if _ESCAPES.search(raw) else value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


_ESCAPES = re.compile(rb"\\|\xc2[\x80-\x9f]|\x7f")
"""What a text needs to hold a character that is not printable: JSON escapes the others."""


def _harmless(value: Any) -> Any:
    """Return a value whose texts do nothing to a terminal (``gpumon.errors.printable``)."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_harmless(each) for each in value]
    if isinstance(value, dict):
        return {printable(key): _harmless(each) for key, each in value.items()}
    return value


def _finite_or_none(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text[:20]} is not a reading")
