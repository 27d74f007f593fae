"""``gpumon info`` names for every value the field, call or column that it was read from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpumon.documents.snapshot import from_document, to_document
from gpumon.model import GpuReading, MigReading, group_of
from tests.fakenvml import FakeDriver, profiles
from tests.fakenvml.machine import Machine
from tests.support.servers import run_agent

PLAN = """
import json
import pynvml
from gpumon.clock import SYSTEM
from gpumon.sources.nvml.library import Door, Library
from gpumon.sources.nvml.origin import words
from gpumon.sources.nvml.plan import probe
from gpumon.sources.nvml.table import rows_for
from gpumon.model import Tier
Library().start()
door = Door(SYSTEM)
rows = rows_for(Library().version()[0], Tier.FULL)
plan = probe(door, door.call("nvmlDeviceGetHandleByIndex", 0), rows, {})
print(json.dumps([[slot.field, slot.key, words(slot.origin)] for slot in plan.slots]))
"""
"""Probes GPU 0 as the reader does, and prints what was chosen for each value."""

OWN = {
    "board",
    "state",
    "up",
    "contradicted",
    "platform",
    "virtualization",
    "energy_info",
    "energy_error_ratio",
    "energy_suspect",
    "energy_divergence_ratio",
    "xid_errors",
    "xid_last_timestamp_seconds",
    "xid_unresolved",
    "xid_events",
}
"""What gpumon works out or remembers itself, whichever GPU it is."""


def run(*argv: str, env: dict[str, str] | None = None) -> str:
    """Run Python with these arguments and return what it prints."""
    done = subprocess.run(
        [sys.executable, *argv],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **(env or {})},
    )
    return done.stdout


def known(document: dict[str, Any], gpu: int = 0) -> list[tuple[str, tuple[str, ...], str]]:
    """Return (field, label values, origin) of all that ``info -o json`` knows of a GPU."""
    fields = {metric.name: metric for owner in OWNERS for metric in group_of(owner).metrics}
    return [
        (fields[each["metric"]].field, tuple(each["labels"].values()), each["origin"])
        for each in document["gpus"][gpu]["known"]
    ]


OWNERS = (GpuReading, MigReading)


@pytest.mark.parametrize("profile", [profiles.a100, profiles.h100, profiles.b200])
def test_each_origin_is_the_one_that_the_reader_chose(
    tmp_path: Path, library: Path, profile: Callable[[int], Machine]
) -> None:
    """For all metrics of an A100, an H100 and a B200."""
    driver = FakeDriver(tmp_path / "driver", profile(2), library=library)
    plan = json.loads(run("-c", PLAN, env=driver.env()))
    chosen = {(field, tuple(key)): words for field, key, words in plan}
    document = json.loads(run("-m", "gpumon", "info", "nvml", "-o", "json", env=driver.env()))
    found = known(document)
    assert len(found) > 60
    unseen = dict(chosen)
    for field, key, origin in found:
        # The link's number is no choice of the plan's; a state's label is the value itself.
        names = [(field, key), (field, key[:-1]), (field, ())]
        wanted = next((chosen[name] for name in names if name in chosen), None)
        if wanted is None:
            assert field in OWN | {"processes", "power_peak_watts", "power_trough_watts"}, field
            assert (origin == "gpumon") == (field in OWN), (field, origin)
            continue
        assert origin == wanted, (field, key)
        for name in names:
            unseen.pop(name, None)
    # What the plan reads and info does not list has no sample now: no reason, no fabric, GPM's
    # first mean.
    silent = {field for field, _ in unseen}
    assert not {f for f in silent if f.endswith(("_watts", "_celsius", "_bytes", "_joules"))}


def test_an_a100_is_read_by_other_fields_than_an_h100(tmp_path: Path, library: Path) -> None:
    """Its power is a 25 ms sample (field 186), and it has thresholds where Hopper has a margin."""
    driver = FakeDriver(tmp_path / "driver", profiles.a100(1), library=library)
    document = json.loads(run("-m", "gpumon", "info", "nvml", "-o", "json", env=driver.env()))
    origins = {field: origin for field, _, origin in known(document)}
    assert origins["power_watts"] == "field 186"
    assert origins["temperature_margin_celsius"] == "thresholds less temperature"


def test_integrated_joules_say_what_was_integrated(tmp_path: Path, library: Path) -> None:
    """Without a counter the origin is the power's; the method is ``integral``."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(1), library=library)
    driver.fail("all", 3, "nvmlDeviceGetTotalEnergyConsumption")
    for key in ("field.83", "field.191.1"):
        driver.unset("*", key)
    document = json.loads(run("-m", "gpumon", "info", "nvml", "-o", "json", env=driver.env()))
    origins = {field: origin for field, _, origin in known(document)}
    assert origins["energy_joules"] == "integral of field 185"
    assert "gpumon_gpu_energy_joules_total" not in document["gpus"][0]["not_answered"]


def test_what_is_simulated_says_so_of_every_value() -> None:
    """No field of a driver is named for a GPU that no driver was asked about."""
    document = json.loads(run("-m", "gpumon", "info", "sim:2xH100", "-o", "json"))
    assert {origin for _, _, origin in known(document)} == {"simulated"}
    assert document["gpus"][0]["not_answered"] == []


def test_a_log_names_its_columns(tmp_path: Path) -> None:
    """Of the columns that may carry a value, the one that it was taken from in this row."""
    log = tmp_path / "smi.csv"
    log.write_text(
        "timestamp, index, uuid, power.draw.average [W], power.draw [W], temperature.gpu\n"
        "2026/04/24 10:00:00.000, 0, GPU-a, 100.00 W, 101.00 W, 40\n"
        "2026/04/24 10:00:00.010, 1, GPU-b, [N/A], 99.00 W, 41\n"
    )
    document = json.loads(run("-m", "gpumon", "info", f"replay:{log}", "-o", "json"))
    first, second = ({f: o for f, _, o in known(document, gpu)} for gpu in (0, 1))
    assert first["power_watts"] == "column power.draw.average [W]"
    assert second["power_watts"] == "column power.draw [W]"
    assert first["energy_joules"] == "integral of column power.draw.average [W]"
    assert first["temperature_celsius"] == "column temperature.gpu"
    assert first["state"] == "gpumon"
    assert document["gpus"][0]["not_answered"] == []


@pytest.mark.e2e
def test_origins_go_through_an_agent_and_its_recording(tmp_path: Path, driver: FakeDriver) -> None:
    """A viewer of the agent, and of what was recorded from it, names the same fields."""
    local = json.loads(run("-m", "gpumon", "info", "nvml", "2", "-o", "json", env=driver.env()))
    recording = tmp_path / "run.ndjson"
    # What is read without an agent is all of the catalogue.
    with run_agent(tmp_path, "nvml", "--tier", "full", env=driver.env()) as agent:
        remote = json.loads(run("-m", "gpumon", "info", agent.target, "2", "-o", "json"))
        command = ("record", agent.target, "-f", str(recording), "--duration", "2")
        run("-m", "gpumon", *command)
    replayed = json.loads(run("-m", "gpumon", "info", f"replay:{recording}", "2", "-o", "json"))
    wanted = {(f, k): o for f, k, o in known(local)}
    for document in (remote, replayed):
        found = {(f, k): o for f, k, o in known(document)}
        assert {name: found.get(name, origin) for name, origin in wanted.items()} == wanted
        assert found["power_watts", ()] == "field 185"
        assert document["gpus"][0]["not_answered"] == local["gpus"][0]["not_answered"]


def test_a_document_without_origins_is_read_and_says_so() -> None:
    """As of an older agent: not known is not gpumon's own."""
    document = json.loads(run("-m", "gpumon", "status", "sim:1xH100", "-o", "json"))
    del document["origins"]
    for gpu in document["gpus"]:
        del gpu["origins"]
    (reading,) = from_document(document).gpus
    assert reading.origins is None


@pytest.mark.newest_binding
def test_origins_are_a_tenth_of_a_document_at_most(tmp_path: Path, driver: FakeDriver) -> None:
    """One object for all GPUs that are read alike."""
    text = run("-m", "gpumon", "status", "nvml", "-o", "json", env=driver.env())
    document = json.loads(text)
    assert len(document["origins"]) == 1
    whole = len(json.dumps(document))
    again = to_document(from_document(document))
    assert again["origins"] == document["origins"]
    del document["origins"]
    for gpu in document["gpus"]:
        del gpu["origins"]
    assert whole <= 1.1 * len(json.dumps(document))
