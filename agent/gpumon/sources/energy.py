"""Joules if the device does not count them itself, and how far off any of them may be."""

from __future__ import annotations

import re

MAX_GAP_SECONDS = 60.0
"""A hole in the readings longer than this is not bridged: nobody knows what happened in it."""

SENSOR_ERROR = 0.05
"""Gain error of the boards' power sensors, about five per cent of the reading and constant for each
board (Yang, Adamek, Armour: arXiv 2312.02741). The device's own counter has the same sensor."""

DUTY_ERROR = 0.10
"""The same if power is a 25 ms sample out of each 100 ms (A100): what was missed may differ."""


WINDOW_SECONDS = 1.0
"""Over how long before it a reading of power is a mean, at most (the same study: Hopper, Ada, and
Ampere but GA100)."""


_GA100 = re.compile(r"\bA(?:100|800|30)(?:X|\b)")


def has_duty_samples(name: str) -> bool:
    """Return whether a board's power is, or may be, such samples: GA100's or an unnamed board's."""
    return not name or _GA100.search(name) is not None


class PowerIntegral:
    """The integral of power over time by the trapezoid rule."""

    def __init__(self) -> None:
        """Start at zero joules, with no reading yet."""
        self.joules = 0.0
        self._time: float | None = None
        self._watts = 0.0

    def add(self, time: float, watts: float) -> float:
        """Take in a reading (unix seconds, watts) and return the joules so far.

        A reading that is not later than the one before replaces it; a gap of more than
        ``MAX_GAP_SECONDS`` adds nothing.
        """
        if self._time is not None and 0 < time - self._time <= MAX_GAP_SECONDS:
            self.joules += (time - self._time) * (self._watts + watts) / 2
        self._time, self._watts = time, watts
        return self.joules

    def interrupt(self) -> None:
        """Do not bridge the time until the next reading: the GPU was not as it is."""
        self._time = None


def error_ratio(*, method: str, sampled: bool = False) -> float:
    """Return how far off joules may be, as a share of them.

    ``method`` is that of EnergyInfo; ``sampled`` is true if power is the A100's 25 ms sample.
    """
    return DUTY_ERROR if method == "integral" and sampled else SENSOR_ERROR
