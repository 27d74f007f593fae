"""When something is wrong: the numbers of ``thresholds.toml``, in one object for all who judge.

A site puts its own into a file of the same form, of which it names what differs; the same file has
what it sets of its alerts (``gpumon.alerting``). Code that judges
takes a ``Thresholds``; no second place holds one of these numbers (``tests/thresholds``).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.resources
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from gpumon.alerting import SECTION, AlertSettings, parse_alerts
from gpumon.config import read_toml
from gpumon.errors import UnavailableError, UsageError, hint
from gpumon.times import parse_duration

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST = 1e15
"""No threshold is as large; beyond it a number is a mistake."""

_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")

Value = float | int | str
"""A number, or a duration as text (``15m``)."""


@dataclasses.dataclass(frozen=True, slots=True)
class OwnLevels:
    """A site's own levels (``[levels]``), which are target labels such as ``pod``.

    Series of nodes carry those in ``extra``; sums are made by those in ``aggregate``.
    """

    extra: tuple[str, ...] = ()
    aggregate: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Thresholds:
    """All thresholds that are in force, by ``section.name``.

    They are read once, when a command or the agent starts; a lookup reads no file.
    """

    values: Mapping[str, Value]
    levels: OwnLevels = OwnLevels()
    alerts: AlertSettings = dataclasses.field(default_factory=AlertSettings)
    """What the site's file says of its alerts; it changes no judgement, and no digest."""
    digest: str = dataclasses.field(init=False, compare=False)
    """Sixteen hexadecimal digits: the same for what judges the same, however it is written.

    ``15m`` and ``900s`` are one value, and so are 5 and 5.0.
    """

    def __post_init__(self) -> None:
        """Work the digest out, which each scrape of an agent reports."""
        text = "".join(
            f"{name} {self.seconds(name) if isinstance(value, str) else float(value)!r}\n"
            for name, value in sorted(self.values.items())
        )
        object.__setattr__(self, "digest", hashlib.sha256(text.encode()).hexdigest()[:16])

    def __reduce__(
        self,
    ) -> tuple[type[Thresholds], tuple[dict[str, Value], OwnLevels, AlertSettings]]:
        """Go to another process as a plain dict: a read-only view cannot be pickled."""
        return Thresholds, (dict(self.values), self.levels, self.alerts)

    def number(self, name: str) -> float:
        """Return a threshold that is a number."""
        return float(self.values[name])

    def seconds(self, name: str) -> float:
        """Return a threshold that is a duration, in seconds."""
        return parse_duration(str(self.values[name]))

    def durations(self) -> dict[str, float]:
        """Return those that are durations, in seconds."""
        return {name: self.seconds(name) for name, v in self.values.items() if isinstance(v, str)}


@functools.cache
def shipped() -> Thresholds:
    """Return the thresholds that ship."""
    text = importlib.resources.files("gpumon").joinpath("thresholds.toml").read_text("utf-8")
    return Thresholds(MappingProxyType(_flat(tomllib.loads(text))))


def load_thresholds(path: Path) -> Thresholds:
    """Return the shipped thresholds with those of a site's file in their place.

    Raises UnavailableError if the file cannot be read, and UsageError if it is not there, names a
    threshold that does not exist or gives it another kind of value.
    """
    try:
        tables = dict(read_toml(path))
        levels = tables.pop("levels", {})
        alerts = tables.pop(SECTION, None)
        own = _flat(tables)
    except FileNotFoundError:
        raise UsageError(f"no file of thresholds {path}", "check its name") from None
    except OSError as error:
        raise UnavailableError(
            f"cannot read the thresholds in {path} ({error.strerror})", "name another file"
        ) from None
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{path}: {error}", "write sections and names as gpumon rules thresholds lists them"
        ) from None
    known = shipped().values
    for name, value in own.items():
        if name not in known:
            raise UsageError(
                f"{path}: unknown threshold {name}",
                f"gpumon rules thresholds lists them{hint(name, list(known))}",
            )
        wanted = wrong(name, value)
        if wanted:
            raise UsageError(f"{path}: {name} = {value!r}", f"it is {wanted}")
    settings = AlertSettings() if alerts is None else parse_alerts(alerts, str(path))
    return dataclasses.replace(with_own(own, _levels(levels, path)), alerts=settings)


def with_own(own: Mapping[str, Value], levels: OwnLevels = OwnLevels()) -> Thresholds:
    """Return the shipped thresholds with some in their place, which are known to be right."""
    return Thresholds(MappingProxyType({**shipped().values, **own}), levels)


def _levels(table: object, path: Path) -> OwnLevels:
    """Return a site's own levels; UsageError, which says what is wrong with them."""
    where = f"{path}: [levels]"
    known = [field.name for field in dataclasses.fields(OwnLevels)]
    if not isinstance(table, dict):
        raise UsageError(f"{where} is not a section", 'write [levels] and extra = ["pod"] below it')
    found: dict[str, tuple[str, ...]] = {}
    for key, names in table.items():
        if key not in known:
            raise UsageError(f"{where}: unknown name {key}", f"use {' or '.join(known)}")
        if not isinstance(names, list) or not all(map(_is_label, names)):
            raise UsageError(f"{where}: {key} = {names!r}", 'write labels, such as ["pod"]')
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise UsageError(f"{where}: {key} has {twice[0]} twice", "name it once")
        found[key] = tuple(names)
    levels = OwnLevels(**found)
    for name in levels.aggregate:
        if name not in levels.extra:
            raise UsageError(
                f"{where}: aggregate has {name}, which extra does not have",
                f"put it into extra too{hint(name, levels.extra)}",
            )
    return levels


def _is_label(name: object) -> bool:
    # Prometheus keeps labels with two underscores in front for itself.
    return isinstance(name, str) and bool(_LABEL.fullmatch(name)) and not name.startswith("__")


def wrong(name: str, value: object) -> str:
    """Return what a known threshold's value has to be if this one is not it; else nothing."""
    usual = shipped().values[name]
    if isinstance(usual, str):
        return "" if _is_duration(value) else f'a duration such as "{usual}"'
    # 5 for 5 % would make every GPU idle, and bill it.
    most = 1.0 if name.endswith("_ratio") else MOST
    if _is_number(value, most) and (value or name not in _ABOVE_0):
        return ""
    span = f"above 0, up to {most:g}" if name in _ABOVE_0 else f"from 0 to {most:g}"
    return f"{_what(name)} {span}, such as {usual:g}"


_UNITS = {
    "_ratio": "a ratio",
    "_celsius": "a number of degrees Celsius",
    "_per_second": "a number per second",
    "_per_day": "a number per day",
    "_seconds": "a number of seconds",
}


def _what(name: str) -> str:
    """Return what a threshold that is a number counts."""
    return next((words for end, words in _UNITS.items() if name.endswith(end)), "a number")


_ABOVE_0 = frozenset({"activity.idle_ratio", "straggler.floor_ratio", "heat.margin_near_factor"})
"""What makes no sense as 0: no GPU would ever be idle, every GPU a straggler, none near."""


def _is_duration(value: object) -> bool:
    try:
        return isinstance(value, str) and 0 < parse_duration(value) < MOST
    except ValueError:
        return False


def _is_number(value: object, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= most


def _flat(tables: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    found = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise TypeError(f"{section} stands outside of a section")
        found.update({f"{section}.{name}": value for name, value in table.items()})
    return found
