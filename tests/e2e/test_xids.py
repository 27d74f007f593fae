"""Xids through the running agent: from the driver and the kernel log, once each, and kept."""

from __future__ import annotations

import datetime as dt
import functools
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver, profiles
from tests.kernellog.expected import SXIDS, XIDS
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e

LINES = Path(__file__).parents[1] / "kernellog" / "xids.log"


def counts(agent: Agent) -> dict[int, dict[int, int]]:
    """Return the Xids by GPU and code, as they are exposed."""
    found: dict[int, dict[int, int]] = {}
    for labels, value in Exposition(agent.metrics()).all("gpumon_gpu_xid_errors_total").items():
        of = dict(labels)
        found.setdefault(int(of["gpu"]), {})[int(of["xid"])] = int(value)
    return found


def has_counted(agent: Agent, expected: dict[int, dict[int, int]]) -> bool:
    """Return whether an agent has counted just these."""
    return counts(agent) == expected


def line(gpu: int, xid: int, text: str = "text") -> str:
    """Return a line of the kernel's log."""
    pci = str(profiles.identity(gpu)["pci_bus_id"])[4:-2].lower()
    return f"[ 1234.567890] NVRM: Xid (PCI:{pci}): {xid}, pid=42, name=python3, {text}\n"


def write(path: Path, text: str) -> None:
    """Append to a log."""
    with path.open("a") as file:
        file.write(text)


def kill(agent: Agent) -> None:
    """End an agent at once, as the out-of-memory killer does."""
    os.kill(agent.process.pid, signal.SIGKILL)
    agent.process.wait(10)


def test_a_log_of_every_form_is_counted_exactly_and_survives_kill_9(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Neither vanished nor doubled, twice; and what is written while no agent runs is counted."""
    log = tmp_path / "kern.log"
    shutil.copy(LINES, log)
    with run_agent(tmp_path, "nvml", "--kernel-log", str(log), env=driver.env()) as agent:
        wait_for(lambda: counts(agent) == XIDS, 10, "every line")
        seen = Exposition(agent.metrics())
        switches = seen.all("gpumon_nvswitch_sxid_errors_total")
        assert {
            tuple(dict(k)[n] for n in ("nvswitch", "pci_bus_id", "sxid", "severity")): v
            for k, v in switches.items()
        } == SXIDS
        classes = seen.all(
            "gpumon_gpu_xid_events_total", gpu="4", uuid=profiles.identity(4)["uuid"]
        )
        assert {k: v for ((_, k),), v in classes.items()} == {
            "application": 0,
            "driver": 1,
            "hardware": 1,
        }
        assert "gpumon_unattributed_xids 0" in agent.metrics()
        assert agent.log.count('msg="Xid 94 on ') == 2
        assert "process=infer" in agent.log
        kill(agent)
    write(log, line(0, 13))
    with run_agent(tmp_path, "nvml", "--kernel-log", str(log), env=driver.env()) as agent:
        expected = {**XIDS, 0: {**XIDS[0], 13: 3}}
        wait_for(lambda: counts(agent) == expected, 10, "the counts and one more")
        write(log, line(0, 13))
        expected[0][13] = 4
        wait_for(lambda: counts(agent) == expected, 10, "one more")
        kill(agent)
    with run_agent(tmp_path, "nvml", "--kernel-log", str(log), env=driver.env()) as agent:
        wait_for(lambda: counts(agent) == expected, 10, "the counts again")
        document = agent.get("/api/v1/snapshot").json()
        assert document["gpus"][5]["xid_errors"]["79"] == 2
        assert document["gpus"][5]["xid_last_timestamp_seconds"]["79"] > 1e9


def test_a_gpu_that_falls_off_the_bus_is_heard_in_every_log(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """As it is written live: one record of three lines, with the right GPU and the right time."""
    log = tmp_path / "kern.log"
    log.touch()
    cases = LINES.parent
    as_rsyslog = [
        "2026-02-14T05:03:42.5+01:00 n1 kernel: NVRM: The NVIDIA GPU 0000:b3:00.0",
        "NVRM: (PCI ID: 10de:26b5) installed in this system has",
        "NVRM: fallen off the bus and is not responding to commands.\n",
    ]
    of_file = {
        0: (cases / "fallen-kmsg.log").read_text(),
        1: (cases / "fallen-journalctl.log").read_text(),
        2: "#012".join(as_rsyslog),
    }
    forged = f"{line(5, 31, 'x')[:-1]}#012NVRM: GPU 0000:10:00.0: GPU has fallen off the bus.\n"
    with run_agent(tmp_path, "nvml", "--kernel-log", str(log), env=driver.env()) as agent:
        expected: dict[int, dict[int, int]] = {}
        for gpu, text in of_file.items():
            pci = str(profiles.identity(gpu)["pci_bus_id"])[4:-2].lower()
            write(log, text.replace("0000:b3:00", pci) + forged)
            expected = {**expected, gpu: {79: 1}, 5: {31: gpu + 1}}
            wait_for(functools.partial(has_counted, agent, expected), 10, f"GPU {gpu}")
        last = Exposition(agent.metrics()).value(
            "gpumon_gpu_xid_last_timestamp_seconds", gpu="2", xid="79"
        )
        assert last == dt.datetime(2026, 2, 14, 4, 3, 42, 500_000, dt.timezone.utc).timestamp()


def test_the_same_xid_by_the_driver_and_by_the_log_counts_once(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """And what only the driver tells, or tells twice, counts as often as it is told."""
    log = tmp_path / "kern.log"
    log.touch()
    with run_agent(tmp_path, "nvml", "--kernel-log", str(log), env=driver.env()) as agent:
        collectors = "gpumon_collector_success"
        wait_for(
            lambda: Exposition(agent.metrics()).all(collectors, collector="events"),
            10,
            "the driver's events",
        )
        driver.raise_xid(3, 31)
        write(log, line(3, 31, "MMU Fault"))
        wait_for(lambda: counts(agent) == {3: {31: 1}}, 5, "the Xid")
        driver.raise_xid(3, 13)
        driver.raise_xid(3, 13)
        wait_for(lambda: counts(agent) == {3: {31: 1, 13: 2}}, 5, "two of the driver alone")
        write(log, line(5, 63))
        wait_for(lambda: counts(agent) == {3: {31: 1, 13: 2}, 5: {63: 1}}, 5, "one of the log")
        assert agent.log.count('msg="Xid 31 on GPU 3') == 1


def test_after_a_kill_the_other_source_still_tells_of_the_same(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Counted by the driver's word, killed, and the log's line of it read by the next agent."""
    log = tmp_path / "pipe"
    log.touch()
    with run_agent(tmp_path, "nvml", "--kernel-log", str(log), env=driver.env()) as agent:
        wait_for(
            lambda: Exposition(agent.metrics()).all("gpumon_collector_success", collector="events"),
            10,
            "the driver's events",
        )
        driver.raise_xid(2, 48)
        wait_for(lambda: counts(agent) == {2: {48: 1}}, 5, "the Xid")
        stamp = Exposition(agent.metrics()).all("gpumon_gpu_xid_last_timestamp_seconds")
        (time,) = stamp.values()
        kill(agent)

    moment = dt.datetime.fromtimestamp(time, dt.timezone.utc).isoformat(timespec="seconds")
    bare = line(2, 48).partition("] ")[2]
    write(log, f"{moment} node17 kernel: {bare}")
    with run_agent(tmp_path, "nvml", "--kernel-log", str(log), env=driver.env()) as agent:
        write(log, line(2, 13))
        wait_for(lambda: counts(agent) == {2: {48: 1, 13: 1}}, 10, "one of each")


def test_a_gsp_time_out_in_the_log_stops_the_polling_of_that_gpu(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Each call would stand still and hold up the others; letting go for a reset begins anew."""
    pipe = tmp_path / "kmsg"
    os.mkfifo(pipe)
    with run_agent(tmp_path, "nvml", "--kernel-log", str(pipe), env=driver.env()) as agent:

        def tell() -> None:
            with pipe.open("w") as writer:
                writer.write(
                    line(6, 119, "Timeout after 45s of waiting for RPC response from GPU6 GSP!")
                )

        thread = threading.Thread(target=tell)
        thread.start()

        def state(gpu: int) -> str:
            states = Exposition(agent.metrics()).all("gpumon_gpu_state", gpu=str(gpu))
            return next(dict(k)["state"] for k, v in states.items() if v)

        wait_for(lambda: state(6) == "reset_required", 5, "GPU 6 to be left alone")
        thread.join()
        before = driver.calls()
        time = agent.get("/api/v1/snapshot").json()["time"]
        wait_for(lambda: agent.get("/api/v1/snapshot").json()["time"] > time, 5, "a tick")
        wait_for(
            lambda: (
                driver.calls()["nvmlDeviceGetFieldValues[5]"]
                >= before["nvmlDeviceGetFieldValues[5]"] + 3
            ),
            10,
            "the others to be read on",
        )
        after = driver.calls()
        assert after["nvmlDeviceGetFieldValues[6]"] <= before["nvmlDeviceGetFieldValues[6]"]
        assert sum(Exposition(agent.metrics()).all("gpumon_gpu_up").values()) == 7
        assert "Xid 119" in agent.get("/api/v1/snapshot").json()["gpus"][6]["reason"]
        assert counts(agent) == {6: {119: 1}}
        assert agent.ready()
