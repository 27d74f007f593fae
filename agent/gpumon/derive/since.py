"""How long a GPU's conditions have lasted: a state, a demand, a throttle reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from gpumon.model import GpuReading, GpuState, Snapshot

GRACE_SECONDS = 10.0
"""What is away for less has lasted: a limit that is reached comes and goes from tick to tick."""

_SETTINGS = ("applications_clocks",)
"""What somebody chose holds for months and ails nobody."""


@dataclasses.dataclass(slots=True)
class _Span:
    """A condition: when it began and when it was last seen (unix seconds)."""

    began: float
    seen: float


class Since:
    """Remembers when each GPU's conditions began, as far back as it has looked."""

    def __init__(self) -> None:
        """Start without a past."""
        self._spans: dict[str, dict[str, _Span]] = {}

    def of(self, gpu: GpuReading, now: float) -> dict[str, Any]:
        """Return the field ``since`` of a GPU's reading at a time (unix seconds)."""
        uuid = gpu.identity.uuid
        before, conditions = self._spans.get(uuid), tuple(_conditions(gpu))
        if not conditions and not before:
            return {}
        # A recording tells how long it had lasted when it began.
        earlier = {name: (gpu.since or {}).get(name, now) for name in conditions}
        spans = _lasting(before or {}, earlier, now)
        self._spans[uuid] = spans
        return {"since": {name: spans[name].began for name in conditions} or None}

    def forget(self, snapshot: Snapshot) -> None:
        """Forget the GPUs that are no longer there."""
        if self._spans:
            there = {gpu.identity.uuid for gpu in snapshot.gpus}
            self._spans = {uuid: spans for uuid, spans in self._spans.items() if uuid in there}


def _conditions(gpu: GpuReading) -> Iterator[str]:
    """Yield what holds of a GPU now and should not forever, in the words of its fields."""
    if gpu.state is not GpuState.OK:
        yield gpu.state.value
    if gpu.recovery_action not in (None, "none"):
        yield str(gpu.recovery_action)
    if gpu.throttle_reasons:
        yield from (reason for reason in gpu.throttle_reasons if reason not in _SETTINGS)


def _lasting(
    before: Mapping[str, _Span], conditions: Mapping[str, float], now: float
) -> dict[str, _Span]:
    """Return the spans that last at a time: current ones, and those gone for a moment only.

    ``conditions`` are those that hold, with the moment at which each began if it is new.
    """
    # A clock that was set back, or a recording that began again, has no past.
    spans = {n: s for n, s in before.items() if 0 <= now - s.seen <= GRACE_SECONDS}
    for name, began in conditions.items():
        span = spans.get(name)
        spans[name] = _Span(span.began if span else began, now)
    return spans
