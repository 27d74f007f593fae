"""The host's collectors, each on its own schedule, none of which can hold up another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpumon.clock import SYSTEM, Clock, Schedule
from gpumon.host.basics import Basics, HostBasics
from gpumon.host.collector import AbsentError, Collector, DeniedError
from gpumon.host.hwmon import Hwmon, MeteredPower
from gpumon.host.ipmi import Ipmi
from gpumon.host.node_power import NodePower, Sample
from gpumon.host.origins import host_origins
from gpumon.host.rapl import CpuEnergy, Rapl
from gpumon.model import Denied, HostReading
from gpumon.model.origins import Origins
from gpumon.refusals import Refusals

log = logging.getLogger(__name__)

ABSENT_SECONDS = 60.0
"""How often hardware that is not there, or may not be read, is looked for again."""

FRESH_SECONDS = 60.0
"""What a collector read is shown for this long after its last success."""

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
        refusals: Refusals | None = None,
    ) -> None:
        """Prepare to read the host whose files lie below a root; nothing runs before ``run``.

        ``refusals`` counts the readings that cannot be.
        """
        refusals = refusals or Refusals()
        self._ipmi = Ipmi(root, refusals=refusals)
        if collectors is None:
            rapl, hwmon = Rapl(root, clock, refusals), Hwmon(root, refusals)
            collectors = (rapl, hwmon, self._ipmi, Basics(refusals))
        self._runs = {collector.name: _Run(collector, clock) for collector in collectors}
        self._power = NodePower(overhead_watts)
        self._clock = clock

    async def run(self, gpu_watts: Callable[[], float | None]) -> None:
        """Run every collector on its schedule, until cancelled.

        ``gpu_watts`` returns what the node's GPUs draw together at the moment.
        """
        runs = (run.forever() for run in self._runs.values())
        await asyncio.gather(self._integrate(gpu_watts), *runs)

    async def _integrate(self, gpu_watts: Callable[[], float | None]) -> None:
        schedule = Schedule(1.0, self._clock)
        while True:
            self.tick(gpu_watts())
            await asyncio.sleep(schedule.until_next())

    def tick(self, gpu_watts: float | None) -> None:
        """Go on integrating the node's power; ``gpu_watts`` is what its GPUs draw together."""
        now = self._clock.monotonic()
        cpu: CpuEnergy | None = self._read("rapl")
        meters: MeteredPower | None = self._read("hwmon")
        cpu_watts = cpu.watts if cpu else None
        if meters is not None and meters.cpu_watts is not None:
            cpu_watts = meters.cpu_watts
        self._power.update(now, self._measured(), gpu_watts, cpu_watts)

    def reading(self) -> HostReading:
        """Return what is known now."""
        basics: HostBasics | None = self._read("host")
        cpu: CpuEnergy | None = self._read("rapl")
        now = self._power.now
        return HostReading(
            power_watts=None if now is None else {now[0]: now[1]},
            energy_joules=self._power.joules,
            cpu_energy_joules=cpu.joules if cpu else None,
            **(basics._asdict() if basics else {}),
        )

    def origins(self) -> Origins:
        """Return where the readings come from."""
        return host_origins(self._power.joules or (), self._ipmi.flag)

    def node_watts(self) -> tuple[str, float] | None:
        """Return by what method the node's power is known now, and in watts; or None."""
        now = self._power.now
        return None if now is None else (now[0][0], now[1])

    def collector_success(self) -> dict[str, int]:
        """Return 1 or 0 of each collector whose hardware is, or was, there."""
        return {name: int(run.works) for name, run in self._runs.items() if run.works is not None}

    def collector_seconds(self) -> dict[str, float]:
        """Return how long each collector's last run took."""
        return {name: run.seconds for name, run in self._runs.items() if run.works is not None}

    def denied(self) -> tuple[Denied, ...]:
        """Return what this user may not read."""
        return tuple(run.denied for run in self._runs.values() if run.denied)

    def _measured(self) -> dict[str, Sample]:
        """Return the measurements of the whole node by source, the best first."""
        found = {}
        watts: float | None = self._read("ipmi")
        if watts is not None:
            found["ipmi"] = Sample(watts, self._runs["ipmi"].read_at)
        meters: MeteredPower | None = self._read("hwmon")
        if meters is not None and meters.node_watts is not None:
            found[meters.source] = Sample(meters.node_watts, self._runs["hwmon"].read_at)
        return found

    def _read(self, name: str) -> Any:
        """Return what a collector read last, if it is there and that is recent; else None."""
        run = self._runs.get(name)
        if run is None or self._clock.monotonic() - run.read_at > FRESH_SECONDS:
            return None
        return run.read


class _Outcome(NamedTuple):
    """What came of one run: what the collector read, or why it could not."""

    read: Any = None
    error: Exception | None = None


class _Run:
    """One collector, run again and again, each time in a thread that nobody has to wait for.

    ``works`` is None as long as nothing was ever seen of its hardware.
    """

    def __init__(self, collector: Collector, clock: Clock) -> None:
        self.collector = collector
        self.read: Any = None
        self.read_at = 0.0
        self.seconds = 0.0
        self.works: bool | None = None
        self.denied: Denied | None = None
        self._clock = clock
        self._failures = 0
        self._ever = False
        self._absent = ""

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
        """Run the collector once; return whether its hardware is there and may be read."""
        try:
            running = _start(self.collector)
        except RuntimeError as no_thread:  # the system gives no more of them
            self._failed(str(no_thread))
            return True
        done, _ = await asyncio.wait({running}, timeout=self.collector.deadline)
        if not done:
            self._failed(f"no answer within {self.collector.deadline:g} s")
            # Never two at once: the next run waits for this one, however long that takes.
            await asyncio.wait({running})
            return True
        return self._take(*running.result())

    def _take(self, read: Any, error: Exception | None) -> bool:
        """Take in what came of a run; return whether to run again after the usual time."""
        if isinstance(error, DeniedError):
            self._refused(error)
            return False
        if isinstance(error, AbsentError):
            self._gone(str(error))
            return self._ever  # it may be back with the next look
        if error is not None:
            self._failed(str(error) or type(error).__name__)
            return True
        if read is None:
            self._gone()
            return False
        self._succeeded(read)
        return True

    def _succeeded(self, read: Any) -> None:
        if self.denied is not None:
            log.info("collector %s: may be read now", self.collector.name)
        elif self.works is False:
            log.info("collector %s works again", self.collector.name)
        self.works, self.denied, self._failures = True, None, 0
        self._ever, self._absent = True, ""
        self.read, self.read_at = read, self._clock.monotonic()

    def _failed(self, reason: str) -> None:
        if self.works is not False or self.denied is not None:
            log.warning("collector %s fails: %s", self.collector.name, reason)
        self.works, self.denied = False, None
        self._failures += 1

    def _refused(self, error: DeniedError) -> None:
        """Take in that this user may not read it: a failure only if it once could."""
        if self.denied != error.denied:
            log.info("%s: %s", error, error.denied.grant)
        self.works = False if self._ever else None
        self.denied, self._failures = error.denied, 0

    def _gone(self, reason: str = "") -> None:
        """Take in that its hardware is not there: a failure only if it once was."""
        if self.works:
            reason = reason or "its hardware is gone"
            log.warning("collector %s fails: %s", self.collector.name, reason)
        elif not self._ever and reason and reason != self._absent:
            log.info("collector %s: %s", self.collector.name, reason)
        self._absent = reason
        self.works = False if self._ever else None
        self.denied, self._failures = None, 0


def _start(collector: Collector) -> asyncio.Future[_Outcome]:
    """Run a collector in a thread that does not keep the process from ending.

    Raises RuntimeError if the system has no more threads.
    """
    loop = asyncio.get_running_loop()
    running: asyncio.Future[_Outcome] = loop.create_future()

    def settle(outcome: _Outcome) -> None:
        if not running.done():  # cancelled, when the agent ends
            running.set_result(outcome)

    def work() -> None:
        try:
            outcome = _Outcome(read=collector.collect())
        except Exception as error:  # noqa: BLE001 - it is passed on
            outcome = _Outcome(error=error)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, name=f"collector {collector.name}", daemon=True).start()
    return running
