"""Reads JSON of others: Python's ``json`` takes ``NaN``, and makes infinity of ``1e999``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any


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
        return json.loads(text, parse_constant=constant, parse_float=number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite_or_none(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text[:20]} is not a reading")
