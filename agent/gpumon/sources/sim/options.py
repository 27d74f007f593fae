"""The options of ``sim:8xH100,workload=training,seed=7``: parsed once, checked all."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
import typing

from gpumon.errors import UsageError, hint
from gpumon.sources.sim.models import find_model

if typing.TYPE_CHECKING:
    from gpumon.sources.sim.models import GpuModel
    from gpumon.sources.spec import SourceSpec

MOST_GPUS = 1024
MOST_SPEED = 3600.0
COLDEST, HOTTEST = -20.0, 70.0
"""Inlet temperatures between which the thermal model makes sense, in degrees Celsius."""

MOST_GPU_SECONDS = 40_000
"""GPU-seconds that one process may be asked to simulate in a second of wall time: half a core's
worth at the 4 to 12 us that one takes in strides."""

OPTIONS = ("workload", "seed", "speed", "power_limit", "ambient", "start")

WORKLOADS = ("training", "inference", "idle", "stuck", "mixed")


@dataclasses.dataclass(frozen=True)
class SimOptions:
    """What to simulate.

    ``workload`` may be several joined by ``+``: of one GPU after another, again from the first.
    ``speed`` is source-seconds per wall-second, ``power_limit`` watts, ``ambient`` the inlet's
    degrees Celsius, ``start`` the source's unix time at opening, None for the clock's.
    """

    model: GpuModel
    count: int = 1
    workload: str = "training"
    seed: int = 0
    speed: float = 1.0
    power_limit: float = 0.0
    ambient: float = 0.0
    start: float | None = None

    @classmethod
    def parse(cls, spec: SourceSpec) -> SimOptions:
        """Parse a specification; UsageError says what was expected."""
        model, count = _subject(spec.subject)
        spec.check_options(OPTIONS)
        workload = spec.options.get("workload", "training")
        for kind in workload.split("+"):
            if kind not in WORKLOADS:
                raise UsageError(
                    f"sim: unknown workload {kind!r}",
                    f"known are {', '.join(WORKLOADS)}{hint(kind, WORKLOADS)}",
                )
        return cls(
            model=model,
            count=count,
            workload=workload,
            seed=_seed(spec),
            speed=_speed(spec, count),
            power_limit=_Range(model.limit_min, model.limit_max, "W").read(
                spec, "power_limit", model.limit_default
            ),
            ambient=_Range(COLDEST, HOTTEST, "degrees C").read(
                spec, "ambient", model.thermal.inlet
            ),
            start=_start(spec),
        )


def _subject(subject: str) -> tuple[GpuModel, int]:
    match = re.fullmatch(r"(?:(\d+)[xX])?([A-Za-z]\w*)", subject, re.ASCII)
    if match is None:
        raise UsageError(f"sim: cannot read {subject!r}", "write 8xH100, or H100 for one")
    count = int(match[1] or 1)
    if not 1 <= count <= MOST_GPUS:
        raise UsageError(f"sim: cannot simulate {count} GPUs", f"use 1 to {MOST_GPUS}")
    return find_model(match[2]), count


def _seed(spec: SourceSpec) -> int:
    text = spec.options.get("seed", "0")
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"sim: seed={text!r} is not a whole number", "for example seed=7")
    return int(text)


def _speed(spec: SourceSpec, count: int) -> float:
    most = min(MOST_SPEED, MOST_GPU_SECONDS // count)
    speed = spec.number("speed", 1.0)
    if speed > most:
        raise UsageError(
            f"sim: {count} GPUs at speed={speed:g} are too many", f"use speed={most:g} or less"
        )
    return speed


@dataclasses.dataclass(frozen=True)
class _Range:
    """The values that an option may have."""

    low: float
    high: float
    unit: str

    def read(self, spec: SourceSpec, name: str, default: float) -> float:
        """Return the option's value; UsageError if it is outside."""
        text = spec.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not self.low <= value <= self.high:
            raise UsageError(
                f"sim: {name}={text!r} will not do",
                f"use {self.low:g} to {self.high:g} {self.unit}",
            )
        return value


def _start(spec: SourceSpec) -> float | None:
    text = spec.options.get("start")
    if text is None:
        return None
    try:
        # Python 3.10 does not read the Z.
        time = dt.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        if time.tzinfo is None:
            time = time.replace(tzinfo=dt.timezone.utc)
        return time.timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"sim: start={text!r} is not a time", "for example start=2026-01-01T00:00:00Z"
        ) from None
