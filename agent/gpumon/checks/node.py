"""The node: whether its driver responds, and whether all of its GPUs are there."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gpumon.checks.model import (
    NO_AGENT,
    Finding,
    Level,
    Observation,
    gpu_check,
    node_check,
    passed,
    skipped,
)
from gpumon.model import AgentFacts, GpuReading, GpuState, Snapshot
from gpumon.times import format_age


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


@node_check(
    name="xid-address",
    title="every Xid belongs to a known GPU",
    warns="Xids at a PCI address at which no GPU was ever seen",
    alerts=("XidUnattributed",),
)
def xid_address(seen: Observation) -> Iterator[Finding]:
    """Judge whether all Xids are those of GPUs that are known."""
    agent = _agent(seen)
    if agent is None or agent.unattributed_xids is None:
        yield skipped(NO_AGENT)
    elif agent.unattributed_xids:
        yield Finding(
            Level.WARN,
            f"{agent.unattributed_xids} Xids of a GPU that was never seen",
            "See gpumon events, and compare lspci -d 10de: with nvidia-smi -L.",
            "XidUnattributed",
        )
    else:
        yield passed("every Xid is that of a GPU that is known")


@node_check(
    name="nvswitch",
    title="no fatal error of an NVSwitch in the last minutes",
    fails="a fatal SXid of an NVSwitch in the last minutes",
    alerts=("NvswitchFatalError",),
    thresholds=("xid.recent",),
)
def nvswitch(seen: Observation) -> Iterator[Finding]:
    """Judge the fatal errors of NVSwitches, on which all GPUs of a node depend."""
    agent = _agent(seen)
    if agent is None or seen.snapshot is None:
        yield skipped(NO_AGENT)
        return
    if not agent.nvswitches and not agent.collectors.get("kernel_log"):
        yield skipped("the agent reads no kernel log, which alone has SXids")
        return
    window = seen.seconds("xid.recent")
    for switch in agent.nvswitches:
        last = switch.sxid_last_timestamp_seconds or {}
        for code, severity in sorted(switch.sxid_errors or {}):
            ago = seen.snapshot.time - last.get(code, -math.inf)
            if severity == "fatal" and ago < window:
                yield Finding(
                    Level.FAIL,
                    f"NVSwitch {switch.nvswitch}: fatal SXid {code} {format_age(max(0.0, ago))} "
                    "ago",
                    "Drain the node, restart the fabric manager or reboot; then the baseboard.",
                    "NvswitchFatalError",
                )
    yield passed(f"none in the last {format_age(window)}")


@gpu_check(
    name="stray",
    title="no process on a GPU that no job holds",
    warns="processes on a GPU that the workload manager has given to nobody",
    alerts=("StrayProcess",),
)
def stray(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge whether somebody uses a GPU without a job; only a workload manager's word counts."""
    agent = _agent(seen)
    if gpu.processes is None:
        yield skipped("its processes are not known")
    elif agent is None or agent.manager in ("", "processes"):
        yield skipped("no workload manager says which job holds it")
    elif not agent.collectors.get(agent.manager, True):
        yield skipped(f"{agent.manager} does not say which job holds it")
    elif gpu.power_scope == "module":
        yield skipped("it shares its module's energy account with another GPU")
    elif gpu.processes and not gpu.jobs:
        yield Finding(
            Level.WARN,
            f"{gpu.processes} {'process' if gpu.processes == 1 else 'processes'}, and no job "
            "holds it",
            "Run gpumon ps for the process and its user; end it, and mend the epilog.",
            "StrayProcess",
        )
    else:
        yield passed(f"{gpu.processes} processes" + (", of a job" if gpu.jobs else ""))


@node_check(
    name="clock",
    title="the node's clock is right",
    warns="nothing synchronizes the clock, or it is off",
    alerts=("ClockWrong",),
    thresholds=("monitor.clock_seconds",),
)
def clock(seen: Observation) -> Iterator[Finding]:
    """Judge the clock, by whose times alerts decide whether an Xid is news."""
    agent = _agent(seen)
    offset = agent.clock_offset_seconds if agent is not None else None
    if agent is None:
        yield skipped(NO_AGENT)
    elif agent.clock_synchronized is False:
        yield _wrong_clock("nothing synchronizes its clock")
    elif offset is not None and abs(offset) > seen.number("monitor.clock_seconds"):
        yield _wrong_clock(
            f"its clock is {format_age(abs(offset))} {'ahead' if offset > 0 else 'behind'}"
        )
    elif agent.clock_synchronized is None:
        yield skipped("neither the kernel nor a daemon reports whether its clock is synchronized")
    else:
        yield passed("its clock is synchronized")


def _wrong_clock(evidence: str) -> Finding:
    return Finding(
        Level.WARN,
        evidence,
        "Start chrony or systemd-timesyncd, and step the clock if need be (gpumon doctor).",
        "ClockWrong",
    )


_MANAGERS = ("slurm", "jobfiles", "kubernetes")
"""Collectors that are workload managers (those of WorkloadManagerSilent)."""


@node_check(
    name="collectors",
    title="the agent's collectors work: BMC, kernel log, workload manager",
    warns="a collector fails; the workload manager does not say who holds which GPU",
    alerts=("CollectorFailing", "WorkloadManagerSilent"),
)
def collectors(seen: Observation) -> Iterator[Finding]:
    """Judge the parts of the agent beyond its reader, which the check ``driver`` judges."""
    agent = _agent(seen)
    if agent is None:
        yield skipped(NO_AGENT)
        return
    for name in sorted(name for name, works in agent.collectors.items() if not works):
        if name in _MANAGERS:
            yield Finding(
                Level.WARN,
                f"{name} does not say which job holds which GPU",
                "Check slurmctld or the kubelet, and the prolog's job files (gpumon doctor).",
                "WorkloadManagerSilent",
            )
        elif name != "reader":
            yield Finding(
                Level.WARN,
                f"the collector {name} fails",
                "See journalctl -u gpumon-agent for why.",
                "CollectorFailing",
            )
    yield passed(f"{len(agent.collectors)} collectors work")


def _agent(seen: Observation) -> AgentFacts | None:
    return seen.snapshot.agent if seen.snapshot is not None else None


def _expected(seen: Observation) -> int | None:
    """Return how many GPUs there should be: declared here, or known to the agent."""
    if seen.expected is not None:
        return seen.expected
    return seen.snapshot.gpus_expected if seen.snapshot is not None else None
