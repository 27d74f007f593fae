"""Sums that are not the sum of their parts, and those that only seem so."""

from __future__ import annotations

from typing import Any

import pytest

from gpumon.derive import Derivation
from gpumon.derive.contradictions import contradictions
from gpumon.model import GpuIdentity, GpuReading, GpuState, Snapshot, SourceInfo
from gpumon.sources.nvml.table import GPU


def gpu(**values: Any) -> GpuReading:
    """Return a GPU with these values."""
    return GpuReading(identity=GpuIdentity(0, "GPU-0"), state=GpuState.OK, **values)


MIB = 2**20


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, None, id="nothing to compare"),
        pytest.param({"nvlink_errors": {"crc": 0}}, None, id="no links"),
        pytest.param(
            {
                "nvlink_errors": {"crc": 0, "replay": 3},
                "nvlink_link_errors": {("crc", "0"): 469_000, ("crc", "1"): 35, ("replay", "1"): 3},
            },
            {"nvlink_errors.crc": True},
            id="the sum is 0 while the links count",
        ),
        pytest.param(
            {"sums": {"nvlink_errors.crc": (0, 469_035), "nvlink_errors.replay": (3, 3)}},
            {"nvlink_errors.crc": True},
            id="the driver's own sum is 0, and its parts are read for that alone",
        ),
        pytest.param(
            {"sums": {"nvlink_transmit_bytes": (2**20 - 1, 0), "nvlink_errors.crc": (9, 0)}},
            None,
            id="too little to say",
        ),
        pytest.param(
            {"sums": {"nvlink_errors.crc": (2**64 - 1, 5000), "nvlink_receive_bytes": (-1, 2**30)}},
            None,
            id="a sum that the driver does not know",
        ),
        pytest.param(
            {"nvlink_errors": {"crc": 1}, "nvlink_link_errors": {("crc", "0"): 4}},
            None,
            id="a few errors between two reads",
        ),
        pytest.param(
            {
                "nvlink_links": 2,
                "nvlink_transmit_bytes": 10 * MIB,
                "nvlink_link_transmit_bytes": {"0": 5, "1": 6},
            },
            {"nvlink_transmit_bytes": True},
            id="bytes of the links",
        ),
        pytest.param(
            {"nvlink_receive_bytes": 10 * MIB, "nvlink_link_receive_bytes": {"0": 9 * MIB}},
            None,
            id="bytes that flow while they are read",
        ),
        pytest.param(
            {
                "nvlink_links": 2,
                "nvlink_errors": {"crc": 1000},
                "nvlink_link_errors": {("crc", "0"): 100},
                "nvlink_receive_bytes": 10 * MIB,
                "nvlink_link_receive_bytes": {"1": MIB},
            },
            None,
            id="one link does not answer, and the total has what it had",
        ),
        pytest.param(
            {
                "nvlink_links": 2,
                "nvlink_errors": {"crc": 1000},
                "nvlink_link_errors": {("crc", "0"): 100, ("crc", "1"): 0},
                "nvlink_receive_bytes": 10 * MIB,
                "nvlink_link_receive_bytes": {"0": 0, "1": MIB},
            },
            {"nvlink_errors.crc": True, "nvlink_receive_bytes": True},
            id="all links answer, and the total is more",
        ),
        pytest.param(
            {"nvlink_links_active": 2, "nvlink_link_up": {"0": True, "1": False}},
            {"nvlink_links_active": True},
            id="links that are up",
        ),
        pytest.param(
            {
                "ecc_errors": {("corrected", "dram"): 500, ("corrected", "sram"): 1},
                "ecc_lifetime_errors": {("corrected", "dram"): 3, ("corrected", "sram"): 900},
            },
            {"ecc_errors.corrected.dram": True},
            id="more errors since the driver was loaded than ever",
        ),
    ],
)
def test_what_cannot_both_be_true(values: dict[str, Any], expected: dict[str, bool] | None) -> None:
    """And what two reads, one after the other, explain."""
    assert contradictions(gpu(**values)) == expected


def test_it_is_in_every_snapshot() -> None:
    """Whichever source the readings are of."""
    one = gpu(nvlink_links_active=2, nvlink_link_up={"0": True})
    snapshot = Derivation().update(Snapshot(time=0.0, source=SourceInfo("nvml"), gpus=(one,)))
    assert snapshot.gpus[0].contradicted == {"nvlink_links_active": True}


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        ("ecc_errors", "ecc_lifetime_errors"),
        ("nvlink_errors", "nvlink_link_errors"),
        ("nvlink_transmit_bytes", "nvlink_link_transmit_bytes"),
        ("nvlink_receive_bytes", "nvlink_link_receive_bytes"),
        ("nvlink_links_active", "nvlink_link_up"),
    ],
)
def test_what_is_compared_is_read_at_the_same_time(whole: str, parts: str) -> None:
    """Else each burst of errors would be a contradiction until the other is read."""
    assert GPU[whole].cadence is GPU[parts].cadence
