"""What a GPU drew between two readings: by its own counter, and what to do if that breaks."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from gpumon.model import GpuReading
from gpumon.model.bounds import MOST_GPU_WATTS, MOST_KEPT

IMPLAUSIBLE = 1.3
"""Times the power limit: nothing draws more for a second, so such a step of the counter is not
energy (nvml-reference section 4, rule 3)."""

LEAST_SECONDS = 1.0
"""Counters move in steps of up to 100 ms: within less than this a step says nothing of power."""

BLIND_SECONDS = 60.0
"""How long a hole may be that is filled from power at its ends; and what a step of the counter may
stand for if the clock was set back, so that nothing shows how long it took."""


class Epoch(NamedTuple):
    """Since when a device's counter counts: a boot, and a time that the driver was loaded in it.

    Either is a name, and empty if it is not known. NVML counts from the driver's load (nvml.h:
    nvmlDeviceGetTotalEnergyConsumption): a counter of another epoch is another counter, even one
    that stands higher.
    """

    boot: str = ""
    driver: str = ""

    def is_over_in(self, later: Epoch) -> bool:
        """Return whether a later epoch is certainly another one."""
        return any(a and b and a != b for a, b in zip(self, later, strict=True))


UNKNOWN_EPOCH = Epoch()


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """What is remembered of a GPU's last reading: source time, counter (mJ), power (W), epoch."""

    time: float
    counter: int | None
    watts: float | None
    epoch: Epoch = UNKNOWN_EPOCH

    @staticmethod
    def of(gpu: GpuReading, epoch: Epoch = UNKNOWN_EPOCH) -> Mark:
        """Return the mark of a reading."""
        joules = gpu.energy_joules
        # Beyond that no device counts, and no file keeps it.
        known = joules is not None and 0 <= joules * 1000 <= MOST_KEPT
        counter = round(joules * 1000) if joules is not None and known else None
        return Mark(gpu.time, counter, gpu.power_watts, epoch)


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    """Millijoules between two marks; ``correction`` names what was wrong with the counter."""

    millijoules: int
    correction: str = ""


def drawn(before: Mark, now: Mark, seconds: float, limit_watts: float | None) -> Drawn:
    """Return what was drawn in ``seconds``; 0 or less if the clock was set back.

    The counter's difference holds over any gap. One that fell, or that is of another epoch, was
    reset; one that leapt beyond the limit is wrong: the hole is then filled from power if it is
    short. A GPU without a counter has only its power.
    """
    if now.counter is None or before.counter is None:
        return Drawn(_by_power(before, now, seconds))
    step = now.counter - before.counter
    if step < 0 or before.epoch.is_over_in(now.epoch):
        filled = _by_power(before, now, seconds)
        if not filled and _plausible(now.counter, seconds, limit_watts):
            filled = now.counter  # at least what it counted since its reset
        return Drawn(filled, "reset")
    if not _plausible(step, seconds, limit_watts):
        return Drawn(_by_power(before, now, seconds), "rejected")
    return Drawn(step)


def _by_power(before: Mark, now: Mark, seconds: float) -> int:
    """Return the millijoules of a short hole by the mean of the power at its ends."""
    if before.watts is None or now.watts is None or not 0 < seconds <= BLIND_SECONDS:
        return 0
    return round((before.watts + now.watts) / 2 * seconds * 1000)


def _plausible(millijoules: int, seconds: float, limit_watts: float | None) -> bool:
    longest = max(seconds, LEAST_SECONDS) if seconds > 0 else BLIND_SECONDS
    # Of a GPU whose limit is not known, that is what no GPU draws.
    most = IMPLAUSIBLE * limit_watts if limit_watts else MOST_GPU_WATTS
    return millijoules <= most * longest * 1000
