"""The host's collectors together: each by itself, and one power of the whole node."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpumon.host import Host
from gpumon.host.collector import AbsentError, DeniedError
from gpumon.host.hwmon import MeteredPower
from gpumon.host.node_power import NodePower, Sample
from gpumon.host.rapl import CpuEnergy
from gpumon.model import Denied
from gpumon.refusals import Refusals
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


def test_a_short_hole_is_bridged_and_a_long_one_is_not() -> None:
    """While nothing is known no power is told, and its joules are added when it is known again."""
    power = NodePower(overhead_watts=0)
    power.update(0, {}, 1000, None)
    power.update(1, {}, None, None)
    assert power.now is None
    assert energy(power) == {"estimated gpus+overhead": 0}
    power.update(10, {}, 3000, None)
    assert energy(power) == {"estimated gpus+overhead": 20_000}
    power.update(71, {}, 3000, None)
    assert energy(power) == {"estimated gpus+overhead": 20_000}


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
        reported_failed = host.collector_success().get("ipmi") == 0
        if not go_on.is_set() and reported_failed and other.runs > 20:
            assert stuck.runs == 1
            stuck.deadline = 20.0  # what answers at once may take long where the machine is busy
            go_on.set()
        return stuck.runs > 1 and host.collector_success().get("ipmi") == 1

    run(host, reported)
    host.tick(1000.0)
    assert host.reading().power_watts == {("measured", "ipmi"): 500.0}


def test_its_end_is_said_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is two lines, however long it takes: its beginning with the reason, its end."""
    caplog.set_level(logging.INFO)
    answers = iter([1.0, None, None, 2.0])

    def act() -> float:
        told = next(answers, 3.0)
        if told is None:
            raise OSError("no such sensor")
        return told

    host = Host(collectors=(Scripted("ipmi", act),))
    run(host, lambda: "works again" in caplog.text)
    assert caplog.messages == [
        "collector ipmi fails: no such sensor",
        "collector ipmi works again",
    ]


def test_without_a_thread_to_be_had_the_collectors_go_on_trying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node at its limit of processes fails this collector, and nothing else."""
    starts = []
    really_start = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("collector"):
            starts.append(thread)
            if len(starts) < 3:
                raise RuntimeError("can't start new thread")
        really_start(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    host = Host(collectors=(Scripted("ipmi", lambda: 5.0),))
    seen = set()

    def worked() -> bool:
        seen.update(host.collector_success().items())
        return ("ipmi", 1) in seen

    run(host, worked)
    assert seen == {("ipmi", 0), ("ipmi", 1)}


def test_one_that_hangs_does_not_keep_the_agent_from_ending() -> None:
    """A thread in a call that never returns is left behind."""
    program = """
import asyncio, threading
from gpumon.host import Host

class Hung:
    name, period, deadline = "ipmi", 1.0, 60.0
    def collect(self):
        began.set()
        threading.Event().wait()

async def main():
    task = asyncio.create_task(Host(collectors=(Hung(),)).run(lambda: None))
    await asyncio.to_thread(began.wait)
    task.cancel()

began = threading.Event()
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


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


def test_a_right_that_is_taken_away_is_a_failure_of_what_had_it() -> None:
    """What it told before is no sign that it still works."""
    answers = iter([True, False])

    def act() -> float:
        if next(answers, False):
            return 5.0
        raise DeniedError(Denied("reading", "a right", "how to give it"))

    host = Host(collectors=(Scripted("ipmi", act),))
    run(host, lambda: bool(host.denied()))
    assert host.collector_success() == {"ipmi": 0}


def test_hardware_that_goes_away_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """It was there once, so its label stays."""
    answers = iter([5.0])
    host = Host(collectors=(Scripted("ipmi", lambda: next(answers, None)),))
    run(host, lambda: host.collector_success() == {"ipmi": 0})
    assert "its hardware is gone" in caplog.text


def test_a_bmc_that_cannot_measure_never_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Not even if it was busy at first: nothing fires on such a node, and why is said once."""
    caplog.set_level(logging.INFO)
    looks = iter([OSError("busy"), *[AbsentError("the BMC reports 0 W")] * 5])

    def act() -> float:
        raise next(looks, AbsentError("the BMC reports 0 W"))

    bmc = Scripted("ipmi", act)
    host = Host(collectors=(bmc,))
    run(host, lambda: bmc.runs > 1 and host.collector_success() == {})
    assert host.node_watts() is None
    assert caplog.text.count("the BMC reports 0 W") == 1


def test_a_bmc_that_measured_and_cannot_any_longer_fails() -> None:
    """Until it can again, which is looked for at the usual times."""
    looks = iter([500.0, None, None, 600.0])

    def act() -> float:
        watts = next(looks, 600.0)
        if watts is None:
            raise AbsentError("the BMC reports 65535 W, which no node draws")
        return watts

    host = Host(collectors=(Scripted("ipmi", act),))
    seen = []

    def done() -> bool:
        seen.append(host.collector_success().get("ipmi"))
        return 0 in seen and seen[-1] == 1

    run(host, done)


def test_the_bmcs_own_doubt_is_said_with_its_watts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the value is from; and what was refused is counted."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "ipmi0").touch()
    (tmp_path / "bin").mkdir()
    reply = tmp_path / "reply"
    reply.write_text((Path(__file__).parent / "openbmc-deactivated.txt").read_text())
    program = tmp_path / "bin" / "ipmitool"
    program.write_text(f"#!/bin/sh\n/bin/cat {reply}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    host = Host(tmp_path)
    run(host, lambda: host.reading().power_watts is not None)
    assert host.reading().power_watts == {("measured", "ipmi"): 360.0}
    assert "deactivated" in host.origins()["power_watts.measured.ipmi"]
    assert host.collector_success()["ipmi"] == 1
    reply.write_text(reply.read_text().replace("360", "65535"))
    refusals = Refusals()
    host = Host(tmp_path, refusals=refusals)
    run(host, lambda: refusals.counts == {"node_power": 1})
    assert "ipmi" not in host.collector_success()


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
