"""A real GPU: what gpumon reads against what ``nvidia-smi`` prints in the same second."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.hardware

COLUMNS = (
    "uuid,name,serial,pci.bus_id,vbios_version,power.draw.instant,enforced.power.limit,"
    "temperature.gpu,memory.total,memory.used,clocks.max.sm,pcie.link.width.current"
)


@pytest.fixture(scope="module")
def pair() -> list[tuple[dict[str, Any], list[str]]]:
    """Each GPU as gpumon's document and as nvidia-smi's row."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        pytest.skip("no nvidia-smi: this machine has no NVIDIA GPU")
    query = subprocess.run(
        [smi, f"--query-gpu={COLUMNS}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=False,
    )
    if query.returncode != 0:
        pytest.skip(f"nvidia-smi finds no GPU: {query.stdout.strip()}")
    status = subprocess.run(
        [sys.executable, "-m", "gpumon", "status", "nvml", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [[cell.strip() for cell in line.split(",")] for line in query.stdout.splitlines()]
    by_uuid = {row[0]: row for row in rows}
    gpus = json.loads(status.stdout)["gpus"]
    assert {gpu["uuid"] for gpu in gpus} == set(by_uuid)
    return [(gpu, by_uuid[gpu["uuid"]]) for gpu in gpus]


def test_identity_is_the_same(pair: list[tuple[dict[str, Any], list[str]]]) -> None:
    """Name, serial, bus id and VBIOS."""
    for gpu, (_, name, serial, bus, vbios, *_rest) in pair:
        assert gpu["name"] == name
        assert serial in (gpu["serial"], "[N/A]", "0")
        assert gpu["pci_bus_id"].lower() == bus.lower()
        assert gpu["vbios_version"] == vbios


def test_readings_agree(pair: list[tuple[dict[str, Any], list[str]]]) -> None:
    """Limits and sizes exactly; what moves, within what it moves in a second of rest."""
    for gpu, row in pair:
        power, limit, temperature, total, used, clock, width = row[5:]
        assert gpu["power_watts"] == pytest.approx(float(power), rel=0.25, abs=30)
        assert gpu["power_limit_watts"] == pytest.approx(float(limit), abs=0.01)
        assert gpu["temperature_celsius"] == pytest.approx(float(temperature), abs=4)
        assert gpu["memory_total_bytes"] == pytest.approx(int(total) << 20, abs=1 << 20)
        assert gpu["memory_used_bytes"] == pytest.approx(int(used) << 20, abs=1 << 30)
        assert gpu["clock_max_hertz"]["sm"] == int(clock) * 1_000_000
        assert gpu["pcie_link_width"] == int(width)
        assert gpu["energy_info"]["method"] == "counter"


@pytest.fixture(scope="module")
def recording(
    pair: list[tuple[dict[str, Any], list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """Half a minute of this machine, a snapshot a second; ``pair`` is what skips where none is."""
    path = tmp_path_factory.mktemp("recording") / "run.ndjson"
    subprocess.run(
        [sys.executable, "-m", "gpumon", "record", "nvml", "-f", str(path), "--duration", "30"],
        check=True,
    )
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_energy_counter_agrees_with_the_integral_of_power(
    recording: list[dict[str, Any]],
) -> None:
    """Within a tenth over half a minute, beyond which gpumon itself would call it suspect."""
    for index in range(len(recording[0]["gpus"])):
        gpu = [snapshot["gpus"][index] for snapshot in recording]
        times = [dt.datetime.fromisoformat(g["time"].replace("Z", "+00:00")) for g in gpu]
        pairs = zip(gpu, gpu[1:], times, times[1:], strict=False)
        integral = sum(
            (after - before).total_seconds() * (a["power_watts"] + b["power_watts"]) / 2
            for a, b, before, after in pairs
        )
        counted = gpu[-1]["energy_joules"] - gpu[0]["energy_joules"]
        assert counted == pytest.approx(integral, rel=0.1)
        assert gpu[-1]["energy_suspect"] == []


def test_activity_is_told_by_the_hardware_where_it_can_be(recording: list[dict[str, Any]]) -> None:
    """GPM on Hopper and later: shares between 0 and 1, at each tick after the first."""
    for gpu in recording[-1]["gpus"]:
        if gpu["architecture"] in ("Hopper", "Blackwell"):
            for name in ("sm_active_ratio", "sm_occupancy_ratio", "tensor_active_ratio"):
                assert 0 <= gpu[name] <= 1
        else:
            assert gpu["sm_active_ratio"] is None
