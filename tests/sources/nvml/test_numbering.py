"""Field ids follow the driver's version: what one driver calls 251 is another's 269."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpumon.model import Tier
from gpumon.sources.nvml.numbering import numbering
from gpumon.sources.nvml.origin import words
from gpumon.sources.nvml.table import rows_for
from tests.fakenvml import FakeDriver, profiles

MEASURED = [
    ("525.60.13", (None, None, None, 258)),
    ("570.124.06", (None, None, None, 258)),
    ("575.51.03", (251, 252, 253, 263)),
    ("580.65.06", (251, 252, 253, 263)),
    ("580.66", (None, None, None, None)),
    ("580.81.01", (None, None, None, None)),
    ("580.82.07", (269, 270, 271, 258)),
    ("580.105.08", (269, 270, 271, 258)),
    ("595.45.04", (269, 270, 271, 258)),
    ("580", (251, 252, 253, 263)),
    ("", (None, None, None, None)),
    ("nonsense", (None, None, None, None)),
]
"""Versions, and what NVIDIA's bindings of them call software and hardware heat, power brake, and
the lifetime of power smoothing."""


@pytest.mark.parametrize(("version", "ids"), MEASURED)
def test_ids_are_those_of_the_drivers_own_binding(
    version: str, ids: tuple[int | None, ...]
) -> None:
    """Of versions that nobody knows, none is guessed."""
    found = numbering(version)
    assert (
        found.sw_thermal,
        found.hw_thermal,
        found.hw_power_brake,
        found.smoothing_lifetime,
    ) == ids


def test_no_two_values_of_a_driver_share_a_field() -> None:
    """A switch read as a lifetime wore out healthy GPUs."""
    for version, _ in MEASURED:
        rows = rows_for(version, Tier.FULL)
        asked: dict[str, str] = {}
        for field in ("throttle_seconds", "power_smoothing_lifetime_ratio"):
            for key, choices in rows[field].origins.items():
                for origin in choices:
                    assert asked.setdefault(words(origin), f"{field} {key}") == f"{field} {key}"


def reading(driver: FakeDriver) -> dict[str, Any]:
    """Return what ``gpumon status -o json`` shows of GPU 0."""
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", "status", "nvml", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **driver.env()},
    )
    gpu: dict[str, Any] = json.loads(done.stdout)["gpus"][0]
    return gpu


NUMBERS = {251: 1, 252: 2, 253: 3, 269: 4, 270: 5, 271: 6, 258: 1, 263: 97, 75: 7}
"""Raw values by field: seconds, but for 258 and 263, which are per cent."""


@pytest.mark.parametrize(
    ("version", "throttled", "lifetime"),
    [
        ("550.54.15", {"thermal": 7}, 0.01),
        ("575.51.03", {"sw_thermal": 1, "hw_thermal": 2, "hw_power_brake": 3}, 0.97),
        ("580.70", {"thermal": 7}, None),
        ("580.82.07", {"sw_thermal": 4, "hw_thermal": 5, "hw_power_brake": 6}, 0.01),
    ],
)
def test_each_driver_is_read_by_its_own_numbers(
    tmp_path: Path, library: Path, version: str, throttled: dict[str, int], lifetime: float | None
) -> None:
    """Without the newer counters, the older one of heat; never both, which would count twice."""
    driver = FakeDriver(tmp_path / "driver", profiles.b200(1), library=library)
    with driver.batch():
        driver.set_system("driver_version", version)
        for field, number in NUMBERS.items():
            scale = 1 if field in (258, 263) else 1_000_000_000
            driver.set("*", f"field.{field}", number * scale)
    gpu = reading(driver)
    heat = {
        reason: seconds
        for reason, seconds in gpu["throttle_seconds"].items()
        if reason not in ("sw_power_cap", "sync_boost")
    }
    assert heat == throttled
    assert gpu["power_smoothing_lifetime_ratio"] == lifetime


def test_a_driver_without_any_counter_of_heat_has_none(tmp_path: Path, library: Path) -> None:
    """Nothing is made up."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(1), library=library)
    with driver.batch():
        driver.set_system("driver_version", "535.104.05")
        driver.unset("*", "field.75")
    assert "thermal" not in reading(driver)["throttle_seconds"]
