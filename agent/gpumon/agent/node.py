"""What is known of this node now: fed by the reader, asked by scrapes, the page and the API."""

from __future__ import annotations

import collections
import dataclasses
import logging

from gpumon.agent.expected import ExpectedGpus
from gpumon.agent.facts import AgentReading, BuildInfo
from gpumon.clock import SYSTEM, Clock
from gpumon.derive import PowerExtremes, with_ages
from gpumon.model import GpuIdentity, GpuReading, GpuState, Snapshot, SourceInfo
from gpumon.serialize import format_time

log = logging.getLogger(__name__)

FRESH_SECONDS = 10.0
"""A node whose newest reading is older than this is not ready."""

HISTORY_SECONDS = 300
"""How far back the page's sparklines go, one point a second at most."""


class Node:
    """Implements the reader's Listener; every other method only looks."""

    def __init__(
        self,
        name: str,
        expected: ExpectedGpus,
        *,
        clock: Clock = SYSTEM,
        source: SourceInfo | None = None,
    ) -> None:
        """Make a node of a name (shown, not put on series) that has been told nothing yet."""
        self._name = name
        self._expected = expected
        self._clock = clock
        self._source = source
        self._extremes = PowerExtremes()
        self._snapshot: Snapshot | None = None
        self._restarts = 0
        self._took = 0.0
        self._history: dict[str, collections.deque[tuple[float, float]]] = {}
        self._errors: tuple[str, ...] = ()

    def snapshot(self, snapshot: Snapshot) -> None:
        """Take in what the reader read."""
        started = self._clock.monotonic()
        snapshot = _remember_gone(snapshot, self._snapshot)
        snapshot = dataclasses.replace(self._extremes.update(snapshot), node=self._name)
        self._log_changes(snapshot.errors)
        self._expected.saw(str(snapshot.source.source), len(snapshot.gpus), self._clock.time())
        self._snapshot = snapshot
        self._remember(snapshot)
        self._took = self._clock.monotonic() - started

    def silent(self, seconds: float) -> None:
        """Report every GPU hung: the reader has not come back from the driver."""
        since = format_time(self._clock.time() - seconds)
        reason = f"the driver has answered nothing since {since}"
        last = self._snapshot
        source = last.source if last else self._source or SourceInfo("nvml")
        gpus = tuple(
            _empty(gpu.identity, GpuState.HUNG, reason, gpu) for gpu in (last.gpus if last else ())
        )
        self._log_changes((reason,))
        self._snapshot = Snapshot(
            time=self._clock.time(),
            source=source,
            node=self._name,
            up=False,
            gpus=gpus,
            errors=(reason,),
        )

    def restarted(self) -> None:
        """Count a reader that was replaced."""
        self._restarts += 1

    def now(self) -> Snapshot | None:
        """Return what is known, with the age it has at this moment; None before the first word."""
        if self._snapshot is None:
            return None
        return with_ages(self._snapshot, self._clock.monotonic())

    def ready(self) -> str:
        """Return why the node is not ready to be relied upon, or nothing where it is."""
        snapshot = self.now()
        if snapshot is None:
            return "no reading yet"
        if not snapshot.up:
            return "; ".join(snapshot.errors) or "the source is down"
        ages = [gpu.sample_age_seconds for gpu in snapshot.gpus if gpu.state is GpuState.OK]
        if not any(age is not None and age <= FRESH_SECONDS for age in ages):
            return f"no GPU has been read in the last {FRESH_SECONDS:.0f} s"
        return ""

    def agent_reading(self) -> AgentReading:
        """Return the agent's own metrics."""
        snapshot = self._snapshot
        up = snapshot is not None and snapshot.up
        source = snapshot.source if snapshot else self._source
        return AgentReading(
            build=BuildInfo(),
            source_info=source,
            source_up=up,
            gpus=len(snapshot.gpus) if snapshot else 0,
            gpus_expected=self._expected.count(source.source if source else "", self._clock.time()),
            collector_success={"reader": int(up)},
            collector_duration_seconds={"reader": self._took},
            reader_restarts=self._restarts,
        )

    def history(self) -> dict[str, list[tuple[float, float]]]:
        """Return (unix seconds, watts) of the last minutes by GPU uuid, oldest first."""
        return {uuid: list(points) for uuid, points in self._history.items()}

    def _remember(self, snapshot: Snapshot) -> None:
        present = {gpu.identity.uuid for gpu in snapshot.gpus}
        self._history = {uuid: h for uuid, h in self._history.items() if uuid in present}
        for gpu in snapshot.gpus:
            if gpu.power_watts is not None:
                points = self._history.setdefault(
                    gpu.identity.uuid, collections.deque(maxlen=HISTORY_SECONDS)
                )
                if not points or gpu.time > points[-1][0]:
                    points.append((gpu.time, gpu.power_watts))

    def _log_changes(self, errors: tuple[str, ...]) -> None:
        # The reader's own log has each GPU's story; here only what the source as a whole says.
        if errors != self._errors:
            for error in errors:
                if error not in self._errors:
                    log.warning("%s", error)
            self._errors = errors


def _empty(identity: GpuIdentity, state: GpuState, reason: str, last: GpuReading) -> GpuReading:
    return GpuReading(
        identity=identity, state=state, reason=reason, time=last.time, read_at=last.read_at
    )


def _remember_gone(snapshot: Snapshot, last: Snapshot | None) -> Snapshot:
    """Keep who the GPUs were while the source as a whole is down: identities, no readings."""
    if snapshot.up or last is None or snapshot.gpus:
        return snapshot
    reason = "; ".join(snapshot.errors)
    gpus = tuple(_empty(gpu.identity, GpuState.ERROR, reason, gpu) for gpu in last.gpus)
    return dataclasses.replace(snapshot, gpus=gpus)
