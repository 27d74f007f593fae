"""When something is wrong: the numbers of ``thresholds.toml``, in one place for all who judge."""

from __future__ import annotations

import functools
import importlib.resources
import sys
from collections.abc import Mapping
from pathlib import Path

from gpumon.errors import UnavailableError, UsageError, hint
from gpumon.times import parse_duration

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST = 1e15
"""No threshold is as large; beyond it a number is a mistake."""

Value = float | int | str
"""A number, or a duration as text (``15m``)."""


@functools.cache
def shipped() -> Mapping[str, Value]:
    """Return the thresholds that ship, by ``section.name``."""
    text = importlib.resources.files("gpumon").joinpath("thresholds.toml").read_text("utf-8")
    return _flat(tomllib.loads(text))


def with_site(path: Path | None) -> Mapping[str, Value]:
    """Return the shipped thresholds with a site's own in their place.

    Raises UnavailableError where the file cannot be read, UsageError where it names a threshold
    that is not there or gives it another kind of value.
    """
    if path is None:
        return shipped()
    try:
        own = _flat(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise UnavailableError(f"cannot read {path} ({error.strerror})", "name another") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
        raise UsageError(f"{path}: {error}", "write it as gpumon/thresholds.toml is") from None
    for name, value in own.items():
        if name not in shipped():
            raise UsageError(
                f"{path}: unknown threshold {name}",
                f"gpumon rules thresholds lists them{hint(name, list(shipped()))}",
            )
        _check(path, name, value)
    return {**shipped(), **own}


def _check(path: Path, name: str, value: Value) -> None:
    """Raise UsageError where a value is not of its threshold's kind."""
    if isinstance(shipped()[name], str):
        right, wanted = _is_duration(value), 'a duration such as "15m"'
    else:
        right, wanted = _is_number(value), "a number from 0"
    if not right:
        raise UsageError(f"{path}: {name} = {value!r}", f"it is {wanted}")


def _is_duration(value: object) -> bool:
    try:
        return isinstance(value, str) and 0 < parse_duration(value) < MOST
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < MOST


def _flat(tables: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    found = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise TypeError(f"{section} stands outside of a section")
        found.update({f"{section}.{name}": value for name, value in table.items()})
    return found
