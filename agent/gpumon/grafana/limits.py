"""A site's thresholds in the dashboards that ship: their numbers, queries and prose.

The files that ship hold the thresholds that ship. Beside them, ``dashboards/thresholds.json`` says
at which places of each dashboard (RFC 6901 pointers) a threshold stands, and as what: a template
in which it has its name, as in ``Below <<activity.idle_ratio|percent>> a GPU is idle``.

A placeholder is a product of numbers and names, and perhaps what is added to it, as in
``<<2*heat.margin_low_celsius>>`` and ``<<-1*monitor.many_down_ratio+1>>``, and how it is written. A
template that is one such placeholder alone is a number. ``python -m dashboards`` writes the
templates and the files from one source.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from gpumon.thresholds import Thresholds

FILE = "dashboards/thresholds.json"
"""The file of the templates: by dashboard, and by the place in it."""

_NUMBER = r"-?\d+(?:\.\d+)?"
_FACTOR = rf"(?:[a-z_]+\.[a-z_0-9]+|{_NUMBER})"
_PLACEHOLDER = re.compile(
    rf"<<(?P<product>{_FACTOR}(?:\*{_FACTOR})*)(?P<plus>[+-]\d+(?:\.\d+)?)?(?:\|(?P<how>[a-z]+))?>>"
)


def with_thresholds(
    document: Mapping[str, Any], templates: Mapping[str, str], thresholds: Thresholds
) -> dict[str, Any]:
    """Return a dashboard with a site's thresholds at the places of its templates."""
    made = copy.deepcopy(dict(document))
    for pointer, template in templates.items():
        *path, last = map(_key, pointer.split("/")[1:])
        place: Any = made
        for key in path:
            place = place[int(key) if isinstance(place, list) else key]
        place[int(last) if isinstance(place, list) else last] = filled(template, thresholds)
    return made


def _key(text: str) -> str:
    return text.replace("~1", "/").replace("~0", "~")


def filled(template: str, thresholds: Thresholds) -> str | float:
    """Return a template with the thresholds in place: a number, or text."""
    alone = _PLACEHOLDER.fullmatch(template)
    if alone is not None and alone["how"] is None:
        return _value(alone, thresholds)
    return _PLACEHOLDER.sub(lambda found: _words(found, thresholds), template)


def _words(found: re.Match[str], thresholds: Thresholds) -> str:
    return WORDS[found["how"] or "plain"](_value(found, thresholds))


def _value(found: re.Match[str], thresholds: Thresholds) -> float:
    """Return what a placeholder stands for; of durations the seconds."""
    factors = [_factor(factor, thresholds) for factor in found["product"].split("*")]
    return math.prod(factors) + (_number(found["plus"]) if found["plus"] else 0)


def _factor(text: str, thresholds: Thresholds) -> float:
    if re.fullmatch(_NUMBER, text):
        return _number(text)
    value = thresholds.values[text]
    return thresholds.seconds(text) if isinstance(value, str) else value


def _number(text: str) -> float:
    return float(text) if "." in text else int(text)


def plain(value: float) -> str:
    """Return a number as PromQL takes it, and prose below a thousand."""
    return f"{value:.10g}"


def grouped(value: float) -> str:
    """Return a number for people: ``1,000``."""
    return f"{value:,.10g}"


def percent(value: float) -> str:
    """Return a ratio in words: ``5 %``."""
    return f"{100 * value:.10g} %"


def span(seconds: float) -> str:
    """Return a duration as it stands after "within": ``a day``, ``10 minutes``."""
    one = last(seconds)
    if one[0].isdigit():
        return one
    return f"an {one}" if one == "hour" else f"a {one}"


def last(seconds: float) -> str:
    """Return a duration as it stands after "the last": ``day``, ``10 minutes``."""
    units = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
    unit, size = next((u for u in units if seconds >= u[1] and seconds % u[1] == 0), units[-1])
    count = seconds / size
    return unit if count == 1 else f"{count:.10g} {unit}s"


WORDS: Mapping[str, Callable[[float], str]] = {
    "plain": plain,
    "grouped": grouped,
    "percent": percent,
    "span": span,
    "last": last,
}
"""How a number is written in a text, by the word behind the bar."""
