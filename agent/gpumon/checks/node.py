"""The node: whether its driver responds, and whether all of its GPUs are there."""

from __future__ import annotations

from collections.abc import Iterator

from gpumon.checks.model import Finding, Level, Observation, node_check, passed, skipped
from gpumon.model import GpuState, Snapshot


@node_check(
    name="driver",
    title="the driver responds",
    fails="it does not answer, and there should be GPUs",
    alerts=("SourceDown",),
)
def driver(seen: Observation) -> Iterator[Finding]:
    """Judge whether the driver responds at all."""
    snapshot = seen.snapshot
    if snapshot is None:
        if seen.broken:
            yield _no_driver(seen.problem)
        else:
            yield skipped(seen.problem)
        return
    if any(gpu.state is GpuState.RELEASED for gpu in snapshot.gpus):
        yield skipped("the GPUs are released (gpumon release); gpumon resume takes them up again")
        return
    if snapshot.up:
        version = snapshot.source.driver_version
        yield passed(f"driver {version} responds" if version else "it responds")
        return
    why = "; ".join(snapshot.errors) or "it does not answer"
    # Without GPUs there need be no driver: a node of CPUs is not sick.
    wanted = bool(snapshot.gpus) or bool(_expected(seen))
    yield _no_driver(why) if wanted else skipped(why)


def _no_driver(why: str) -> Finding:
    return Finding(
        Level.FAIL,
        why,
        "Look at dmesg for NVRM lines; load the driver, or drain the node and reboot it.",
        "SourceDown",
    )


@node_check(
    name="count",
    title="as many GPUs are there as should be",
    fails="fewer GPUs than expected (`--expected-gpus`, else what the agent knows)",
    alerts=("GpuMissing",),
)
def count(seen: Observation) -> Iterator[Finding]:
    """Judge whether as many GPUs are there as should be."""
    expected = _expected(seen)
    if seen.snapshot is None:
        yield skipped("the GPUs cannot be counted")
        return
    there = len(seen.snapshot.gpus)
    if not seen.snapshot.up and not there:
        # The driver's own verdict says it; a count of a driver that is away would say it twice.
        yield skipped("the GPUs cannot be counted")
    elif expected is None:
        yield skipped(f"{there} there; how many there should be is not known (--expected-gpus)")
    elif there < expected or seen.snapshot.unlisted:
        yield _fewer(seen.snapshot, there, expected)
    else:
        yield passed(f"{there} of {expected} GPUs are there{_elsewhere(seen.snapshot)}")


def _fewer(snapshot: Snapshot, there: int, expected: int) -> Finding:
    late = _late(snapshot.unlisted)
    return Finding(
        Level.FAIL,
        f"{there} of {expected} GPUs are there{late}{_elsewhere(snapshot)}",
        "Run gpumon release, then gpumon resume: NVML makes its list when it is initialized."
        if late
        else "Compare lspci -d 10de: with nvidia-smi -L; reseat or replace the board.",
        "GpuMissing",
    )


def _late(addresses: tuple[str, ...]) -> str:
    if not addresses:
        return ""
    return f"; NVML does not list what has come to the driver at {', '.join(addresses)}"


def _elsewhere(snapshot: Snapshot) -> str:
    """Say how many GPUs of the machine another driver has; nothing if it has none."""
    away = snapshot.passed_through
    drivers = ", ".join(sorted({one.driver for one in away}))
    return f"; {len(away)} passed through ({drivers})" if away else ""


def _expected(seen: Observation) -> int | None:
    """Return how many GPUs there should be: declared here, or known to the agent."""
    if seen.expected is not None:
        return seen.expected
    return seen.snapshot.gpus_expected if seen.snapshot is not None else None
