"""What the facts of this machine mean: pure functions, from a record to findings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gpumon import __version__
from gpumon.doctor.facts import (
    Agent,
    ClockFacts,
    DeviceNodes,
    Driver,
    KernelLogAccess,
    LibraryFacts,
    ProgramFacts,
    Service,
    State,
    User,
)
from gpumon.doctor.finding import Finding, bad, good, missed, odd, unasked
from gpumon.host import timekeeping
from gpumon.install.unit import UNIT

LEAST_FREE_BYTES = 200e6
"""Less room than this is soon gone: a year of a node's state is some 50 MB."""

LEAST_DRIVER = 525
"""The lowest branch of the driver that gpumon is tested with."""

_WITH_MEMORY = 510
"""The branch with which nvmlDeviceGetMemoryInfo_v2 and nvmlDeviceGetComputeRunningProcesses_v3
came."""

ASKS_FOR_PASSWORD = "a user and a password, please"  # noqa: S105 - what it says, and no password
"""The reply of an agent with users to a client that it does not know (gpumon.web.guard)."""


def program(facts: ProgramFacts) -> Iterator[Finding]:
    """Say which gpumon this is, and what it cannot do."""
    yield good("gpumon", f"{facts.version} in {facts.folder}, Python {facts.python}")
    if facts.without:
        yield unasked(
            "extras",
            f"missing for {', '.join(facts.without)}",
            "pip install '.[ops]' in gpumon's checkout",
        )
    else:
        yield good("extras", "all of [ops] is installed")


def user(facts: User) -> Iterator[Finding]:
    """Say which user's permissions all others are about."""
    where = f", in a container ({facts.container})" if facts.container else ""
    groups = f", groups {', '.join(facts.groups)}" if facts.groups else ""
    yield good("user", f"{facts.name} ({facts.uid}){groups}{where}")


def library(facts: LibraryFacts) -> Iterator[Finding]:
    """Judge the driver's library, and whether it and the kernel module are of one version."""
    if facts.problem and facts.on_bus == 0 and not facts.module:
        yield unasked("library", "no driver, and no GPU of NVIDIA's on the PCI bus")
        return
    if facts.problem:
        gpus = f", and {facts.on_bus} GPUs are on the PCI bus" if facts.on_bus else ""
        yield bad(
            "library",
            f"libnvidia-ml.so.1 cannot be loaded ({facts.problem}){gpus}",
            "install the driver's user-space libraries; run a container with the NVIDIA runtime",
        )
        return
    named = re.search(r"\.so\.(\d{3,}(?:\.\d+)+)$", facts.path)
    version = named[1] if named else ""
    if version and facts.module and version != facts.module:
        yield bad(
            "library",
            f"{facts.path}, but the kernel module is of {facts.module}",
            "reboot: the driver was upgraded while its module was loaded",
        )
        return
    module = (
        f", same version as the kernel module ({facts.module})" if facts.module and version else ""
    )
    yield good("library", f"{facts.path}{module}")


def driver(facts: Driver) -> Iterator[Finding]:
    """Judge whether the driver responds, and for how many of its GPUs."""
    if facts.problem and facts.absent and facts.on_bus == 0:
        yield unasked("driver", "no driver, and no GPU of NVIDIA's on the PCI bus")
    elif facts.problem:
        yield bad("driver", facts.problem, facts.next_step)
    else:
        evidence = (
            f"{facts.version}: {facts.up} of {facts.gpus} GPUs respond, in {facts.seconds:.1f} s"
        )
        if not facts.gpus:
            yield bad("driver", evidence, "list the GPUs on the bus with lspci -d 10de:")
        elif facts.up < facts.gpus:
            yield odd("driver", evidence, "see which ones with gpumon check")
        else:
            yield good("driver", evidence)
        yield from _age(facts.version)


def _age(version: str) -> Iterator[Finding]:
    """Say what is missing with a driver that is older than those that gpumon supports."""
    major = re.match(r"\d{1,6}(?=\.)", version)
    if major is None or int(major[0]) >= LEAST_DRIVER:
        return
    without = "memory, processes and MIG instances are missing, and so are other readings"
    if int(major[0]) >= _WITH_MEMORY:
        without = "readings that came later are missing"
    yield odd(
        "driver-version",
        f"gpumon needs NVIDIA driver {LEAST_DRIVER} or later, and this is {version}: {without}",
        f"update the driver to {LEAST_DRIVER} or later",
    )


def devices(facts: DeviceNodes) -> Iterator[Finding]:
    """Judge whether this user may open the driver's devices."""
    if not facts.nodes:
        yield unasked("devices", f"no {facts.folder}/nvidia*: no driver is loaded, or none needed")
    elif facts.closed:
        yield bad(
            "devices",
            f"this user may not open {', '.join(facts.closed)}",
            f"add it to the group of {facts.closed[0]}, or see docs/privileges.md",
        )
    else:
        yield good("devices", f"{len(facts.nodes)} can be opened by this user")


def kernel_log(facts: KernelLogAccess) -> Iterator[Finding]:
    """Judge whether all Xids are seen; the driver itself reports some."""
    if not facts.problem:
        yield good("kernel-log", f"{facts.path} can be read")
        return
    step = "the service may, with CAP_SYSLOG: docs/privileges.md"
    if facts.container:
        step = f"give the container {facts.path} and CAP_SYSLOG: docs/privileges.md"
    yield odd(
        "kernel-log",
        f"{facts.path} cannot be read ({facts.problem}): most Xids are written only there",
        step,
    )


def agent(facts: Agent) -> Iterator[Finding]:
    """Judge what is at the agent's address."""
    if facts.nobody:
        yield odd("agent", f"nothing listens at {facts.url}", "start one with gpumon agent")
    elif facts.status is None:
        yield odd(
            "agent",
            f"{facts.url} accepts the connection but does not reply "
            f"({facts.problem or 'no reason'})",
            "find the program that listens there with ss -ltnp, and see its log",
        )
    elif facts.status == 401 and facts.said == ASKS_FOR_PASSWORD:
        yield good("agent", f"{facts.url} responds, and asks for a password")
    elif facts.status == 503 and facts.said.startswith("not ready: "):
        yield odd("agent", f"{facts.url} is {facts.said}", "see gpumon events, and its log")
    elif facts.status != 200 or "gpumon" not in facts.said:
        yield bad(
            "agent",
            f"{facts.url} replies {facts.status} and is not a gpumon agent",
            "find the program that listens there with ss -ltnp, or choose another "
            "--web.listen-address",
        )
    elif facts.version not in {"", __version__}:
        yield odd(
            "agent",
            f"{facts.url} is ready, but of version {facts.version}: this command is {__version__}",
            f"restart it: systemctl restart {UNIT}",
        )
    else:
        version = facts.version or "of unknown version"
        yield good("agent", f"{facts.url} is ready, {version}")


def service(facts: Service) -> Iterator[Finding]:
    """Judge whether systemd starts the agent, and will after a reboot."""
    if facts.shown is None:
        yield unasked("service", "systemd does not run here")
        return
    if not facts.shown:
        yield missed("service", facts.problem or "systemctl says nothing", f"systemctl show {UNIT}")
        return
    loaded, active, enabled = (
        facts.shown.get(key, "") for key in ("LoadState", "ActiveState", "UnitFileState")
    )
    if loaded == "not-found":
        yield odd("service", f"there is no unit {UNIT}", "sudo gpumon install")
    elif active == "failed":
        yield bad("service", f"{UNIT} has failed", f"see journalctl -u {UNIT}")
    elif active != "active":
        yield odd("service", f"{UNIT} is {active or 'not known'}", f"systemctl start {UNIT}")
    elif enabled != "enabled":
        yield odd(
            "service",
            f"{UNIT} runs, but is {enabled or 'not enabled'}: it will not start after a reboot",
            f"systemctl enable {UNIT}",
        )
    else:
        yield good("service", f"{UNIT} runs, and starts at boot")


def state(facts: State) -> Iterator[Finding]:
    """Judge whether the agent's state folder is there, and has room."""
    room = f"{facts.free / 1e9:.1f} GB free" if facts.free is not None else "room not known"
    if facts.free is not None and facts.free < LEAST_FREE_BYTES:
        yield bad(
            "state",
            f"{facts.free / 1e6:.0f} MB are free in {facts.folder}",
            "make room, or choose another folder with --state-dir",
        )
    elif facts.writable:
        made = "" if facts.exists else " (does not exist yet: the agent creates it)"
        yield good("state", f"{facts.folder}{made}, {room}")
    elif facts.exists and facts.owner:
        yield unasked(
            "state",
            f"only {facts.owner} may write to {facts.folder}, {room}",
            f"ask as that user, with sudo -u {facts.owner}",
        )
    else:
        yield bad(
            "state",
            f"{facts.folder} cannot be {'written' if facts.exists else 'made'} by this user",
            "give it to this user, or choose another folder with --state-dir",
        )


def clock(facts: ClockFacts) -> Iterator[Finding]:
    """Judge whether something synchronizes this machine's clock, and how far off it is."""
    offset = facts.offset_seconds or 0.0
    if abs(offset) > timekeeping.WORTH_SAYING_SECONDS:
        way = "ahead" if offset > 0 else "behind"
        yield odd(
            "clock",
            f"synchronized, and {abs(offset):.1f} s {way}: events and energy get the wrong time",
            "step it, as with chronyc makestep; events that it dated are marked in gpumon events",
        )
    elif facts.kernel:
        yield good("clock", f"synchronized, within {facts.error_seconds * 1e3:.1f} ms")
    elif facts.by_daemon:
        yield good("clock", f"synchronized by {facts.daemon}")
    elif facts.kernel is None and facts.by_daemon is None:
        yield missed(
            "clock",
            "neither the kernel nor a daemon says whether it is synchronized",
            "see timedatectl",
        )
    else:
        known = (
            f"{facts.daemon} runs, but is not synchronized"
            if facts.daemon
            else "nothing synchronizes it"
        )
        yield odd(
            "clock",
            f"{known}: events and energy get the wrong time",
            "start chrony or systemd-timesyncd; in a container or guest, start it on the host",
        )
