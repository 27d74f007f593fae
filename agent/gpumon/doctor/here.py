"""What this machine has for gpumon, and what it denies."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from gpumon import __version__
from gpumon.doctor.finding import Finding, bad, good, odd, unknown
from gpumon.errors import GpumonError
from gpumon.targets import open_target

CALL_SECONDS = 2.0
"""How long a command or an agent may take to answer."""

LEAST_FREE_BYTES = 200e6
"""Less room than this is soon gone: a year of a node's state is some 50 MB."""

UNIT = "gpumon-agent"

EXTRAS = {
    "textual": "gpumon top",
    "httpx": "gpumon report prom:URL and gpumon status prom:URL",
    "grafana_api": "gpumon dashboards push",
}
"""What the extra [ops] brings, and what needs it."""


def program() -> Iterator[Finding]:
    """Say which gpumon this is, and what it can do besides serving."""
    where = Path(__file__).parents[1]
    python = ".".join(map(str, sys.version_info[:3]))
    yield good("gpumon", f"{__version__} in {where}, Python {python}")
    absent = [why for module, why in EXTRAS.items() if importlib.util.find_spec(module) is None]
    if absent:
        yield unknown("extras", f"not for {', '.join(absent)}", "pip install 'gpumon[ops]'")
    else:
        yield good("extras", "all of [ops] is installed")


def library() -> Finding:
    """Find the driver's library, without a call to it."""
    name = "libnvidia-ml.so.1"
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return bad(
            "library",
            f"{name} cannot be loaded ({error})",
            "install the driver of a GPU node; in a container, run it with the NVIDIA runtime",
        )
    mapped = Path("/proc/self/maps").read_text("utf-8")
    found = re.search(r"\S*libnvidia-ml\.so\S*", mapped)
    return good("library", found[0] if found else name)


def driver(seconds: float) -> Finding:
    """Ask the driver for its GPUs, in a process that may hang."""
    began = time.monotonic()
    try:
        with open_target("nvml", at_once=True, seconds=seconds) as source:
            snapshot = source.read()
    except GpumonError as error:
        return bad("driver", error.problem, error.next_step)
    took = time.monotonic() - began
    answering = sum(gpu.up for gpu in snapshot.gpus)
    evidence = (
        f"{snapshot.source.driver_version}: {answering} of {len(snapshot.gpus)} GPUs answer, "
        f"in {took:.1f} s"
    )
    if answering < len(snapshot.gpus):
        return odd("driver", evidence, "see which, with gpumon check")
    return good("driver", evidence)


def devices(folder: Path = Path("/dev")) -> Finding:
    """Look whether this user may open the driver's devices."""
    nodes = sorted(p for p in folder.glob("nvidia*") if re.fullmatch(r"nvidia(ctl|\d+)", p.name))
    if not nodes:
        return unknown("devices", f"no {folder}/nvidia*: no driver is loaded, or none is needed")
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if not closed:
        return good("devices", f"{len(nodes)} can be opened by this user")
    return bad(
        "devices",
        f"this user may not open {', '.join(map(str, closed))}",
        f"add it to the group of {closed[0]}, or see docs/privileges.md",
    )


def kernel_log(path: Path = Path("/dev/kmsg")) -> Finding:
    """Look whether Xids can be read where most of them are written."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        return odd(
            "kernel-log",
            f"{path} cannot be read by this user ({error.strerror})",
            "the service can, by CAP_SYSLOG; without it only the driver tells of Xids "
            "(docs/privileges.md)",
        )
    return good("kernel-log", f"{path} can be read")


def agent(url: str) -> Finding:
    """Ask for the agent that should be at an address of this machine."""
    try:
        with _OPENER.open(f"{url}/-/ready", timeout=CALL_SECONDS) as answer:
            said = answer.read(200).decode("utf-8", "replace").strip()
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(200).decode("utf-8", "replace").strip()
        if error.code == 401:
            return good("agent", f"{url} asks for a password, as it was told to")
        if error.code == 503 and "gpumon" in str(error.headers.get("Server", "gpumon")):
            return odd("agent", f"{url} is not ready: {said}", "see gpumon events and its log")
        return bad(
            "agent",
            f"{url} answers {error.code}, which is no gpumon agent's",
            "see who listens there, with ss -ltnp, or choose another --web.listen-address",
        )
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))
        if "refused" in reason:
            return odd("agent", f"nobody listens at {url}", "gpumon agent starts one")
        return odd(
            "agent", f"{url} does not answer ({reason})", "see its log, or who listens there"
        )
    return good("agent", f"{url} is ready")


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def state(folder: Path) -> Finding:
    """Look at the folder in which the agent keeps what must not be lost."""
    if not folder.exists():
        return unknown("state", f"{folder} is not there yet: the agent makes it")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        return bad(
            "state",
            f"{free / 1e6:.0f} MB are free in {folder}",
            "make room, or choose another folder with --state-dir",
        )
    if not os.access(folder, os.W_OK):
        return unknown(
            "state", f"{folder} is not this user's to write in; {free / 1e9:.1f} GB free"
        )
    return good("state", f"{folder}, {free / 1e9:.1f} GB free")


@dataclasses.dataclass(frozen=True, slots=True)
class KernelClock:
    """Whether something keeps the kernel's clock, and within how many seconds."""

    synchronised: bool
    error_seconds: float


def clock(found: KernelClock | None = None) -> Finding:
    """Look whether something keeps this machine's clock (adjtimex(2))."""
    found = found or _kernel_clock()
    if found.synchronised:
        return good("clock", f"kept, within {found.error_seconds * 1e3:.1f} ms")
    return odd(
        "clock",
        "nothing keeps it: events and energy get the wrong time",
        "start chrony or systemd-timesyncd; in a container or guest, that of the host",
    )


_STA_UNSYNC = 0x40
"""From linux/timex.h."""


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the kernel writes no more than the whole 208 bytes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def _kernel_clock() -> KernelClock:
    asked = _Timex()  # modes 0: only ask
    ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    return KernelClock(not asked.status & _STA_UNSYNC, asked.maxerror / 1e6)


def service() -> Finding:
    """Look whether systemd starts the agent, and will after a reboot."""
    if not Path("/run/systemd/system").is_dir():
        return unknown("service", "systemd does not run here")
    done = subprocess.run(
        ["systemctl", "show", UNIT, "-p", "LoadState,ActiveState,UnitFileState"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        timeout=CALL_SECONDS,
    )
    return service_of(dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line))


def service_of(shown: dict[str, str]) -> Finding:
    """Judge what ``systemctl show`` says of the unit."""
    loaded, active, enabled = (
        shown.get(key, "") for key in ("LoadState", "ActiveState", "UnitFileState")
    )
    if loaded == "not-found":
        return odd("service", f"there is no unit {UNIT}", "install it: docs/operating.md")
    if active == "failed":
        return bad("service", f"{UNIT} has failed", f"see journalctl -u {UNIT}")
    if active != "active":
        return odd("service", f"{UNIT} is {active or 'not known'}", f"systemctl start {UNIT}")
    if enabled != "enabled":
        return odd(
            "service",
            f"{UNIT} runs, and is {enabled or 'not'}: not after a reboot",
            f"systemctl enable {UNIT}",
        )
    return good("service", f"{UNIT} runs, and is started with the machine")
