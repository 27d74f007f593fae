"""What users see when the driver is missing or breaks, through the running agent."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver, profiles
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e


KEPT = {
    "gpumon_unallocated_energy_joules_total",
    "gpumon_ended_jobs_energy_joules_total",
    "gpumon_ledger_energy_joules_total",
    "gpumon_gpu_info",
    "gpumon_gpu_state",
    "gpumon_gpu_up",
    "gpumon_gpu_sample_age_seconds",
    "gpumon_gpu_xid_events_total",
}
"""What is known of a GPU whatever its state."""


def exposition(agent: Agent) -> Exposition:
    """Return what the agent exposes now."""
    return Exposition(agent.metrics())


def state_of(agent: Agent, gpu: int) -> str:
    """Return the state that a GPU is reported in."""
    states = exposition(agent).all("gpumon_gpu_state", gpu=str(gpu))
    (holding,) = [dict(labels)["state"] for labels, value in states.items() if value == 1]
    return holding


def has_readings(agent: Agent, gpu: int) -> bool:
    """Tell whether anything but identity, state, age and memories is exposed of a GPU."""
    names = set(exposition(agent).names(gpu=str(gpu)))
    return bool(names - KEPT)


def test_without_a_driver_the_agent_answers_and_picks_it_up_when_it_appears(
    tmp_path: Path, library: Path
) -> None:
    """``gpumon_source_up 0``, one clear line in the log, 503 at /-/ready; then the GPUs."""
    folder = tmp_path / "lib"
    folder.mkdir()
    driver = FakeDriver(tmp_path / "driver", profiles.h100(2), library=folder)
    with run_agent(tmp_path, "nvml", env=driver.env(), ready=False) as agent:
        wait_for(lambda: "libnvidia-ml" in agent.log, 15, "the log line")
        seen = exposition(agent)
        assert seen.value("gpumon_source_up") == 0
        assert seen.value("gpumon_gpus") == 0
        assert agent.get("/-/healthy").status == 200
        ready = agent.get("/-/ready")
        assert ready.status == 503
        assert "libnvidia-ml.so.1 was not found" in ready.text
        assert "libnvidia-ml.so.1 was not found" in agent.get("/api/v1/snapshot").text
        for file in library.iterdir():
            shutil.copy(file, folder)
        wait_for(agent.ready, 10, "the driver to be picked up")
        seen = exposition(agent)
        assert seen.value("gpumon_source_up") == 1
        assert seen.value("gpumon_gpus") == 2
        assert agent.log.count("libnvidia-ml.so.1 was not found") == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [(9, "kernel driver is not loaded"), (18, "different versions"), (4, "permission")],
)
def test_a_driver_that_does_not_start_is_named(
    tmp_path: Path, driver: FakeDriver, code: int, words: str
) -> None:
    """Not loaded, of the wrong version, not permitted: which it is, and what to do."""
    driver.fail_init(code)
    with run_agent(tmp_path, "nvml", env=driver.env(), ready=False) as agent:
        wait_for(lambda: words in agent.get("/-/ready").text, 15, words)
        driver.recover()
        wait_for(agent.ready, 10, "the driver")


def test_a_lost_gpu_disappears_from_the_readings_and_nothing_else_does(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Its identity and state stay, its readings go: no zeros, no repeats. Then it comes back."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        uuid = profiles.identity(3)["uuid"]
        driver.lose(3)
        wait_for(lambda: state_of(agent, 3) == "lost", 5, "GPU 3 to be lost")
        seen = exposition(agent)
        assert seen.value("gpumon_gpu_up", gpu="3") == 0
        assert not has_readings(agent, 3)
        assert list(seen.all("gpumon_gpu_info", gpu="3", uuid=str(uuid)))
        assert seen.value("gpumon_source_up") == 1
        others = seen.all("gpumon_gpu_up")
        assert sum(others.values()) == 7
        assert all(has_readings(agent, gpu) for gpu in (0, 1, 2, 4, 5, 6, 7))
        assert agent.ready()
        driver.recover()
        wait_for(lambda: state_of(agent, 3) == "ok", 12, "GPU 3 to be back")
        assert has_readings(agent, 3)


def test_a_gpu_that_needs_a_reset_says_so(tmp_path: Path, driver: FakeDriver) -> None:
    """And is left alone but for a retry every ten seconds."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.require_reset(0)
        wait_for(lambda: state_of(agent, 0) == "reset_required", 5, "the state")
        before = driver.calls()["nvmlDeviceGetFieldValues[0]"]
        time_then = agent.get("/api/v1/snapshot").json()["time"]
        wait_for(
            lambda: agent.get("/api/v1/snapshot").json()["time"] > time_then, 5, "another tick"
        )
        assert driver.calls()["nvmlDeviceGetFieldValues[0]"] <= before + 1


def test_values_that_fail_inside_a_batch_mean_the_gpu_is_lost_too(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """How a real driver fails in a batch is not documented: both ways are seen."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.fail_values(2, 15)
        wait_for(lambda: state_of(agent, 2) == "lost", 5, "GPU 2 to be lost")


def test_one_hung_gpu_costs_the_others_no_tick(tmp_path: Path, driver: FakeDriver) -> None:
    """It is reported hung past its deadline, the seven go on, and it is back when it returns."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.hang(3)
        worst = 0.0

        def hung() -> bool:
            nonlocal worst
            ages = exposition(agent).all("gpumon_gpu_sample_age_seconds")
            others = [age for labels, age in ages.items() if ("gpu", "3") not in labels]
            assert len(others) == 7
            worst = max(worst, *others)
            return state_of(agent, 3) == "hung"

        wait_for(hung, 10, "GPU 3 to be reported hung", every=0.2)
        assert worst < 3
        assert not has_readings(agent, 3)
        assert agent.ready()
        driver.release()
        wait_for(lambda: state_of(agent, 3) == "ok", 5, "GPU 3 to be back")
        assert exposition(agent).value("gpumon_reader_restarts_total") == 0


def test_slow_answers_are_late_but_not_lost(tmp_path: Path, driver: FakeDriver) -> None:
    """Each call of one GPU takes half a second: it is read all the same, and its age tells."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.slow(1, 500)

        def aged() -> bool:
            age = exposition(agent).value("gpumon_gpu_sample_age_seconds", gpu="1")
            return age is not None and age > 2

        wait_for(aged, 10, "the reading of GPU 1 to age")
        assert state_of(agent, 1) == "ok"
        ages = exposition(agent).all("gpumon_gpu_sample_age_seconds")
        assert sum(age < 2 for age in ages.values()) == 7


def test_a_reader_that_crashes_in_the_driver_is_replaced(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """SIGSEGV inside the library: the server answers on, and a new reader reads within seconds."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.crash(4)
        wait_for(
            lambda: exposition(agent).value("gpumon_reader_restarts_total") == 1, 10, "a restart"
        )
        wait_for(lambda: len(exposition(agent).all("gpumon_gpu_up")) == 8, 10, "the GPUs")
        wait_for(agent.ready, 10, "the agent")
        assert exposition(agent).value("gpumon_gpu_energy_joules_total", gpu="4") is not None


def test_a_driver_that_was_reloaded_is_read_anew(tmp_path: Path, driver: FakeDriver) -> None:
    """Handles died and counters began again: as Prometheus expects of a counter."""
    driver.set(0, "field.83", 5_000_000)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        assert exposition(agent).value("gpumon_gpu_energy_joules_total", gpu="0") == 5000
        driver.reload(profiles.h100(4))
        driver.set(0, "field.83", 7_000)
        wait_for(
            lambda: exposition(agent).value("gpumon_gpu_energy_joules_total", gpu="0") == 7,
            15,
            "the new counter",
        )
        wait_for(lambda: exposition(agent).value("gpumon_gpus") == 4, 5, "four GPUs")
        # The ones that are missing are missed.
        assert exposition(agent).value("gpumon_gpus_expected") == 8


def test_missing_gpus_are_missed_after_a_restart(tmp_path: Path, library: Path) -> None:
    """The most that was seen is remembered in the state folder; a declared number wins."""
    eight = FakeDriver(tmp_path / "eight", profiles.h100(8), library=library)
    with run_agent(tmp_path, "nvml", env=eight.env()):
        pass
    seven = FakeDriver(tmp_path / "seven", profiles.h100(7), library=library)
    with run_agent(tmp_path, "nvml", env=seven.env()) as agent:
        seen = exposition(agent)
        assert (seen.value("gpumon_gpus"), seen.value("gpumon_gpus_expected")) == (7, 8)
    with run_agent(tmp_path, "nvml", "--expected-gpus", "6", env=seven.env()) as agent:
        assert exposition(agent).value("gpumon_gpus_expected") == 6


@pytest.mark.parametrize("count", [1, 16, 72])
def test_nodes_of_other_sizes(tmp_path: Path, library: Path, count: int) -> None:
    """One GPU, sixteen, and the seventy-two of an NVL72 seen as one."""
    driver = FakeDriver(tmp_path / "driver", profiles.b200(count), library=library)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        wait_for(
            lambda: sum(exposition(agent).all("gpumon_gpu_up").values()) == count, 15, "all GPUs"
        )


def test_an_agent_stops_within_five_seconds_and_leaves_nobody(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """SIGTERM ends server and reader, and NVML is shut down, not cut off."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
        (reader,) = map(int, children.read_text().split())
        began = time.monotonic()
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(10) == 0
        assert time.monotonic() - began < 5
        wait_for(lambda: not Path(f"/proc/{reader}").exists(), 5, "the reader to end")
    assert driver.calls()["nvmlShutdown"] == 1


def test_a_reader_that_waits_in_the_driver_does_not_hold_the_server_up(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """The server ends; the reader ends by itself when its call returns, and is never killed."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
        (reader,) = map(int, children.read_text().split())
        driver.hang(0)
        wait_for(lambda: state_of(agent, 0) == "hung", 10, "GPU 0 to hang")
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(10) == 0
        os.kill(reader, 0)  # still there, waiting
        os.kill(reader, signal.SIGTERM)  # and deaf to this
        os.kill(reader, 0)
        driver.release()
        wait_for(lambda: not Path(f"/proc/{reader}").exists(), 10, "the reader to end")


def test_all_calls_standing_still_is_said_to_be_the_driver(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Every GPU hung and ``gpumon_source_up 0``; the server answers, and recovers with it."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.hang("all")
        wait_for(lambda: {state_of(agent, gpu) for gpu in range(8)} == {"hung"}, 15, "all to hang")
        assert exposition(agent).value("gpumon_source_up") == 0
        assert agent.get("/-/ready").status == 503
        driver.release()
        wait_for(agent.ready, 15, "the driver to be back")
        assert exposition(agent).value("gpumon_source_up") == 1


def test_a_reader_that_keeps_dying_is_not_taken_for_alive(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Its last readings do not stand as the present: the GPUs are reported, and why."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.crash("all", "nvmlInit", once=False)
        driver.crash(0, once=False)
        wait_for(lambda: state_of(agent, 0) == "error", 20, "the readings to be given up")
        seen = exposition(agent)
        assert seen.value("gpumon_source_up") == 0
        assert not has_readings(agent, 0)
        assert not has_readings(agent, 1)
        assert "the reader ended unexpectedly (signal 11)" in agent.get("/-/ready").text
        driver.recover()
        wait_for(agent.ready, 45, "the reader to live")


def test_a_reload_after_a_loss_is_noticed(tmp_path: Path, library: Path) -> None:
    """The usual repair of a node: the GPU is lost, somebody reloads the driver, it is back."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(1), library=library)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.lose(0)
        wait_for(lambda: state_of(agent, 0) == "lost", 5, "GPU 0 to be lost")
        with driver.batch():
            driver.recover()
            driver.reload()
        wait_for(lambda: state_of(agent, 0) == "ok", 25, "GPU 0 to be back")


def test_a_reload_while_a_call_hangs_takes_a_new_reader(tmp_path: Path, driver: FakeDriver) -> None:
    """The old process cannot shut NVML down, so another begins; the others come back."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.hang(3)
        wait_for(lambda: state_of(agent, 3) == "hung", 10, "GPU 3 to hang")
        driver.reload()
        wait_for(
            lambda: exposition(agent).value("gpumon_reader_restarts_total") == 1, 20, "a reader"
        )
        wait_for(lambda: state_of(agent, 0) == "ok", 20, "GPU 0 to be back")


def test_one_value_that_fails_costs_that_value_alone(tmp_path: Path, driver: FakeDriver) -> None:
    """Unknown errors of activity, of the samples, or of a call: the rest of the GPU is told."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.fail(2, 999, "nvmlGpmSampleGet")
        driver.fail(2, 999, "nvmlDeviceGetSamples")
        driver.fail(2, 999, "nvmlDeviceGetUtilizationRates")
        wait_for(
            lambda: not exposition(agent).all("gpumon_gpu_utilization_ratio", gpu="2"), 5, "it"
        )
        seen = exposition(agent)
        assert state_of(agent, 2) == "ok"
        assert seen.value("gpumon_gpu_power_watts", gpu="2") == 68.57
        assert seen.all("gpumon_gpu_sm_active_ratio", gpu="2") == {}


def test_every_value_that_fails_is_a_gpu_that_fails(tmp_path: Path, driver: FakeDriver) -> None:
    """A batch in which nothing is answered is no reading, whatever the code."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.fail_values(1, 999)
        wait_for(lambda: state_of(agent, 1) == "error", 5, "GPU 1 to be in error")
        assert exposition(agent).value("gpumon_gpu_up", gpu="1") == 0


def test_gpus_that_appear_later_are_found(tmp_path: Path, library: Path) -> None:
    """A driver that shows none at first is asked again."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(0), library=library)
    with run_agent(tmp_path, "nvml", env=driver.env(), ready=False) as agent:
        wait_for(
            lambda: "shows no GPU" in agent.get("/api/v1/snapshot").text, 15, "the empty driver"
        )
        driver.reload(profiles.h100(2))
        wait_for(lambda: exposition(agent).value("gpumon_gpus") == 2, 30, "both GPUs")
