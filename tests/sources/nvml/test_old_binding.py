"""An older nvidia-ml-py, as a site pins it beside CUDA 12, costs what it lacks, and no more."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest

from gpumon.sources.nvml import library as one_door
from gpumon.sources.nvml.library import Code, Door, FaultError
from tests.fakenvml import FakeDriver, profiles
from tests.support.clock import FakeClock

NEWER = [
    "c_nvmlGpuFabricInfo_v3_t",
    "c_nvmlGpuFabricInfo_v2_t",
    "c_nvmlEccSramErrorStatus_v1_t",
    "NVMLLibraryMismatchError",
    "nvmlDeviceGetGpuFabricInfoV",
    "nvmlDeviceGetTemperatureV",
    "nvmlDeviceGetMarginTemperature",
    "nvmlDeviceGetSramEccErrorStatus",
    "nvmlDeviceGetCurrentClocksEventReasons",
]
"""What 12.535 lacks, of what gpumon uses."""

READ = f"""
import json
import pynvml
for name in {NEWER}:
    if hasattr(pynvml, name):
        delattr(pynvml, name)
def nvmlDeviceGetInforomImageVersion(handle, another, argument):
    pass
pynvml.nvmlDeviceGetInforomImageVersion = nvmlDeviceGetInforomImageVersion
newest = pynvml.nvmlDeviceGetGspFirmwareVersion
pynvml.nvmlDeviceGetGspFirmwareVersion = lambda handle, version: newest(handle, version)
from gpumon.clock import SYSTEM
from gpumon.documents.snapshot import to_document
from gpumon.model import Tier
from gpumon.sources import open_source
source = open_source("nvml", SYSTEM, Tier.FULL)
print(json.dumps(to_document(source.read())["gpus"]))
source.close()
"""


def test_each_gpu_is_read_without_what_the_binding_lacks(tmp_path: Path, library: Path) -> None:
    """The older calls stand in; what has none is absent and listed as not answered."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(2), library=library)
    done = subprocess.run(
        [sys.executable, "-c", READ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **driver.env()},
    )
    assert done.returncode == 0, done.stderr
    gpus = json.loads(done.stdout)
    assert [gpu["state"] for gpu in gpus] == ["ok", "ok"]
    assert all(gpu["power_watts"] and gpu["temperature_celsius"] for gpu in gpus)
    assert gpus[0]["throttle_reasons"] is not None
    assert gpus[0]["temperature_margin_celsius"] is None
    assert gpus[0]["firmware"]["gsp_version"]
    assert not gpus[0]["firmware"]["inforom_version"]
    log = [line for line in done.stderr.splitlines() if "is not called" in line]
    assert len(log) == 1  # two GPUs were asked
    assert "nvmlDeviceGetInforomImageVersion" in log[0]


def test_a_call_that_is_made_otherwise_is_logged_once_and_not_on_each_tick(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each call has its own line, whichever GPU's thread makes it first."""

    def nvmlDeviceGetFirst(_handle: object, _another: object) -> None:  # noqa: N802
        """Want more than it is given."""

    def nvmlDeviceGetSecond() -> None:  # noqa: N802
        """Want less than it is given."""

    monkeypatch.setattr(one_door, "_MADE_OTHERWISE", set())
    for call in (nvmlDeviceGetFirst, nvmlDeviceGetSecond):
        monkeypatch.setattr(pynvml, call.__name__, call, raising=False)
    with caplog.at_level(logging.WARNING):
        for door in (Door(FakeClock()), Door(FakeClock())):
            for name in ("nvmlDeviceGetFirst", "nvmlDeviceGetSecond", "nvmlDeviceGetFirst"):
                with pytest.raises(FaultError) as fault:
                    door.get(name, "handle")
                assert fault.value.code == Code.FUNCTION_NOT_FOUND
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in lines] == ["nvmlDeviceGetFirst", "nvmlDeviceGetSecond"]
    assert all("nvidia-ml-py" in line for line in lines)
