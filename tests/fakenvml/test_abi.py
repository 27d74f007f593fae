"""The fake's structs are those of the Python binding that is installed."""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from .library import SOURCES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.newest_binding

SAME = {
    "nvmlFieldValue_t": "c_nvmlFieldValue_t",
    "nvmlValue_t": "c_nvmlValue_t",
    "nvmlSample_t": "c_nvmlSample_t",
    "nvmlPciInfo_t": "nvmlPciInfo_t",
    "nvmlProcessInfo_t": "c_nvmlProcessInfo_v3_t",
    "nvmlProcessUtilizationSample_t": "c_nvmlProcessUtilizationSample_t",
    "nvmlEventData_t": "c_nvmlEventData_t",
    "nvmlGpmMetric_t": "c_nvmlGpmMetric_t",
    "nvmlGpmMetricsGet_t": "c_nvmlGpmMetricsGet_t",
    "nvmlGpmSupport_t": "c_nvmlGpmSupport_t",
    "nvmlGpuFabricInfoV_t": "c_nvmlGpuFabricInfo_v3_t",
    "nvmlPlatformInfo_t": "c_nvmlPlatformInfo_v2_t",
}

# Structs that device.c and mig.c fill by offset; sizes those offsets assume.
BY_OFFSET = {
    "c_nvmlUtilization_t": 8,
    "c_nvmlMemory_t": 24,
    "c_nvmlMemory_v2_t": 40,
    "c_nvmlBAR1Memory_t": 24,
    "c_nvmlMarginTemperature_v1_t": 8,
    "c_nvmlTemperature_v1_t": 12,
    "c_nvmlRowRemapperHistogramValues": 20,
    "c_nvmlEccSramErrorStatus_v1_t": 104,
    "c_nvmlDeviceAttributes": 40,
    "c_nvmlRepairStatus_t": 12,
    "c_nvmlPdi_t": 16,
    "c_nvmlFanSpeedInfo_t": 12,
    "c_nvmlDeviceAddressingMode_t": 8,
    "c_nvmlViolationTime_t": 16,
}


def test_structs_have_the_size_that_ctypes_gives_them(tmp_path: Path) -> None:
    """Every struct we declare is as large in C as pynvml's class is for ctypes."""
    nvml = importlib.import_module("pynvml")
    lines = "".join(f'printf("{name} %zu\\n", sizeof({name}));' for name in SAME)
    source = tmp_path / "sizes.c"
    source.write_text(f'#include <stdio.h>\n#include "nvml_abi.h"\nint main(void) {{ {lines} }}\n')
    command = [os.environ.get("CC", "cc"), "-std=c11", "-I", str(SOURCES)]
    subprocess.run([*command, "-o", str(tmp_path / "sizes"), str(source)], check=True)
    output = subprocess.run([str(tmp_path / "sizes")], check=True, capture_output=True, text=True)
    measured = dict(line.split() for line in output.stdout.splitlines())
    expected = {name: str(ctypes.sizeof(getattr(nvml, SAME[name]))) for name in SAME}
    assert measured == expected


@pytest.mark.parametrize("name", BY_OFFSET)
def test_structs_filled_by_offset_have_not_changed(name: str) -> None:
    """A struct whose members the library addresses by offset still has the size it had."""
    nvml = importlib.import_module("pynvml")
    assert ctypes.sizeof(getattr(nvml, name)) == BY_OFFSET[name]
