"""What a viewer can look at: this machine, another one's agent, a simulation, a recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from gpumon.config import node_name
from gpumon.derive import Derivation
from gpumon.errors import UsageError
from gpumon.model import Snapshot
from gpumon.sources import Source, open_source
from gpumon.sources.kinds import DEFAULT, KINDS
from gpumon.sources.spec import SourceSpec
from gpumon.targets.agent import ANSWER_SECONDS, AgentTarget, agent_url, local_agent
from gpumon.targets.driver import DriverTarget
from gpumon.thresholds import Thresholds, shipped


class Target(Protocol):
    """Something that shows snapshots."""

    def read(self) -> Snapshot:
        """Return the state now; UnavailableError if it is not available."""
        ...

    def thresholds(self) -> Thresholds:
        """Return the thresholds to judge the last snapshot by.

        Those that the viewer was given; else an agent's own, of an agent; else those that ship.
        Raises UnavailableError if an agent does not answer.
        """
        ...


@contextmanager
def open_target(
    text: str | None,
    *,
    at_once: bool = False,
    interval: float = 1.0,
    seconds: float | None = None,
    thresholds: Thresholds | None = None,
) -> Iterator[Target]:
    """Open what a TARGET argument names, to be looked at every ``interval`` seconds.

    ``at_once`` plays a recording to its end before the first look, unless it says a speed.
    ``seconds`` is how long the first reply may take, for callers that cannot wait as long as this
    module otherwise does. ``thresholds`` are the viewer's own, if it was given any.
    """
    text = text or local_agent() or DEFAULT
    kind = text.partition(":")[0]
    if kind == "prom":
        raise UsageError(
            f"{text} is a whole fleet, and this command is of one node",
            f"name a node's agent, as in node17:9842, or see gpumon status {text}",
        )
    if kind not in KINDS:
        yield AgentTarget(agent_url(text), seconds or ANSWER_SECONDS, thresholds)
        return
    spec = SourceSpec.parse(text)
    if kind == "replay" and at_once and not spec.options.keys() & {"speed", "loop"}:
        spec = dataclasses.replace(spec, options={**spec.options, "speed": "max"})
    pace = min(max(interval, 0.1), 1.0)
    if spec.row.may_hang:
        source: DriverTarget | Source = DriverTarget(spec, pace, seconds, at_once=at_once)
    else:
        source = open_source(spec)
    try:
        yield _Completed(source, thresholds or shipped())
    finally:
        source.close()


class _Completed:
    """A source in this process, with what follows from its readings."""

    def __init__(self, source: DriverTarget | Source, thresholds: Thresholds) -> None:
        self._source = source
        self._thresholds = thresholds
        self._derivation = Derivation()

    def read(self) -> Snapshot:
        snapshot = self._derivation.update(self._source.read())
        return dataclasses.replace(snapshot, node=snapshot.node or node_name())

    def thresholds(self) -> Thresholds:
        return self._thresholds
