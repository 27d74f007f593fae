"""What stands in for a node's surroundings: its scheduler, its BMC, its state file."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from gpumon.host.node_power import NodePower, Sample
from gpumon.ledger.account import Account, JobAccount
from gpumon.ledger.ledger import OpenJob
from gpumon.model import Allocation, Denied, GpuReading, Holding, HostReading, Job
from gpumon.model.agent import BootInfo
from gpumon.model.origins import EVERY, Origins
from gpumon.simulate.clock import FleetClock
from gpumon.simulate.fleetplan import node_watts
from gpumon.simulate.jobs import Timeline

LATE_SECONDS = 60.0
"""A job that ended this long ago is still reported, so that it pays for its part of a tick."""

CPUS = 224
MEMORY_BYTES = 2 * 1024**4

CLOCK_OFFSET_SECONDS = 0.00002
"""What NTP leaves within one site."""

OTHER = Job(
    job_id="",
    user="zoe",
    account="guests",
    partition="train",
    name="another",
    manager="slurm",
)
"""The job of the fault ``other_job``, whose value is its id."""


@dataclasses.dataclass(frozen=True, slots=True)
class Lane:
    """Some GPUs of the node and the jobs that are given them."""

    timeline: Timeline
    gpus: tuple[int, ...]


class Forgetful:
    """A journal that nobody goes on from; see ``gpumon.ledger.ledger.Journal``."""

    def hourly(self, key: tuple[int, str, str, str], sums: tuple[int, int, int, int]) -> None:
        """Forget it."""

    def quarterly(self, quarter: int, millijoules: int, *, host: bool) -> None:
        """Forget it."""

    def account(self, account: Account) -> None:
        """Forget it."""

    def job_account(self, job: OpenJob, uuid: str, account: JobAccount) -> None:
        """Forget it."""

    def job(self, job: OpenJob, *, shown: bool) -> None:
        """Forget it."""

    def active_line(self, time: float, ratio: float) -> None:
        """Forget it."""

    def node(self, millijoules: int) -> None:
        """Forget it."""

    def commit(self, time: float) -> None:
        """Forget it."""


class Scheduler:
    """Slurm as the node's agent knows it; see ``gpumon.workloads.manager.Manager``."""

    name = "slurm"

    def __init__(self, lanes: Sequence[Lane], uuids: Sequence[str], clock: FleetClock) -> None:
        """Know the jobs of each lane.

        ``free`` are GPUs that are given to nobody all the same, ``given`` to other jobs, by id.
        """
        self._lanes = lanes
        self._uuids = uuids
        self._clock = clock
        self.errors = 0
        self.unresolved = 0
        self.silent = False
        self.free: frozenset[int] = frozenset()
        self.given: Mapping[int, str] = {}
        self._last: Allocation | None = None

    @property
    def success(self) -> bool:
        """Whether it answered last time."""
        return not self.silent

    def busy(self) -> bool:
        """Whether any job runs now."""
        now = self._clock.seconds()
        return any(lane.timeline.at(now) for lane in self._lanes)

    def allocation(
        self, gpus: Sequence[GpuReading], shown: Mapping[str, Job], time: float
    ) -> Allocation | None:
        """Return who holds what now, and who did a moment ago."""
        del gpus, shown
        if self.silent:
            self.errors += 1
            return self._last
        now, start = time - self._clock.start, self._clock.start
        jobs: dict[str, Job] = {}
        holdings: list[Holding] = []
        for lane in self._lanes:
            for span in lane.timeline.between(now - LATE_SECONDS, now):
                jobs[span.job.job_id] = span.job
                holdings += [
                    Holding(
                        job_id=span.job.job_id,
                        uuid=self._uuids[index],
                        since=start + span.begin,
                        until=start + span.end if span.end <= now else None,
                    )
                    for index in lane.gpus
                    if index not in self.free and index not in self.given
                ]
        for index, job_id in self.given.items():
            jobs[job_id] = dataclasses.replace(OTHER, job_id=job_id)
            holdings.append(Holding(job_id=job_id, uuid=self._uuids[index]))
        self._last = Allocation(jobs=jobs, holdings=tuple(holdings))
        return self._last

    async def run(self) -> None:
        """There is nothing to do beside the ticks."""


class SimHost:
    """The node beyond its GPUs, by a BMC that always answers; see ``gpumon.host.HostView``."""

    def __init__(self) -> None:
        """Start at zero joules; ``failing`` names a collector that fails."""
        self._power = NodePower()
        self.failing = ""

    def tick(self, now: float, gpu_watts: float) -> None:
        """Take note of what the GPUs draw at a moment of the fleet's monotonic clock."""
        measured = {} if self.failing == "ipmi" else {"ipmi": Sample(node_watts(gpu_watts), now)}
        self._power.update(now, measured, gpu_watts, None)

    def reading(self) -> HostReading:
        """Return what is known now."""
        now = self._power.now
        return HostReading(
            power_watts=None if now is None else {now[0]: now[1]},
            energy_joules=self._power.joules,
            cpus=CPUS,
            cpu_utilization_ratio=0.12,
            memory_total_bytes=MEMORY_BYTES,
            memory_available_bytes=MEMORY_BYTES * 3 // 4,
        )

    def origins(self) -> Origins:
        """Return that all of it is simulated."""
        return {EVERY: "simulated"}

    def node_watts(self) -> tuple[str, float] | None:
        """Return what the BMC measures."""
        now = self._power.now
        return None if now is None else (now[0][0], now[1])

    def collector_success(self) -> Mapping[str, int]:
        """Return 1 or 0 of each collector."""
        return {name: int(name != self.failing) for name in ("host", "ipmi")}

    def collector_seconds(self) -> Mapping[str, float]:
        """Return how long each took."""
        return {"host": 0.001, "ipmi": 0.4}

    def denied(self) -> tuple[Denied, ...]:
        """Return nothing: it may read everything."""
        return ()


class SimClock:
    """The node's clock, which chronyd keeps; see ``gpumon.server.clockwatch.ClockView``."""

    def __init__(self, node: str) -> None:
        """Start right; ``ahead`` is by how many seconds it is not."""
        self.ahead = 0.0
        self._boot = BootInfo(str(uuid.uuid5(uuid.NAMESPACE_DNS, node)))

    def reading(self) -> dict[str, Any]:
        """Return what the agent reports of it, by the fields of its reading."""
        return {
            "clock_synchronized": True,
            "clock_offset_seconds": self.ahead or CLOCK_OFFSET_SECONDS,
            "boot_info": self._boot,
        }
