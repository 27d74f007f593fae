"""What the agent reports about itself: its source, its reader, its collectors, its books."""

from __future__ import annotations

from gpumon.model import AgentFacts, NvswitchReading, Snapshot, SourceInfo
from gpumon.model.agent import AgentReading, BuildInfo, ThresholdsInfo
from gpumon.server.lastword import LastWord
from gpumon.server.parts import NodeParts
from gpumon.sources.kinds import is_real


def agent_reading(last: LastWord, parts: NodeParts, *, restarts: int, time: float) -> AgentReading:
    """Return the agent's own metrics at ``time`` (unix seconds).

    ``restarts`` is how many readers have been replaced.
    """
    snapshot = last.current()
    up = snapshot is not None and snapshot.up
    source = snapshot.source if snapshot else last.source
    # A guest's vGPU is a part of a board, which the host's agent counts.
    vgpus = sum(not gpu.identity.is_board for gpu in snapshot.gpus) if snapshot else 0
    expected = parts.expected.count(source, time, len(snapshot.passed_through) if snapshot else 0)
    return AgentReading(
        build=BuildInfo(),
        source_info=source,
        thresholds_info=ThresholdsInfo(parts.thresholds.digest),
        source_up=up,
        released=bool(last.released),
        gpus=len(snapshot.gpus) - vgpus if snapshot and up else 0,
        gpus_expected=None if expected is None else max(0, expected - vgpus),
        gpus_unlisted=_unlisted(snapshot, source),
        collector_success=_collectors(snapshot, last, parts),
        collector_duration_seconds={
            **({"reader": snapshot.read_seconds} if snapshot else {}),
            **(parts.host.collector_seconds() if parts.host else {}),
        },
        refused_readings=parts.refusals.counts,
        reader_restarts=restarts,
        unattributed_xids=parts.xids.unattributed,
        **(parts.books.reading() if parts.books else {}),
        **(parts.clock.reading() if parts.clock else {}),
    )


def _unlisted(snapshot: Snapshot | None, source: SourceInfo) -> dict[str, int] | None:
    """Return how many GPUs of a real machine its source does not list, by why that is so."""
    if snapshot is None or not snapshot.up or not is_real(source.source):
        return None
    return {"passed_through": len(snapshot.passed_through), "late": len(snapshot.unlisted)}


def facts(agent: AgentReading, nvswitches: tuple[NvswitchReading, ...]) -> AgentFacts:
    """Return what checks judge the agent by."""
    manager = agent.workload_manager_info
    return AgentFacts(
        clock_synchronized=agent.clock_synchronized,
        clock_offset_seconds=agent.clock_offset_seconds,
        unattributed_xids=agent.unattributed_xids,
        collectors={name: bool(works) for name, works in agent.collector_success.items()},
        manager=manager.manager if manager else "",
        unresolved_jobs=agent.workload_manager_unresolved_jobs,
        nvswitches=nvswitches,
    )


def _collectors(snapshot: Snapshot | None, last: LastWord, parts: NodeParts) -> dict[str, int]:
    """Return which collectors work; what is left alone on purpose does not fail."""
    host = dict(parts.host.collector_success()) if parts.host else {}
    log = parts.kernel_log
    if log is not None and log.denied is None:
        host["kernel_log"] = int(not log.problem)
    if parts.books is not None:
        name, works = parts.books.works()
        host[name] = int(works)
    if last.released:
        return host
    up = snapshot is not None and snapshot.up
    found = snapshot.collectors if snapshot is not None and up else {}
    return {"reader": int(up), **{name: int(works) for name, works in found.items()}, **host}
