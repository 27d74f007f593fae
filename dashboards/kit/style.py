"""Colours and thresholds.

The colours are Okabe and Ito's, which people with any of the common colour deficiencies tell
apart: blue is well, orange is a warning, vermilion is bad, grey is neither.
"""

from __future__ import annotations

import dataclasses

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

WELL = "#0072B2"
FINE = "#56B4E9"
FREE = "#009E73"
WARNING = "#E69F00"
BAD = "#D55E00"
NEUTRAL = "#7F7F7F"


NARROW = 48
"""Pixels of a table's column at least: Grafana's own 150 push the last ones out of the panel."""


@dataclasses.dataclass(frozen=True)
class State:
    """What a number stands for: words and a colour."""

    text: str
    color: str


def thresholds(base: str, *steps: tuple[float, str]) -> builders.ThresholdsConfig:
    """Return thresholds: a colour from minus infinity on, and others from a value on."""
    listed = [Threshold(value=None, color=base), *(Threshold(v, c) for v, c in steps)]
    return builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(listed)


def some(color: str) -> builders.ThresholdsConfig:
    """Colour a cell that is more than none."""
    return thresholds(NEUTRAL, (1, color))


def worsening(warning: float, bad: float) -> builders.ThresholdsConfig:
    """Colour what is worse the more it is."""
    return thresholds(WELL, (warning, WARNING), (bad, BAD))


BY_USE = {"active": WELL, "held, idle": WARNING, "free": FINE}
"""GPUs by what they do."""

ANY_BAD = thresholds(WELL, (1, BAD))
ANY_WARNING = thresholds(WELL, (1, WARNING))


def by_thresholds() -> builders.FieldColor:
    """Colour a value by its thresholds."""
    return builders.FieldColor().mode(FieldColorModeId.THRESHOLDS)


def by_state() -> builders.FieldColor:
    """Colour a state by its mapping; by thresholds, Grafana would merge what no threshold parts."""
    return builders.FieldColor().mode(FieldColorModeId.FIXED).fixed_color(NEUTRAL)


def by_series() -> builders.FieldColor:
    """Colour lines by their place in the legend."""
    return builders.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC)


def mappings(states: dict[int, State]) -> list[ValueMapping]:
    """Return the mapping of numbers to words and colours."""
    results = {
        str(number): ValueMappingResult(text=state.text, color=state.color, index=place)
        for place, (number, state) in enumerate(states.items())
    }
    return [ValueMap(options=results)]


def fixed(color: str) -> DynamicConfigValue:
    """Give a series this colour."""
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})


def bounded(bounds: builders.ThresholdsConfig) -> DynamicConfigValue:
    """Give a number thresholds of its own."""
    return DynamicConfigValue("thresholds", bounds.build())


def worded(states: dict[int, State]) -> list[DynamicConfigValue]:
    """Show codes in a table as the words that they stand for, in their colours."""
    return [
        DynamicConfigValue("mappings", mappings(states)),
        DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
    ]


def cell(
    unit: str,
    bounds: builders.ThresholdsConfig | None,
    states: dict[int, State] | None,
) -> list[DynamicConfigValue]:
    """Return how a table's numbers look: their unit, and coloured where they mean something."""
    looks = [DynamicConfigValue("unit", unit)]
    if states is not None:
        looks.append(DynamicConfigValue("mappings", mappings(states)))
    if bounds is not None:
        looks.append(bounded(bounds))
    if states is not None or bounds is not None:
        looks.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        looks.append(DynamicConfigValue("color", {"mode": "thresholds"}))
    return looks


ALONE = [
    DynamicConfigValue("custom.stacking", {"mode": "none", "group": "A"}),
    DynamicConfigValue("custom.fillOpacity", 0),
]
"""How a line is drawn that is not one of a stack."""

DASHED = [
    DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
    DynamicConfigValue("color", {"mode": "fixed", "fixedColor": NEUTRAL}),
]
"""How a limit is drawn: grey and dashed, so that it is not taken for a reading."""

THICK = [
    DynamicConfigValue("custom.lineWidth", 3),
    DynamicConfigValue("color", {"mode": "fixed", "fixedColor": NEUTRAL}),
]
"""How that is drawn which the other lines are compared with."""
