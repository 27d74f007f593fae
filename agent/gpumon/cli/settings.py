"""Options of the command line, made of the settings that a dataclass declares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from gpumon.cli.base import Seconds, Watts, option
from gpumon.config import Setting, Shape

Function = TypeVar("Function", bound=Callable[..., Any])


def declared(settings: Mapping[str, Setting], **extra: Mapping[str, Any]) -> Callable[..., Any]:
    """Declare an option for each setting; its parameter is the field's name.

    ``extra`` are further arguments of click's, by field.
    """

    def declare(command: Function) -> Function:
        for field, one in reversed(list(settings.items())):
            command = _option(field, one, extra.get(field, {}))(command)
        return command

    return declare


def given(settings: Mapping[str, Setting], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of settings by field; what nobody gave is left out."""
    return {field: values[field] for field in settings if values[field] is not None}


def _option(field: str, one: Setting, extra: Mapping[str, Any]) -> Callable[[Function], Function]:
    otherwise = f"  [default: {one.otherwise}]" if one.otherwise else ""
    return option(
        one.flag,
        field,
        help=f"{one.help}{otherwise}",
        default=one.default,
        callback=functools.partial(_parsed, one),
        **_TYPES[one.shape](one),
        **extra,
    )


def _parsed(one: Setting, _ctx: click.Context, _parameter: click.Parameter, value: Any) -> Any:
    """Return the value that the options' field is to have; UsageError for a wrong one."""
    return one.parse(value) if one.parse is not None and value is not None else value


def _metavar(one: Setting, word: str) -> str:
    return one.metavar or word


_TYPES: Mapping[Shape, Callable[[Setting], dict[str, Any]]] = {
    Shape.TEXT: lambda one: {"metavar": one.metavar},
    Shape.SWITCH: lambda _: {"is_flag": True},
    Shape.CHOICE: lambda one: {"type": click.Choice(one.choices)},
    Shape.COUNT: lambda one: {"type": click.IntRange(min=0), "metavar": _metavar(one, "N")},
    Shape.SECONDS: lambda one: {"type": _seconds(one), "metavar": _metavar(one, "SECONDS")},
    Shape.WATTS: lambda one: {"type": Watts(), "metavar": _metavar(one, "WATTS")},
    Shape.FILE: lambda one: {
        "type": click.Path(dir_okay=False, path_type=Path),
        "metavar": _metavar(one, "FILE"),
    },
    Shape.FOLDER: lambda one: {
        "type": click.Path(file_okay=False, path_type=Path),
        "metavar": _metavar(one, "FOLDER"),
    },
}
"""What click is to make of a shape."""


def _seconds(one: Setting) -> Seconds:
    least, most = one.bounds or (0.0, float("inf"))
    return Seconds(min=least, max=most)
