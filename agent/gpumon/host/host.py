"""The host's collectors, each on its own schedule, none of which can hold up another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpumon.clock import SYSTEM, Clock, Schedule
from gpumon.host.basics import Basics, HostBasics
from gpumon.host.collector import Collector, DeniedError
from gpumon.host.hwmon import Hwmon, MeteredPower
from gpumon.host.ipmi import Ipmi
from gpumon.host.node_power import NodePower, Sample
from gpumon.host.rapl import CpuEnergy, Rapl
from gpumon.model import Denied, HostReading

log = logging.getLogger(__name__)

ABSENT_SECONDS = 60.0
"""How often hardware that is not there, or may not be read, is looked for again."""

FRESH_SECONDS = 60.0
"""What a collector said is told for this long after its last success."""

LONGEST_BACK_OFF = 300.0
"""A collector that keeps failing (a BMC that is stuck) is not asked more often than this."""


class Host:
    """What is known of the host now; belongs to the agent's event loop."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        overhead_watts: float | None = None,
        clock: Clock = SYSTEM,
        collectors: Sequence[Collector] | None = None,
    ) -> None:
        """Prepare to read the host whose files lie below a root; nothing runs before ``run``."""
        if collectors is None:
            collectors = (Rapl(root, clock), Hwmon(root), Ipmi(root), Basics())
        self._runs = [_Run(collector, clock) for collector in collectors]
        self._power = NodePower(overhead_watts)
        self._clock = clock

    async def run(self, gpu_watts: Callable[[], float | None]) -> None:
        """Run every collector on its schedule, until cancelled.

        ``gpu_watts`` tells what the node's GPUs draw together at the moment.
        """
        await asyncio.gather(self._integrate(gpu_watts), *(run.forever() for run in self._runs))

    async def _integrate(self, gpu_watts: Callable[[], float | None]) -> None:
        schedule = Schedule(1.0, self._clock)
        while True:
            self.tick(gpu_watts())
            await asyncio.sleep(schedule.until_next())

    def tick(self, gpu_watts: float | None) -> None:
        """Go on integrating the node's power; ``gpu_watts`` is what its GPUs draw together."""
        now = self._clock.monotonic()
        cpu = self._told("rapl", CpuEnergy)
        meters = self._told("hwmon", MeteredPower)
        cpu_watts = cpu.watts if cpu else None
        if meters is not None and meters.cpu_watts is not None:
            cpu_watts = meters.cpu_watts
        self._power.update(now, self._measured(), gpu_watts, cpu_watts)

    def reading(self) -> HostReading:
        """Return what is known now."""
        basics = self._told("host", HostBasics)
        cpu = self._told("rapl", CpuEnergy)
        now = self._power.now
        return HostReading(
            power_watts=None if now is None else {now[0]: now[1]},
            energy_joules=self._power.joules,
            cpu_energy_joules=cpu.joules if cpu else None,
            **(basics._asdict() if basics else {}),
        )

    def collector_success(self) -> dict[str, int]:
        """Return 1 or 0 of each collector whose hardware is, or was, there."""
        return {run.collector.name: int(run.works) for run in self._runs if run.works is not None}

    def collector_seconds(self) -> dict[str, float]:
        """Return how long each collector's last run took."""
        return {run.collector.name: run.seconds for run in self._runs if run.works is not None}

    def denied(self) -> tuple[Denied, ...]:
        """Return what this user may not read."""
        return tuple(run.denied for run in self._runs if run.denied is not None)

    def _measured(self) -> dict[str, Sample]:
        """Return the measurements of the whole node by source, the best first."""
        found: dict[str, Sample] = {}
        for run in self._runs:
            if isinstance(run.told, float):
                found["ipmi"] = Sample(run.told, run.told_at)
        for run in self._runs:
            if isinstance(run.told, MeteredPower) and run.told.node_watts is not None:
                found[run.told.source] = Sample(run.told.node_watts, run.told_at)
        return found

    def _told(self, name: str, kind: type) -> Any:
        """Return what a collector told last, where that is recent."""
        now = self._clock.monotonic()
        return next(
            (
                run.told
                for run in self._runs
                if run.collector.name == name
                and isinstance(run.told, kind)
                and now - run.told_at <= FRESH_SECONDS
            ),
            None,
        )


class _Run:
    """One collector, run again and again, each time in a thread that nobody has to wait for."""

    def __init__(self, collector: Collector, clock: Clock) -> None:
        self.collector = collector
        self.told: Any = None
        self.told_at = 0.0
        self.seconds = 0.0
        self.works: bool | None = None
        self.denied: Denied | None = None
        self._clock = clock
        self._failures = 0

    async def forever(self) -> None:
        while True:
            began = self._clock.monotonic()
            there = await self._once()
            self.seconds = round(self._clock.monotonic() - began, 6)
            period = self.collector.period if there else ABSENT_SECONDS
            if self._failures:
                period = min(period * 2 ** min(self._failures - 1, 10), LONGEST_BACK_OFF)
            await asyncio.sleep(max(0.0, period - self.seconds))

    async def _once(self) -> bool:
        """Run the collector once; tell whether its hardware is there."""
        outcome = _start(self.collector)
        try:
            told = await asyncio.wait_for(asyncio.shield(outcome), self.collector.deadline)
        except asyncio.TimeoutError:
            self._failed(f"no answer within {self.collector.deadline:g} s")
            # Never two at once: the next run waits for this one, however long that takes.
            with contextlib.suppress(Exception):
                await outcome
            return True
        except DeniedError as error:
            if self.denied is None:
                log.info("%s: %s", error, error.denied.grant)
            self.denied = error.denied
            return False
        except Exception as error:  # noqa: BLE001 - one collector must not end the others
            self._failed(str(error) or type(error).__name__)
            return True
        self.denied = None
        if told is None:
            self.works = None if self.works is None else False
            return False
        if self.works is False:
            log.info("collector %s works again", self.collector.name)
        self.works, self._failures = True, 0
        self.told, self.told_at = told, self._clock.monotonic()
        return True

    def _failed(self, reason: str) -> None:
        if self.works is not False:
            log.warning("collector %s fails: %s", self.collector.name, reason)
        self.works = False
        self._failures += 1


def _start(collector: Collector) -> asyncio.Future[Any]:
    """Run a collector in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()

    def settle(told: Any, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(told)
        else:
            outcome.set_exception(error)

    def work() -> None:
        told, failure = None, None
        try:
            told = collector.collect()
        except Exception as error:  # noqa: BLE001 - it is passed on
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, told, failure)

    threading.Thread(target=work, name=f"collector {collector.name}", daemon=True).start()
    return outcome
