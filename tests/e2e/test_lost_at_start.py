"""GPUs that an agent has never seen, through the running agent: lost, without a uuid, or new."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakenvml import FakeDriver, profiles
from tests.support.exposition import Exposition
from tests.support.servers import Agent, run_agent, wait_for

pytestmark = pytest.mark.e2e


def uuids(agent: Agent) -> list[str]:
    """Return the uuids of the GPUs by their index."""
    found = Exposition(agent.metrics()).all("gpumon_gpu_up")
    return [uuid for _, uuid in sorted((int(dict(k)["gpu"]), dict(k)["uuid"]) for k in found)]


def events(folder: Path, kind: str) -> list[str]:
    """Return what ``gpumon events`` says of a kind."""
    argv = [sys.executable, "-m", "gpumon", "events", "--state-dir", str(folder / "state")]
    done = subprocess.run(
        [*argv, "-o", "json", "--kind", kind], capture_output=True, text=True, check=True
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    return [event["text"] for event in found]


def own(*indices: int) -> list[str]:
    """Return the uuids that the fake GPUs have."""
    return [str(profiles.identity(index)["uuid"]) for index in indices]


def test_boards_that_are_lost_at_the_start_are_remembered(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Their series go on, `events` says which boards they are, and when they were there last."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        assert uuids(agent) == own(*range(8))
    driver.lose(3)
    driver.lose(5)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        wait_for(lambda: "lost" in agent.get("/api/v1/snapshot").text, 10, "the loss")
        assert uuids(agent) == own(*range(8))
        seen = Exposition(agent.metrics())
        serial = str(profiles.identity(3)["serial"])
        assert seen.all("gpumon_gpu_info", gpu="3", serial=serial)
        assert seen.value("gpumon_gpu_up", gpu="3") == 0
    three, five = events(tmp_path, "state")
    assert three.startswith("ok -> lost: ")
    assert f"serial {serial} at 00000000:3A:00.0, as last seen there on " in three
    assert f"serial {profiles.identity(5)['serial']} at " in five


def test_boards_that_nobody_has_ever_seen_have_a_place_and_no_empty_uuid(
    tmp_path: Path, driver: FakeDriver
) -> None:
    """Two of them are two; and they are named when they answer."""
    driver.lose(3)
    driver.lose(5)
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        found = uuids(agent)
        assert "" not in found
        assert len({*found}) == 8
        assert found[3].startswith("unknown:")
        assert 'uuid=""' not in agent.metrics()
        driver.recover()
        wait_for(lambda: uuids(agent) == own(*range(8)), 15, "their names")


def test_a_board_without_a_uuid_is_read_all_the_same(tmp_path: Path, driver: FakeDriver) -> None:
    """A damaged InfoROM costs the name only; the address stands for it."""
    driver.fail(2, 3, "nvmlDeviceGetUUID")
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        found = Exposition(agent.metrics()).all("gpumon_gpu_power_watts", gpu="2")
        assert [dict(labels)["uuid"] for labels in found] == ["unknown:00000000:2C:00.0"]


def test_two_boards_with_one_uuid_have_their_own_series(tmp_path: Path, driver: FakeDriver) -> None:
    """And their own accounts in the ledger."""
    driver.set(5, "uuid", own(4)[0])
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        assert uuids(agent)[4:6] == [own(4)[0], "unknown:00000000:56:00.0"]
        wait_for(
            lambda: len(Exposition(agent.metrics()).all("gpumon_ledger_energy_joules_total")) == 8,
            10,
            "the accounts",
        )


def test_a_gpu_that_is_added_is_taken_in(tmp_path: Path, library: Path) -> None:
    """Within seconds, by the running agent, and it is an event; the others lose no joule."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(8), library=library)
    with driver.batch():
        driver._gpus = 7
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        assert Exposition(agent.metrics()).value("gpumon_gpus") == 7
        with driver.batch():
            driver._gpus = 8
        wait_for(
            lambda: Exposition(agent.metrics()).value("gpumon_gpus") == 8, 20, "the eighth GPU"
        )
        wait_for(lambda: uuids(agent) == own(*range(8)), 5, "its name")
        assert Exposition(agent.metrics()).value("gpumon_reader_restarts_total") == 0
        wait_for(lambda: events(tmp_path, "gpu"), 5, "the event")
    (text,) = events(tmp_path, "gpu")
    assert text.startswith(f"new: NVIDIA H100 80GB HBM3, serial {profiles.identity(7)['serial']}")
