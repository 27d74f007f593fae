"""The source behind ``sim:SPEC``: a simulated node in the time of a clock."""

from __future__ import annotations

import typing

from gpumon.model import Snapshot, SourceInfo
from gpumon.model.origins import EVERY
from gpumon.sources.sim.node import ORIGINS_NUMBER, WARM_UP, SimNode
from gpumon.sources.sim.options import SimOptions
from gpumon.sources.sim.physics import STRIDE
from gpumon.sources.sim.workload import programs

if typing.TYPE_CHECKING:
    from gpumon.clock import Clock
    from gpumon.sources.spec import SourceSpec

_FINE_GPU_SECONDS = 2000
"""GPU-seconds of each wall-second that are simulated finely: a few per cent of a core (10-40 us
each)."""

_FINE_BACKLOG = 5000
"""GPU-seconds of one reading that are simulated finely: a quarter of a second at most."""

_FINE_END = 30.0
"""Seconds before now that are simulated finely even at the end of a backlog: all that peaks and
means look at (fewer if there are more than 166 GPUs)."""

_BACKLOG = 60_000
"""GPU-seconds that one reading catches up with: below a second."""


ORIGINS = {ORIGINS_NUMBER: {EVERY: "simulated"}}
"""The one table of a simulated node."""


class SimSource:
    """A node that was never built; see ``gpumon.sources.Source``.

    Source time is ``start`` plus ``speed`` times what the clock's monotonic time has passed since
    opening. What happens is decided on a fixed grid of source time, so it does not depend on how
    often it is read, with one exception: a pause of more than 5000 GPU-seconds (ten minutes of
    eight GPUs) is caught up in wide steps, and one of more than 60,000 (two hours) over several
    readings, whose time lags behind until then.
    """

    def __init__(self, spec: SourceSpec, clock: Clock) -> None:
        """Open the node of a specification, warm; UsageError if it makes no sense."""
        options = SimOptions.parse(spec)
        self._clock = clock
        self._count = options.count
        self._speed = options.speed
        self._stride = 1 if options.speed * options.count <= _FINE_GPU_SECONDS else STRIDE
        self._start = clock.time() if options.start is None else options.start
        self._node = SimNode(
            options, self._start, programs(options, start=self._start, tick=-WARM_UP)
        )
        self._seconds = 0.0
        self._opened = clock.monotonic()
        self._info = SourceInfo(
            simulated=True,
            source="sim",
            detail=str(spec).partition(":")[2],
            driver_version="580.105.08",
            nvml_version="13.580.105.08",
            cuda_version="13.0",
        )

    def read(self) -> Snapshot:
        """Go on to the present and return it."""
        now = self._clock.monotonic()
        self._advance(max(self._seconds, (now - self._opened) * self._speed))
        time = self._start + self._seconds
        return Snapshot(
            time=time, source=self._info, gpus=self._node.readings(time, now), origins=ORIGINS
        )

    def leave_alone(self, index: int, reason: str) -> None:
        """Nothing that is not there can stand still."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def _advance(self, seconds: float) -> None:
        backlog = (seconds - self._seconds) * self._count
        if backlog > _BACKLOG:
            seconds = self._seconds + _BACKLOG / self._count
        if backlog > _FINE_BACKLOG:
            fine = min(_FINE_END, _FINE_BACKLOG / self._count)
            self._node.advance(seconds - fine, STRIDE)
        self._node.advance(seconds, self._stride)
        self._seconds = seconds
