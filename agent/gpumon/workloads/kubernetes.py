"""Which pod holds which GPU, as the node's kubelet tells it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gpumon.clock import SYSTEM, Clock, Schedule
from gpumon.errors import UnavailableError
from gpumon.model import GpuReading
from gpumon.model.jobs import Allocation, Holding, Job
from gpumon.workloads.podgpus import Place, PodGpus
from gpumon.workloads.podresources import SOCKET, PodDevices, list_pods

__all__ = ["SOCKET", "Kubernetes", "PodDevices", "allocation", "list_pods", "pod_of"]

log = logging.getLogger(__name__)

PERIOD_SECONDS = 10.0
"""The kubelet answers a hundred requests a second to all who ask, together."""

_POD = re.compile(
    r"kubepods[^\n]*?[/-]pod"
    r"([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
    r"(?:\.slice)?(?:/|$)",
    re.MULTILINE,
)
"""A pod's cgroup under the systemd driver (``kubepods-burstable-pod<uid>.slice``, ``_`` for ``-``)
and the cgroupfs driver (``/kubepods/burstable/pod<uid>``). A static pod's uid is its file's hash.
The first in a line counts: those below it are what the pod itself may have made."""


class Kubernetes:
    """Follows which pods hold GPUs; belongs to the agent's event loop.

    ``success`` is whether the last request was answered, ``errors`` how many were not; ``unknown``
    are the devices that pods hold and that are none of this node's GPUs as far as is known.
    """

    def __init__(
        self,
        socket: Path = SOCKET,
        *,
        period: float = PERIOD_SECONDS,
        deadline: float = 5.0,
        clock: Clock = SYSTEM,
    ) -> None:
        """Prepare to ask the kubelet at a socket; nothing is asked before ``run``."""
        self.success = False
        self.errors = 0
        self.unknown: tuple[str, ...] = ()
        self._socket = socket
        self._period = period
        self._deadline = deadline
        self._clock = clock
        self._gpus = PodGpus()
        self._last = Allocation()
        self._failing = False

    async def run(
        self,
        update: Callable[[Allocation], None],
        gpus: Callable[[], Sequence[GpuReading]],
    ) -> None:
        """Tell ``update`` who holds what, again and again, until cancelled.

        Where the kubelet does not answer, what it said last is told again, as stale.
        """
        schedule = Schedule(self._period, self._clock)
        while True:
            await asyncio.sleep(schedule.until_next())
            try:
                pods = await list_pods(self._socket, self._deadline)
            except UnavailableError as error:
                self._failed(error)
            else:
                self._succeeded(pods, gpus())
            update(self._last)

    def _succeeded(self, pods: Sequence[PodDevices], gpus: Sequence[GpuReading]) -> None:
        if self._failing:
            log.info("the kubelet tells again which pods hold GPUs")
        self.success, self._failing = True, False
        self._gpus.see(gpus)
        self._last, unknown = _resolve(pods, self._gpus)
        if gpus and set(unknown) - set(self.unknown):
            log.warning(
                "pods hold %d devices that are not known as GPUs of this node: %s",
                len(unknown),
                ", ".join(unknown[:8]),
            )
        self.unknown = unknown

    def _failed(self, error: UnavailableError) -> None:
        if not self._failing:
            log.warning("%s", error)
        self.success, self._failing = False, True
        self.errors += 1
        self._last = dataclasses.replace(self._last, stale=error.problem)


def allocation(pods: Iterable[PodDevices], gpus: Sequence[GpuReading]) -> Allocation:
    """Tell which of these pods holds which of these GPUs."""
    known = PodGpus()
    known.see(gpus)
    return _resolve(pods, known)[0]


def _resolve(pods: Iterable[PodDevices], gpus: PodGpus) -> tuple[Allocation, tuple[str, ...]]:
    """Return who holds what, and the devices of which that is not known."""
    jobs: dict[str, Job] = {}
    holdings: list[Holding] = []
    unknown: set[str] = set()
    for pod in pods:
        job_id = f"{pod.namespace}/{pod.name}"
        places = []
        for name, place in gpus.places(pod):
            if place is None:
                unknown.add(name)
            else:
                places.append(place)
        if places:
            jobs[job_id] = Job(
                job_id=job_id, partition=pod.namespace, name=pod.name, manager="kubernetes"
            )
            holdings += _merged(job_id, places)
    return Allocation(jobs=jobs, holdings=tuple(holdings)), tuple(sorted(unknown))


def _merged(job_id: str, places: Iterable[Place]) -> list[Holding]:
    """Return one holding for each GPU of a job, of which it may have several parts."""
    held: dict[str, set[str]] = {}
    whole: set[str] = set()
    for place in places:
        held.setdefault(place.uuid, set()).update(place.mig_uuids)
        if not place.mig_uuids:
            whole.add(place.uuid)
    return [
        Holding(job_id=job_id, uuid=uuid, mig_uuids=() if uuid in whole else tuple(sorted(parts)))
        for uuid, parts in held.items()
    ]


def pod_of(cgroup_text: str) -> str | None:
    """Return the uid of the pod a process belongs to, from its /proc/PID/cgroup; None: to none."""
    found = _POD.search(cgroup_text)
    return found[1].replace("_", "-") if found else None
