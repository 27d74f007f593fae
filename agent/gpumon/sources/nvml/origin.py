"""Where the driver keeps a value: said in NVML's own terms, without importing its binding.

``table`` lists origins best first; each GPU is asked once which of them it supports, and the first
is kept (``plan``). Ids, scopes and units are facts of nvml.h, API 13. Conversions divide rather
than multiply by a fraction, so that what the driver says in whole milliwatts comes out as the
nearest float of the same decimal number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

Convert = Callable[[Any], Any]

ALL_LINKS = 0xFFFFFFFF
"""The scope that makes NVLink fields answer for the sum over the GPU's links (nvml.h: UINT_MAX)."""

SCOPE_MODULE = 1
"""The power scope that covers a whole Grace module: its CPU and its GPUs."""


def same(value: Any) -> Any:
    """Already in the base unit."""
    return value


def milli(value: int) -> float:
    """Milliwatts to watts, millijoules to joules."""
    return value / 1000


def milli_or_none(value: int) -> float | None:
    """Milliwatts to watts; 0 means that there is no sensor."""
    return value / 1000 if value else None


def nano(value: int) -> float:
    """Nanoseconds to seconds."""
    return value / 1_000_000_000


def percent(value: float) -> float:
    """Per cent to a ratio."""
    return value / 100


def mega(value: int) -> int:
    """Megahertz to hertz."""
    return value * 1_000_000


def mebi(value: float) -> float:
    """Mebibytes to bytes."""
    return value * 1024 * 1024


def kibi(value: int) -> int:
    """Kibibytes to bytes."""
    return value * 1024


def flag(value: int) -> bool | int:
    """0 or 1 to a truth; anything else stays as it is, and is refused as a truth."""
    return bool(value) if value in (0, 1) else value


@dataclasses.dataclass(frozen=True)
class Field:
    """A field value, read in the one batch of nvmlDeviceGetFieldValues."""

    id: int
    convert: Convert = same
    scope: int = 0


@dataclasses.dataclass(frozen=True)
class Links:
    """A field value that has to be asked of each NVLink and folded into one number.

    ``partial``: links that do not answer are left out of it; else there is no number without them.
    """

    id: int
    fold: Callable[[Sequence[int]], Any] = sum
    convert: Convert = same
    partial: bool = False


@dataclasses.dataclass(frozen=True)
class Summed:
    """A counter that nvml.h promises for each NVLink, and not for all of them: the sum is ours.

    Drivers answer the scope of all links too, some with 0 while the links have counted (seen with
    fields 161 to 163), so theirs is used only if the links have counted nothing, or do not answer;
    and then it is believed only if it is not 0.
    """

    id: int


@dataclasses.dataclass(frozen=True)
class Compared:
    """A driver's own counter of all NVLinks beside the sum over them, of one and the same batch."""

    id: int
    convert: Convert = same


@dataclasses.dataclass(frozen=True)
class PerLink:
    """A field value of each NVLink on its own; the link's number is the metric's last label."""

    id: int
    convert: Convert = same


@dataclasses.dataclass(frozen=True)
class Call:
    """A getter of its own; several metrics may share one call by naming different attributes."""

    function: str
    args: tuple[Any, ...] = ()
    convert: Convert = same
    attribute: str | None = None


@dataclasses.dataclass(frozen=True)
class Gpm:
    """A metric of GPU performance monitoring (Hopper and later): a mean between two ticks."""

    id: int
    convert: Convert = percent


@dataclasses.dataclass(frozen=True)
class Headroom:
    """Degrees from the temperature to the lowest threshold at which clocks fall.

    For GPUs before Ada, which give no margin but absolute thresholds; later ones give it, and
    drop the thresholds. At 1 the clocks are halved, at 3 they begin to fall (nvml.h:
    nvmlTemperatureThresholds_t).
    """

    thresholds: tuple[int, ...] = (1, 3)


Ask = Callable[..., Any]
"""Asks a getter of nvml.h, with its arguments; None if the GPU refuses this one."""


@dataclasses.dataclass(frozen=True)
class Several:
    """One value of several calls: ``gather`` makes it of them, given the number of NVLinks.

    If it returns None, there is no value.
    """

    functions: tuple[str, ...]
    gather: Callable[[Ask, int], Any]


Origin = Field | Links | Summed | Compared | PerLink | Call | Gpm | Headroom | Several


def words(origin: Origin) -> str:
    """Return an origin as ``gpumon info`` and the reference name it."""
    if isinstance(origin, Field):
        scope = {0: "", ALL_LINKS: " of all links"}.get(origin.scope, f", scope {origin.scope}")
        return f"field {origin.id}{scope}"
    if isinstance(origin, Links | Summed | Compared | PerLink):
        return f"field {origin.id} by link"
    if isinstance(origin, Gpm):
        return f"GPM {origin.id}"
    if isinstance(origin, Headroom):
        return "thresholds less temperature"
    if isinstance(origin, Several):
        return ", ".join(name.removeprefix("nvmlDevice") for name in origin.functions)
    return origin.function.removeprefix("nvmlDevice")
