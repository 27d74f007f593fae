"""The facts of this machine. Nothing is judged here; what may wait, waits no longer than it may."""

from __future__ import annotations

import ctypes
import grp
import importlib.util
import os
import platform
import pwd
import re
import shutil
import socket
import sys
import time
from pathlib import Path

import psutil

from gpumon import __version__
from gpumon.config import node_name
from gpumon.doctor import command
from gpumon.doctor.facts import (
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
from gpumon.errors import DriverError, DriverStuckError, GpumonError
from gpumon.host import timekeeping
from gpumon.install.unit import UNIT
from gpumon.targets.target import open_target

CALL_SECONDS = 2.0
"""How long a command or a server may take to answer."""

EXTRAS = {
    "textual": "gpumon top",
    "httpx": "gpumon report prom:URL and gpumon status prom:URL",
    "grafana_api": "gpumon dashboards push",
}
"""What the extra [ops] brings, and what needs it."""

MODULE_VERSION = Path("/proc/driver/nvidia/version")

_NVIDIA = "0x10de"
_DISPLAY = "0x03"
"""PCI's vendor, and the first byte of the class of what draws or computes (pci.ids)."""


def program() -> ProgramFacts:
    """Return which gpumon this is, and what it cannot do for lack of an extra."""
    absent = [why for module, why in EXTRAS.items() if importlib.util.find_spec(module) is None]
    python = f"{platform.python_version()} ({sys.executable})"
    return ProgramFacts(__version__, Path(__file__).parents[1], python, tuple(absent))


def user() -> User:
    """Return who this is, and whether in a container."""
    uid = os.geteuid()
    groups = {_group(gid) for gid in {os.getegid(), *os.getgroups()}}
    return User(user_name(uid), uid, tuple(sorted(groups)), container())


def user_name(uid: int) -> str:
    """Return the name of a user, or the number if there is none, as in many a container."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def container(root: Path = Path("/")) -> str:
    """Return the kind of container that this process is in, as it left its mark; else nothing."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    for mark, kind in (("run/.containerenv", "podman"), (".dockerenv", "docker")):
        if (root / mark).exists():
            return kind
    try:  # systemd.io/CONTAINER_INTERFACE: for whoever is not the container's first process
        return (root / "run/systemd/container").read_text("utf-8").strip()
    except OSError:
        return ""


def addresses() -> frozenset[str]:
    """Return this machine's IP addresses, those that only it can reach among them."""
    return frozenset(
        address.address.partition("%")[0]
        for family in psutil.net_if_addrs().values()
        for address in family
        if address.family in (socket.AF_INET, socket.AF_INET6)
    )


def is_loopback(address: str) -> bool:
    """Return whether an address is another machine's own elsewhere."""
    return address == "::1" or address.startswith("127.")


def names() -> frozenset[str]:
    """Return the names of this machine, without asking DNS: with its domain if it knows one."""
    called = {socket.gethostname(), node_name()}
    return frozenset({*called, *(name.split(".")[0] for name in called)})


def library(module: Path = MODULE_VERSION, bus: Path | None = None) -> LibraryFacts:
    """Find the driver's library, without a call to it, and the version of its kernel module."""
    name, problem = "libnvidia-ml.so.1", ""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        problem = str(error)
    found = None
    if not problem:
        mapped = Path("/proc/self/maps").read_text("utf-8")
        found = re.search(r"\S*libnvidia-ml\.so\S*", mapped)
    on_bus = gpus_on_bus(bus) if bus else gpus_on_bus()
    return LibraryFacts(
        found[0] if found else "" if problem else name, problem, _module(module), on_bus
    )


def _module(file: Path) -> str:
    """Return the version in ``NVRM version: NVIDIA UNIX … Kernel Module  580.105.08  Wed …``."""
    try:
        found = re.search(r"^NVRM version:.*?\s(\d{3,}(?:\.\d+)+)\s", file.read_text("utf-8"))
    except OSError:
        return ""
    return found[1] if found else ""


def gpus_on_bus(folder: Path = Path("/sys/bus/pci/devices")) -> int | None:
    """Return how many GPUs of NVIDIA's the PCI bus has; None if it cannot be seen."""
    try:
        return sum(map(_is_gpu, folder.iterdir()))
    except OSError:
        return None


def _is_gpu(device: Path) -> bool:
    vendor, kind = ((device / name).read_text("utf-8") for name in ("vendor", "class"))
    is_board = not (device / "physfn").is_symlink()  # a virtual function (SR-IOV) has one
    return vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY) and is_board


def driver(seconds: float) -> Driver:
    """Ask the driver for its GPUs, in a process that may hang."""
    began = time.monotonic()
    try:
        with open_target("nvml", at_once=True, seconds=seconds) as source:
            snapshot = source.read()
    except GpumonError as error:
        absent = isinstance(error, DriverError) and not isinstance(error, DriverStuckError)
        return Driver(
            problem=error.problem,
            next_step=error.next_step,
            absent=absent,
            on_bus=gpus_on_bus(),
        )
    return Driver(
        version=snapshot.source.driver_version,
        gpus=len(snapshot.gpus),
        up=sum(gpu.up for gpu in snapshot.gpus),
        seconds=time.monotonic() - began,
    )


def devices(folder: Path = Path("/dev")) -> DeviceNodes:
    """Look which of the driver's devices this user may open, by their rights.

    None is opened: that starts the GPU, and waits if its driver hangs. What a container's rules
    deny besides is what the driver then answers.
    """
    nodes = sorted(p for p in folder.glob("nvidia*") if re.fullmatch(r"nvidia(ctl|\d+)", p.name))
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    return DeviceNodes(folder, tuple(map(str, nodes)), tuple(map(str, closed)))


def kernel_log(path: Path = Path("/dev/kmsg")) -> KernelLogAccess:
    """Try to open the log in which most Xids are written, and nowhere else."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        return KernelLogAccess(path, error.strerror or str(error), container())
    return KernelLogAccess(path)


def state(folder: Path) -> State:
    """Look at the folder in which the agent keeps what must not be lost."""
    exists = folder.exists()
    # What is not there yet is made, in the nearest folder that is.
    there = next(path for path in (folder, *folder.parents) if path.exists())
    uid = there.stat().st_uid
    return State(
        folder,
        exists,
        writable=os.access(there, os.W_OK | os.X_OK),
        free=shutil.disk_usage(there).free,
        owner="" if uid == os.geteuid() else user_name(uid),
    )


def service() -> Service:
    """Ask systemd for the agent's unit."""
    if not Path("/run/systemd/system").is_dir():
        return Service(None)
    asked = ("systemctl", "show", UNIT, "-p", "LoadState,ActiveState,UnitFileState")
    printed = command.run(asked, CALL_SECONDS)
    shown = dict(line.split("=", 1) for line in printed.text.splitlines() if "=" in line)
    return Service(shown, printed.problem or ("" if shown else printed.text.strip()))


def clock(marks: Path = timekeeping.TIMESYNCD) -> ClockFacts:
    """Ask the kernel whether something keeps its clock, and the daemons that may know better."""
    found = timekeeping.look(marks)
    return ClockFacts(
        found.kernel.kept,
        found.kernel.error_seconds,
        found.daemon.name,
        found.daemon.keeps,
        found.offset_seconds,
    )
