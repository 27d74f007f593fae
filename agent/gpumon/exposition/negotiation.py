"""What a client asks for and may get: the text format of a scrape, and whether it is compressed.

As RFC 9110 has it: a weight of 0 refuses, the most specific range counts, an unknown element is
passed over. Nothing among the dependencies of an agent does this.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterator
from typing import NamedTuple


class Format(enum.Enum):
    """The two formats; their value is the media type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


TEXT_1 = "text/plain; version=1.0.0; charset=utf-8"
"""The text format as Prometheus 3 asks for it: the same, but for names that gpumon has none of."""

_OFFERS = (
    (Format.TEXT, Format.TEXT.value, "text/plain", "0.0.4"),
    (Format.TEXT, TEXT_1, "text/plain", "1.0.0"),
    (
        Format.OPENMETRICS,
        Format.OPENMETRICS.value,
        "application/openmetrics-text",
        "1.0.0",
    ),
)
"""Formats, what their answers say, media types and versions; the first is for who does not care."""

LONGEST = 1024
"""Characters of a header that are read; the longest that is known, Prometheus 3's, has 260.

One whose quotes do not end takes time with the square of its length."""

_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PART = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*")+')
_WEIGHT = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


class Element(NamedTuple):
    """An element of such a header: its value, its parameters, and its weight, 0 to 1."""

    value: str
    parameters: dict[str, str]
    weight: float


def elements(header: str) -> Iterator[Element]:
    """Yield the elements of a header in its order; one with a malformed weight is passed over.

    One that is longer than LONGEST has none, as if it had not been sent.
    """
    if len(header) > LONGEST:
        return
    for text in _ELEMENT.findall(header):
        if text.strip()[:1] in ("", ";"):
            continue
        value, *rest = (part.strip() for part in _PART.findall(text))
        pairs = (part.partition("=") for part in rest)
        parameters = {n.strip().lower(): v.strip().strip('"') for n, _, v in pairs}
        weight = parameters.pop("q", "1")
        if _WEIGHT.fullmatch(weight):
            yield Element(value.lower(), parameters, float(weight))


@functools.lru_cache(maxsize=64)
def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether a client's Accept-Encoding asks for gzip rather than for no compression."""
    weights = {wanted.value: wanted.weight for wanted in elements(accept_encoding)}
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def negotiate(accept: str) -> Format:
    """Return the format that an Accept header asks for."""
    return _chosen(accept)[0]


def content_type(accept: str) -> str:
    """Return what the answer to an Accept header is: its media type, with the version asked for."""
    return _chosen(accept)[1]


@functools.lru_cache(maxsize=64)
def _chosen(accept: str) -> tuple[Format, str]:
    """Return the format with the greatest weight; of equal ones that which is named first.

    If a client accepts nothing of what there is, it gets the plain format: a scraper can then say
    what it got.
    """
    wanted = list(elements(accept))
    best, chosen = (0.0, 0), _OFFERS[0][:2]
    for format_, answer, media_type, version in _OFFERS:
        weight, place = _weight(wanted, media_type, version)
        if weight > 0 and (weight, -place) > best:
            best, chosen = (weight, -place), (format_, answer)
    return chosen


def _weight(wanted: list[Element], media_type: str, version: str) -> tuple[float, int]:
    """Return the weight of a media type's version, and at which place it is named.

    The most specific element that it fits counts.
    """
    ranges = {"*/*": 0, f"{media_type.partition('/')[0]}/*": 1, media_type: 2}
    fits = [
        (ranges[one.value] + ("version" in one.parameters), -place, one.weight)
        for place, one in enumerate(wanted, 1)
        if one.value in ranges and one.parameters.get("version", version) == version
    ]
    if not fits:
        return 0.0, 0
    _, place, weight = max(fits)
    return weight, -place
