"""Which pod holds which GPU, as the node's kubelet reports it."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gpumon.clock import SYSTEM, Clock, Schedule
from gpumon.errors import UnavailableError
from gpumon.model import Allocation, GpuReading, Holding, Job
from gpumon.workloads.held import holdings_of
from gpumon.workloads.kubernetes.podgpus import PodGpus, passed_over
from gpumon.workloads.kubernetes.podresources import PodDevices, list_pods

log = logging.getLogger(__name__)

MANAGER = "kubernetes"

POD_LOGS = Path("/var/log/pods")

PERIOD_SECONDS = 10.0
"""The kubelet takes a hundred requests a second to all who ask, together."""

_POD = re.compile(
    r"^\d+:[^:\n]*:(?:(?!user\.slice|user-\d)[^\n])*?kubepods[^\n]*?[/-]pod"
    r"([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
    r"(?:\.slice)?(?:/|$)",
    re.MULTILINE,
)
"""A pod's cgroup under the systemd driver (``kubepods-burstable-pod<uid>.slice``, ``_`` for ``-``)
and the cgroupfs driver (``/kubepods/burstable/pod<uid>``). A static pod's uid is its file's hash.
The first in a line counts: those below it are what the pod itself may have made. None below
``user.slice`` does: there users make cgroups of any name."""


class Kubernetes:
    """Which pod holds which GPU of this node; see ``gpumon.workloads.manager.Manager``.

    ``unknown`` are the devices that pods hold and that are none of this node's GPUs as far as is
    known.
    """

    name = MANAGER

    def __init__(
        self,
        socket: Path,
        *,
        logs: Path = POD_LOGS,
        proc: Path = Path("/proc"),
        period: float = PERIOD_SECONDS,
        deadline: float = 5.0,
        clock: Clock = SYSTEM,
    ) -> None:
        """Prepare to ask the kubelet at a socket; nothing is asked before ``run``."""
        self.errors = 0
        self.unresolved = 0
        self.unknown: tuple[str, ...] = ()
        self._socket = socket
        self._logs = logs
        self._proc = proc
        self._period = period
        self._deadline = deadline
        self._clock = clock
        self._gpus = PodGpus()
        self._pods: list[PodDevices] | None = None
        self._uids: dict[str, str] = {}
        self._owners: dict[int, str | None] = {}
        self._problem = ""
        self._passed: set[str] = set()

    @property
    def success(self) -> bool:
        """Whether the last request was answered."""
        return self._pods is not None and not self._problem

    def allocation(
        self, gpus: Sequence[GpuReading], shown: Mapping[str, Job], time: float
    ) -> Allocation | None:
        """Return which pod holds which GPU; the last known where the kubelet does not answer."""
        if self._pods is None:
            return None
        self._gpus.see(gpus)
        found = _resolve(self._pods, self._gpus)
        self._warn(found.unknown, gpus)
        self.unresolved = found.pods if gpus else 0
        told = found.allocation
        return dataclasses.replace(told, stale=self._problem, pids=self._whose(gpus, told.holdings))

    async def run(self) -> None:
        """Ask the kubelet, again and again, until cancelled."""
        schedule = Schedule(self._period, self._clock)
        while True:
            await asyncio.sleep(schedule.until_next())
            await self.ask()

    async def ask(self) -> None:
        """Ask the kubelet once."""
        try:
            pods = await list_pods(self._socket, self._deadline)
        except UnavailableError as error:
            if not self._problem:
                log.warning("%s", error)
            self._problem = error.problem
            self.errors += 1
            return
        if self._problem:
            log.info("the kubelet reports again which pods hold GPUs")
        self._problem = ""
        self._pods = [pod for pod in pods if pod.devices or pod.claimed]
        self._say_passed_over()
        self._uids = await asyncio.to_thread(pod_uids, self._logs)

    def _say_passed_over(self) -> None:
        """Log resources of NVIDIA's that are not taken for GPUs, once each."""
        new = {resource for pod in self._pods or () for resource in passed_over(pod)} - self._passed
        if new:
            log.warning(
                "pods have devices of %s, which are not known as GPUs: nobody pays for them; name "
                "the resource nvidia.com/gpu-…, or have the device plugin list UUIDs",
                ", ".join(sorted(new)[:8]),
            )
        self._passed |= new

    def _warn(self, unknown: tuple[str, ...], gpus: Sequence[GpuReading]) -> None:
        """Log devices that are not GPUs of this node, once."""
        if gpus and set(unknown) - set(self.unknown):
            log.warning(
                "pods hold %d devices that are not known as GPUs of this node: %s",
                len(unknown),
                ", ".join(unknown[:8]),
            )
        self.unknown = unknown

    def _whose(self, gpus: Sequence[GpuReading], held: Sequence[Holding]) -> dict[int, str]:
        """Return whose the processes are, on GPUs that several pods hold."""
        holders = collections.Counter(holding.uuid for holding in held)
        pids = {
            process.pid for gpu in gpus if holders[gpu.identity.uuid] > 1 for process in gpu.held_by
        }
        self._owners = {pid: self._owners.get(pid) or self._pod(pid) for pid in pids}
        return {pid: job_id for pid, job_id in self._owners.items() if job_id is not None}

    def _pod(self, pid: int) -> str | None:
        try:
            uid = pod_of((self._proc / str(pid) / "cgroup").read_text())
        except OSError:
            return None
        return self._uids.get(uid) if uid else None


def pod_uids(logs: Path) -> dict[str, str]:
    """Return ``namespace/name`` by uid of this node's pods; the socket does not report uids.

    The kubelet names each pod's folder of logs ``NAMESPACE_NAME_UID`` (kuberuntime's
    BuildPodLogsDirectory); names of pods have no underscore. Empty if there is no such folder.
    """
    found = {}
    try:
        for folder in logs.iterdir():
            namespace, _, rest = folder.name.partition("_")
            name, _, uid = rest.rpartition("_")
            if name:
                found[uid] = f"{namespace}/{name}"
    except OSError:
        return {}
    return found


def allocation(pods: Iterable[PodDevices], gpus: Sequence[GpuReading]) -> Allocation:
    """Return which of these pods holds which of these GPUs."""
    known = PodGpus()
    known.see(gpus)
    return _resolve(pods, known).allocation


class _Resolved(NamedTuple):
    """Who holds what; the devices that are not known, and how many pods have one."""

    allocation: Allocation
    unknown: tuple[str, ...]
    pods: int


def _resolve(pods: Iterable[PodDevices], gpus: PodGpus) -> _Resolved:
    jobs: dict[str, Job] = {}
    holdings: list[Holding] = []
    unknown: set[str] = set()
    unresolved = 0
    for pod in pods:
        job_id = f"{pod.namespace}/{pod.name}"
        places = []
        missing = []
        for name, place in gpus.places(pod):
            if place is None:
                missing.append(name)
            else:
                places.append(place)
        unknown.update(missing)
        unresolved += bool(missing)
        if places:
            jobs[job_id] = Job(
                job_id=job_id, partition=pod.namespace, name=pod.name, manager=MANAGER
            )
            holdings += holdings_of(job_id, places)
    told = Allocation(jobs=jobs, holdings=tuple(holdings))
    return _Resolved(told, tuple(sorted(unknown)), unresolved)


def pod_of(cgroup_text: str) -> str | None:
    """Return the uid of the pod a process belongs to, from its /proc/PID/cgroup; None: to none."""
    found = _POD.search(cgroup_text)
    return found[1].replace("_", "-") if found else None
