"""A GPU as a whole: whether it responds, how fresh that is, what the driver asks for, its Xids."""

from __future__ import annotations

from collections.abc import Iterator

from gpumon.checks.model import NO_AGENT, Finding, Level, Observation, gpu_check, passed, skipped
from gpumon.model import NOT_ANSWERED_YET, GpuReading, GpuState
from gpumon.sources.kinds import has_xids
from gpumon.times import format_age
from gpumon.xids import FOLLOWING, RECOVERY, Xid, xid
from gpumon.xids import xids as known_xids

_STATES = {
    GpuState.LOST: (
        "GpuLost",
        "Drain the node and reboot it; if it is lost again, take the board out.",
    ),
    GpuState.HUNG: (
        "GpuHung",
        "Look for Xid 119 or 120 in the kernel's log, drain the node and reboot it.",
    ),
    GpuState.RESET_REQUIRED: (
        "GpuResetRequired",
        "Drain it, then gpumon release, nvidia-smi -r -i {gpu}, gpumon resume.",
    ),
    GpuState.ERROR: ("GpuReadError", "Read the error; if it stays, drain the node and reboot it."),
}
"""The alert and the next step for each state in which a GPU cannot be read."""


@gpu_check(
    name="state",
    title="the GPU responds: it is not lost, hung, or in need of a reset",
    fails="lost, hung, in need of a reset, or returning errors; or named (`--gpu`, `--minor`) and "
    "not there",
    of_state=True,
    alerts=("GpuLost", "GpuHung", "GpuResetRequired", "GpuReadError"),
)
def state(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge whether the GPU responds."""
    if gpu.up:
        yield passed("it responds")
    elif gpu.state is GpuState.RELEASED:
        yield skipped("released (gpumon release)")
    elif gpu.state is GpuState.ERROR and gpu.reason == NOT_ANSWERED_YET:
        yield skipped("it has not responded in time; --timeout allows more")
    else:
        alert, step = _STATES[gpu.state]
        words = gpu.state.value.replace("_", " ")
        words += seen.lasting(gpu, gpu.state.value)
        why = f"{words}: {gpu.reason}" if gpu.reason else words
        yield Finding(Level.FAIL, why, step.format(gpu=gpu.identity.index), alert)


def stale(gpu: GpuReading, seen: Observation) -> bool:
    """Return whether a reading is too old to judge the present by."""
    age = gpu.age(seen.now)
    return gpu.up and age is not None and age > seen.number("monitor.stale_seconds")


@gpu_check(
    name="age",
    title="its readings are fresh",
    fails="its reading is too old to judge by",
    alerts=("ReadingsStale",),
    thresholds=("monitor.stale_seconds",),
)
def age(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge how old the reading is."""
    seconds = gpu.age(seen.now)
    if seconds is None:
        yield skipped("this source reports no age")
    elif stale(gpu, seen):
        yield Finding(
            Level.FAIL,
            f"its reading is {format_age(seconds)} old",
            "See journalctl -u gpumon-agent for what delays the reader.",
            "ReadingsStale",
        )
    else:
        yield passed(f"read {format_age(seconds)} ago")


_REBOOT = ("node_reboot", "system_reboot", "bus_reset")
_PEERS = ("drain_p2p", "recover_imex_domain")
"""The GPU itself works; its NVLink neighbors do not (GpuSickButSchedulable leaves them out)."""


@gpu_check(
    name="recovery",
    title="the driver asks for no reset or reboot",
    fails="the driver asks for a reset or a reboot",
    warns="it asks to drain its NVLink peers only",
    alerts=("GpuNeedsReset", "GpuNeedsReboot"),
)
def recovery(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge by what the driver itself asks for."""
    action = gpu.recovery_action
    if action is None:
        yield skipped("this driver asks for nothing by name")
    elif action == "none":
        yield passed("the driver asks for nothing")
    else:
        yield Finding(
            Level.WARN if action in _PEERS else Level.FAIL,
            f"the driver asks for {action}{_asked_for(gpu, seen)}",
            RECOVERY[action],
            "GpuNeedsReboot" if action in _REBOOT else "GpuNeedsReset",
        )


def _asked_for(gpu: GpuReading, seen: Observation) -> str:
    lasting = seen.lasting(gpu, str(gpu.recovery_action))
    return lasting and f", and has{lasting}"


@gpu_check(
    name="xid",
    title="no Xid waits for a reset, and none of the hardware or the driver in the last minutes",
    fails="a critical Xid, until the GPU was reset or the node rebooted",
    warns="another one of the hardware or the driver in the last minutes; an application's passes",
    of_state=True,
    alerts=(
        *("GpuXidReboot", "GpuXidCritical", "GpuGspTimeout"),
        *("GpuXidHardware", "GpuXidDriver", "GpuXidUnknown"),
    ),
    thresholds=("xid.recent",),
)
def xids(gpu: GpuReading, seen: Observation) -> Iterator[Finding]:
    """Judge the Xids that ask for a reset and had none, and those of the last minutes."""
    if seen.snapshot is not None and not has_xids(seen.snapshot.source.source):
        yield skipped("GPUs of this kind have no Xids")
        return
    if gpu.xid_events is None or seen.snapshot is None:
        yield skipped(NO_AGENT)
        return
    window = seen.seconds("xid.recent")
    unresolved = gpu.xid_unresolved or {}
    fresh = {
        int(code): seen.snapshot.time - last
        for code, last in (gpu.xid_last_timestamp_seconds or {}).items()
        if (unresolved[code] if code in unresolved else seen.snapshot.time - last < window)
    }
    for code in sorted(fresh):
        yield _of_xid(xid(code), fresh[code])
    if not fresh:
        yield passed(f"none in the last {format_age(window)}")


def _of_xid(found: Xid, ago: float) -> Finding:
    evidence = f"Xid {found.code} {format_age(max(0.0, ago))} ago: {found.meaning}"
    if found.needs:
        return Finding(Level.FAIL, evidence, found.action, _critical_alert(found))
    if found.code in FOLLOWING or found.severity == "info":
        return passed(evidence)
    if found.xid_class == "application":
        return passed(f"{evidence} (an application's)")
    alert = "GpuXidHardware" if found.xid_class == "hardware" else "GpuXidDriver"
    if found.code not in known_xids():
        alert = "GpuXidUnknown"
    return Finding(Level.WARN, evidence, found.action, alert)


def _critical_alert(found: Xid) -> str:
    if found.code in (119, 120):
        return "GpuGspTimeout"
    return "GpuXidReboot" if found.needs == "reboot" else "GpuXidCritical"
