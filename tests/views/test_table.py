"""The table that people see."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from gpumon.model import GpuReading, GpuState, Snapshot
from gpumon.sources import open_source
from gpumon.views import table
from tests.support.clock import FakeClock


@pytest.fixture
def snapshot() -> Snapshot:
    """Two simulated H100s, of which the second is lost."""
    whole = open_source("sim:2xH100", FakeClock()).read()
    lost = GpuReading(identity=whole.gpus[1].identity, state=GpuState.LOST, reason="it fell off")
    return dataclasses.replace(
        whole, node="n1", gpus=(whole.gpus[0], lost), errors=("gpu 1 is lost: it fell off",)
    )


def shown(snapshot: Snapshot, width: int) -> list[str]:
    """Return the lines of a terminal of a width."""
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    table.show(console, snapshot)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_nothing_is_cut_off_on_a_narrow_terminal(snapshot: Snapshot, width: int) -> None:
    """Columns that can be done without go; the others stay whole."""
    lines = shown(snapshot, width)
    assert not any("…" in line for line in lines)
    assert all(len(line.rstrip()) <= width for line in lines)
    header = next(line for line in lines if "state" in line)
    assert {"GPU", "power", "margin", "util", "memory"} <= set(header.split())
    assert ("energy" in header) == (width == 200)


def test_trouble_is_said_in_words(snapshot: Snapshot) -> None:
    """The state in its row without numbers, the count, and the reason below."""
    lines = shown(snapshot, 120)
    assert lines[0].startswith("SIMULATED")
    assert lines[1].startswith("n1: 1 of 2 GPUs ok")
    row = next(line for line in lines if " lost " in line)
    assert row.split()[-1] == "-"
    assert lines[-1].rstrip() == "! gpu 1 is lost: it fell off"


def test_the_drivers_demands_and_the_days_xids_are_said(snapshot: Snapshot) -> None:
    """With their meaning and how often; an application's are its owner's, and old ones are past."""
    first, second = snapshot.gpus
    now = snapshot.time
    first = dataclasses.replace(
        first,
        recovery_action="node_reboot",
        xid_errors={"13": 9, "63": 1, "95": 3},
        xid_last_timestamp_seconds={"13": now - 60, "63": now - 2 * 86400, "95": now - 720},
    )
    text = "\n".join(shown(dataclasses.replace(snapshot, gpus=(first, second)), 200))
    assert "gpu 0: the driver asks for node_reboot: Drain the node and reboot it." in text
    assert "gpu 0: Xid 95, An uncorrectable memory error that was not contained" in text
    assert "12 min ago, 3 times" in text
    assert "Xid 13" not in text
    assert "Xid 63" not in text
