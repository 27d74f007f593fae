"""A board whose InfoROM is damaged returns any bytes for a text: that text is odd, no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver, profiles

ODD = b"\xff\xfeA1\xc3".decode("utf-8", "surrogateescape")
"""What no encoding reads, as the fake driver's control file takes it."""

TEXTS = {
    "name": "name",
    "serial": "serial",
    "vbios_version": "vbios_version",
    "board_part_number": "board_part_number",
}
"""The driver's facts that are text, and the keys that they have in a document."""


@pytest.mark.parametrize("fact", [*TEXTS, "all"])
def test_a_text_that_is_not_utf8_costs_itself_only(
    tmp_path: Path, library: Path, fact: str
) -> None:
    """The GPU is read, its other facts are there, and the other GPU loses nothing."""
    driver = FakeDriver(tmp_path / "driver", profiles.h100(2), library=library)
    with driver.batch():
        for name in TEXTS if fact == "all" else [fact]:
            driver.set(1, name, ODD)
    done = subprocess.run(
        [sys.executable, "-m", "gpumon", "status", "nvml", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **driver.env()},
    )
    sound, odd = json.loads(done.stdout)["gpus"]
    assert (sound["state"], odd["state"]) == ("ok", "ok")
    assert odd["power_watts"] is not None
    for name, key in TEXTS.items():
        if fact in (name, "all"):
            assert "A1" in odd[key]
            assert "\N{REPLACEMENT CHARACTER}" in odd[key]
        else:
            assert odd[key]
