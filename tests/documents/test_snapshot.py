"""The document of a snapshot: there and back, and what its keys are."""

from __future__ import annotations

import dataclasses
import json

import pytest

from gpumon.documents.snapshot import from_document, to_document
from gpumon.errors import UsageError
from gpumon.model import (
    GpuIdentity,
    GpuReading,
    PassedThrough,
    PowerSample,
    Snapshot,
    SourceInfo,
)
from gpumon.sources import open_source
from gpumon.times import format_time, parse_time
from tests.support.clock import FakeClock


@pytest.fixture
def snapshot() -> Snapshot:
    """A node of two simulated H100s in the middle of a run."""
    clock = FakeClock()
    source = open_source("sim:2xH100,seed=1", clock)
    clock.pass_(30)
    return dataclasses.replace(source.read(), node="n1", errors=("an error",))


def without_age(gpu: GpuReading) -> GpuReading:
    """Forget the moment on this machine's monotonic clock, which no document carries."""
    return dataclasses.replace(gpu, read_at=0.0, time=round(gpu.time, 3))


def test_a_snapshot_survives_the_way_through_json(snapshot: Snapshot) -> None:
    """Every reading comes back as it was, samples included."""
    text = json.dumps(to_document(snapshot, samples=True), allow_nan=False)
    back = from_document(json.loads(text))
    assert [without_age(g) for g in back.gpus] == [without_age(g) for g in snapshot.gpus]
    assert dataclasses.replace(back, gpus=(), time=0) == dataclasses.replace(
        snapshot, gpus=(), time=0
    )


def test_the_keys_are_those_of_the_contract(snapshot: Snapshot) -> None:
    """Other people's scripts read these."""
    document = to_document(snapshot)
    assert {"schema", "time", "source", "node", "gpus", "errors"} <= document.keys()
    gpu = document["gpus"][0]
    assert {
        "gpu", "uuid", "name", "state", "age_seconds", "power_watts", "power_limit_watts",
        "energy_joules", "temperature_celsius", "utilization_ratio", "memory_used_bytes",
        "clock_hertz", "throttle_reasons", "jobs",
    } <= gpu.keys()  # fmt: skip
    assert isinstance(gpu["clock_hertz"]["sm"], int)
    assert isinstance(gpu["throttle_reasons"], list)
    assert gpu["ecc_errors"]["corrected"]["dram"] == 0
    assert gpu["fan_speed_ratio"] is None
    assert document["simulated"] is True
    assert document["time"].endswith("Z")


def test_samples_are_written_only_where_asked_for(snapshot: Snapshot) -> None:
    """The API stays small; a recording is complete."""
    assert "power_samples" not in to_document(snapshot)["gpus"][0]
    assert to_document(snapshot, samples=True)["gpus"][0]["power_samples"]
    assert all(isinstance(s, PowerSample) for s in snapshot.gpus[0].power_samples)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "schema None"),
        (None, "not an object"),
        ([], "not an object"),
        ({"schema": 2}, "schema 2"),
        ({"schema": 1}, "no gpumon snapshot"),
        ({"schema": 1, "time": "now", "source": "nvml", "gpus": []}, "no gpumon snapshot"),
        (
            {"schema": 1, "time": "2026-01-01T00:00:00Z", "source": "nvml", "gpus": [{"gpu": 1}]},
            "no gpumon snapshot",
        ),
    ],
)
def test_what_is_no_snapshot_is_refused_in_words(document: dict[str, object], words: str) -> None:
    """A broken line never becomes a reading."""
    with pytest.raises(UsageError, match=words):
        from_document(document)


def test_times_are_rfc_3339_in_utc() -> None:
    """To the millisecond, and back."""
    assert format_time(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"
    assert parse_time("2023-11-14T23:13:20.250+01:00") == 1_700_000_000.25


def test_gpus_of_another_driver_come_back_from_a_document() -> None:
    """Who they are is null if they were never seen here."""
    known = GpuIdentity(-1, "GPU-7", "NVIDIA H100", serial="1657", pci_bus_id="00000000:7A:00.0")
    away = (
        PassedThrough("00000000:7A:00.0", "vfio-pci", known),
        PassedThrough("00000000:88:00.0", "vfio-pci"),
    )
    snapshot = Snapshot(
        time=0.0, source=SourceInfo("nvml"), passed_through=away, unlisted=("00000000:99:00.0",)
    )
    document = to_document(snapshot)
    assert document["passed_through"][1] == {
        "pci_bus_id": "00000000:88:00.0",
        "driver": "vfio-pci",
        "uuid": None,
        "name": None,
        "serial": None,
    }
    again = from_document(document)
    assert (again.passed_through, again.unlisted) == (away, snapshot.unlisted)
