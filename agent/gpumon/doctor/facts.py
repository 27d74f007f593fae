"""What is known of an installation: one frozen record for each item, gathered before it is judged.

Times are in seconds and sizes in bytes; what could not be found out is None or empty.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpumon.rules.fit import Fit
from gpumon.workloads.slurm.gresindex import GresIndex


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramFacts:
    """This gpumon: its version, its folder, its Python, and what its missing extras are for."""

    version: str
    folder: Path
    python: str
    without: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """Who asks: the groups by name, and the kind of container around him, empty for none."""

    name: str
    uid: int
    groups: tuple[str, ...] = ()
    container: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class LibraryFacts:
    """The driver's library, and the kernel module that it must be of one version with.

    ``on_bus`` is how many GPUs of NVIDIA's the PCI bus has, None if there is no bus to look at.
    """

    path: str = ""
    problem: str = ""
    module: str = ""
    on_bus: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Driver:
    """What the driver answered, and how soon; or why it did not.

    ``absent`` says that there is none, rather than one that is sick.
    """

    version: str = ""
    gpus: int = 0
    up: int = 0
    seconds: float = 0.0
    problem: str = ""
    next_step: str = ""
    absent: bool = False
    on_bus: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class DeviceNodes:
    """The driver's device nodes, and those that this user may not open."""

    folder: Path
    nodes: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class KernelLogAccess:
    """Why the kernel's log cannot be read, empty if it can."""

    path: Path
    problem: str = ""
    container: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Agent:
    """What is at the agent's address.

    ``status`` and ``said`` are of its /-/ready, None if there is no HTTP reply; ``problem`` is why,
    ``nobody`` that the port is free. ``version`` is that of its gpumon_build_info.
    """

    url: str
    status: int | None = None
    said: str = ""
    version: str = ""
    problem: str = ""
    nobody: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class SlurmHere:
    """What Slurm's commands say on this machine, which it calls ``node``.

    ``problem`` is why they say nothing, ``json_problem`` why they write no JSON. ``hides_jobs``: it
    shows a user no jobs of others. ``devices`` is what its numbers of GPUs mean.
    """

    node: str
    version: str
    devices: GresIndex
    problem: str = ""
    json_problem: str = ""
    hides_jobs: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Jobs:
    """Which workload manager reports the jobs, as the agent says; empty if it does not.

    ``unresolved`` is how many hold GPUs that are not known, ``folder_problem`` why its folder has
    no job files.
    """

    manager: str = ""
    success: bool | None = None
    unresolved: int | None = None
    slurm: SlurmHere | None = None
    folder_problem: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Readings:
    """How many readings the agent left out as impossible, by quantity; None if there is none."""

    refused: Mapping[str, int] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class AlertFeeds:
    """Which alerts find nothing to read in what the agent serves.

    ``deaf`` has, by what is missing, the alerts that need it and the GPUs on which it is missing.
    ``alerts`` is how many were looked at, ``gpus`` how many GPUs respond; ``problem`` is why
    nothing is known.
    """

    gpus: int = 0
    alerts: int = 0
    deaf: Mapping[str, Mapping[str, Sequence[int]]] = dataclasses.field(default_factory=dict)
    problem: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """What ``systemctl show`` says of the unit; None if systemd does not run."""

    shown: Mapping[str, str] | None
    problem: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """The folder of the agent's memory, or where it would be made.

    ``owner`` is whose it is where it is not this user's.
    """

    folder: Path
    exists: bool
    writable: bool
    free: int | None
    owner: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ClockFacts:
    """Whether the clock is kept, by the kernel's word and by a daemon's; None is not known.

    ``error_seconds`` is the kernel's bound of how far off it is (adjtimex(2): maxerror), and
    ``offset_seconds`` how far ahead it is, as its keeper reckons.
    """

    kernel: bool | None = None
    error_seconds: float = 0.0
    daemon: str = ""
    by_daemon: bool | None = None
    offset_seconds: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Own:
    """How this machine's agent may be named in a target: host names, addresses, its port."""

    names: frozenset[str]
    addresses: frozenset[str]
    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class ServerReport:
    """Something that a server says of itself, or why it does not."""

    rows: Sequence[Mapping[str, Any]] = ()
    problem: str = ""
    next_step: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Prometheus:
    """What a Prometheus has, beside what it should have.

    ``skew_seconds`` is by how much this machine's clock is ahead of it; ``ours`` the names of the
    rules that ship, by their group; ``fit`` how its series fit them, or why that is not known.
    """

    url: str
    own: Own
    ours: Mapping[str, frozenset[str]]
    targets: ServerReport
    rules: ServerReport
    alertmanagers: ServerReport
    skew_seconds: float | None = None
    fit: Fit | ServerReport = dataclasses.field(default_factory=lambda: Fit(()))


@dataclasses.dataclass(frozen=True, slots=True)
class Grafana:
    """What a push of the dashboards would do, in a word for each."""

    url: str
    changes: tuple[str, ...]
