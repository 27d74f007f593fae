"""What only the node's agent knows: Xids and SXids, who may use a GPU, its clock and collectors."""

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
from gpumon.model import AgentFacts, GpuReading
from gpumon.times import format_age
from gpumon.workloads import allocating


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
    title="no fatal error of an NVSwitch since the last reset",
    fails="a fatal SXid of an NVSwitch, until a reboot, or a release and resume",
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
        unresolved = switch.sxid_unresolved or {}
        for code, severity in sorted(switch.sxid_errors or {}):
            ago = seen.snapshot.time - last.get(code, -math.inf)
            if severity == "fatal" and unresolved.get(code, ago < window):
                yield Finding(
                    Level.FAIL,
                    f"NVSwitch {switch.nvswitch}: fatal SXid {code} {format_age(max(0.0, ago))} "
                    "ago",
                    "Drain the node, restart the fabric manager or reboot; then the baseboard.",
                    "NvswitchFatalError",
                )
    yield passed("none since the last reset")


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
    elif agent is None or agent.manager not in allocating():
        yield skipped("no workload manager says which job holds it")
    elif not agent.collectors.get(agent.manager, True):
        yield skipped(f"{agent.manager} does not say which job holds it")
    elif gpu.power_scope == "module":
        yield skipped("it shares its module's energy account with another GPU")
    elif gpu.processes and not gpu.jobs and agent.unresolved_jobs:
        jobs = agent.unresolved_jobs
        yield skipped(f"of {jobs} {'job' if jobs == 1 else 'jobs'} here the GPUs are not known")
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
    managers = allocating()
    for name in sorted(name for name, works in agent.collectors.items() if not works):
        if name in managers:
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
