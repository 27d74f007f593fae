"""The host's collectors together: each by itself, and one power of the whole node."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gpumon.host import Host
from gpumon.host.collector import DeniedError
from gpumon.host.hwmon import MeteredPower
from gpumon.host.node_power import NodePower, Sample
from gpumon.host.rapl import CpuEnergy
from gpumon.model import Denied
from tests.support.clock import FakeClock


def energy(power: NodePower) -> dict[str, float]:
    """Return joules by method and source."""
    return {" ".join(known): joules for known, joules in (power.joules or {}).items()}


def test_what_is_measured_comes_before_what_is_estimated() -> None:
    """The BMC, then a meter, then the parts that are known, named; GPUs alone are no node."""
    power = NodePower(overhead_watts=1200)
    power.update(0, {"ipmi": Sample(9000, 0), "hwmon": Sample(8000, 0)}, 5000, 600)
    assert power.now == (("measured", "ipmi"), 9000)
    power.update(70, {"ipmi": Sample(9000, 0), "hwmon": Sample(8000, 65)}, 5000, 600)
    assert power.now == (("measured", "hwmon"), 8000)
    power.update(140, {"ipmi": Sample(9000, 0)}, 5000, 600)
    assert power.now == (("estimated", "gpus+cpus+overhead"), 6800)
    power.update(141, {}, 5000, None)
    assert power.now == (("estimated", "gpus+overhead"), 6200)
    power.update(142, {}, None, 600)
    assert power.now is None
    bare = NodePower()
    bare.update(0, {}, 5000, None)
    assert bare.now is None
    assert bare.joules is None


def test_joules_add_up_over_a_change_of_method() -> None:
    """Each second is counted once, by what was in force; a hole of a minute adds nothing."""
    power = NodePower(overhead_watts=0)
    for second in range(11):
        power.update(second, {}, 1000, 100)
    for second in range(11, 21):
        power.update(second, {"ipmi": Sample(2000, second)}, 1000, 100)
    assert energy(power) == {"estimated gpus+cpus+overhead": 11_000, "measured ipmi": 20_000}
    power.update(100, {"ipmi": Sample(2000, 100)}, 1000, 100)
    power.update(101, {"ipmi": Sample(4000, 101)}, 1000, 100)
    assert energy(power)["measured ipmi"] == 23_000


class Scripted:
    """A collector that does as it is told."""

    def __init__(self, name: str, act: Callable[[], Any], deadline: float = 5.0) -> None:
        """Keep the name and what to do."""
        self.name = name
        self.period = 0.001
        self.deadline = deadline
        self.runs = 0
        self._act = act

    def collect(self) -> Any:
        """Do it."""
        self.runs += 1
        return self._act()


def run(host: Host, until: Callable[[], bool]) -> None:
    """Run a host's collectors until a condition holds."""

    async def body() -> None:
        task = asyncio.create_task(host.run(lambda: 1000.0))
        for _ in range(20_000):
            if until():
                break
            await asyncio.sleep(0.001)
        else:
            pytest.fail("waited in vain")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(body())


def fail() -> None:
    """Fail as a collector does."""
    raise OSError("no such sensor")


def test_one_that_fails_costs_the_others_nothing_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its last word stands until it is too old; its failure is on its own label."""
    bad, good = (
        Scripted("ipmi", fail),
        Scripted("rapl", lambda: CpuEnergy({("0", "package"): 5}, 9)),
    )
    host = Host(collectors=(bad, good))
    run(host, lambda: bad.runs > 3 and good.runs > 3)
    assert host.collector_success() == {"ipmi": 0, "rapl": 1}
    assert host.reading().cpu_energy_joules == {("0", "package"): 5}
    assert caplog.text.count("no such sensor") == 1


def test_one_that_hangs_is_reported_and_never_run_twice() -> None:
    """The others go on, and it comes back when its call returns."""
    go_on = threading.Event()

    def hang() -> float:
        go_on.wait(20)
        return 500.0

    stuck, good = Scripted("ipmi", hang, deadline=0.01), Scripted("host", lambda: None)
    other = Scripted("rapl", lambda: CpuEnergy({}, 9))
    host = Host(collectors=(stuck, good, other))

    def reported() -> bool:
        if host.collector_success().get("ipmi") == 0 and other.runs > 20:
            assert stuck.runs == 1
            go_on.set()
        return stuck.runs > 1 and host.collector_success().get("ipmi") == 1

    run(host, reported)
    host.tick(1000.0)
    assert host.reading().power_watts == {("measured", "ipmi"): 500.0}


def test_one_whose_hardware_is_not_there_is_silent() -> None:
    """No label, no reading, and it is looked for again only now and then."""
    absent, other = Scripted("hwmon", lambda: None), Scripted("rapl", lambda: CpuEnergy({}, 9))
    host = Host(collectors=(absent, other))
    run(host, lambda: other.runs > 20)
    assert absent.runs == 1
    assert host.collector_success() == {"rapl": 1}


def test_one_that_may_not_read_is_listed_with_what_it_needs() -> None:
    """Not a failure of anything: a right that was not given."""
    denied = Denied("reading", "a right", "how to give it")

    def refuse() -> None:
        raise DeniedError(denied)

    host = Host(collectors=(Scripted("rapl", refuse),))
    run(host, lambda: bool(host.denied()))
    assert host.denied() == (denied,)
    assert host.collector_success() == {}


def test_graces_sockets_are_the_cpus_of_an_estimate() -> None:
    """Where the modules are not metered."""
    host = Host(
        collectors=(Scripted("hwmon", lambda: MeteredPower(None, "hwmon", 98.0)),),
        clock=FakeClock(),
    )
    run(host, lambda: host.reading().power_watts is not None)
    assert host.reading().power_watts == {("estimated", "gpus+cpus"): 1098.0}


def test_this_machine_can_be_read() -> None:
    """The real collectors, on whatever this is: CPUs and memory at least."""
    host = Host()
    run(host, lambda: host.reading().memory_total_bytes is not None)
    reading = host.reading()
    assert reading.cpus
    assert 0 < (reading.memory_available_bytes or 0) <= (reading.memory_total_bytes or 0)
    assert host.collector_success()["host"] == 1
