"""Which address a GPU is at that does not say so: what is certain, and what is not."""

from __future__ import annotations

import pytest

from gpumon.derive.seats import seats
from gpumon.model import GpuIdentity


def gpus(*addresses: str) -> list[GpuIdentity]:
    """Return GPUs in the driver's order; an empty address is one that says nothing."""
    return [GpuIdentity(i, f"GPU-{i}", pci_bus_id=a) for i, a in enumerate(addresses)]


@pytest.mark.parametrize(
    ("listed", "addresses", "found"),
    [
        pytest.param(("A", "", "C"), "ABC", {1: "B"}, id="one between two"),
        pytest.param(("", "", "C"), "ABC", {0: "A", 1: "B"}, id="two at the beginning"),
        pytest.param(("A", ""), "AB", {1: "B"}, id="the last"),
        pytest.param(("", ""), "AB", {0: "A", 1: "B"}, id="all of them"),
        pytest.param(("A", "", "D"), "ABCD", {}, id="one, and two addresses"),
        pytest.param(("A", "", "", "D"), "ABD", {}, id="two, and one address"),
        pytest.param(("", "B", "", "D"), "ABCCD", {0: "A", 2: "C"}, id="two gaps"),
        pytest.param(("", "B", "", "F"), "ABCDF", {0: "A"}, id="one gap is certain, one is not"),
        pytest.param(("C", "", "A"), "ABC", {}, id="another order"),
        pytest.param(("A", "B"), "ABC", {}, id="nobody is silent"),
        pytest.param(("A", ""), "", {}, id="no address is known"),
    ],
)
def test_only_what_is_certain_is_said(
    listed: tuple[str, ...], addresses: str, found: dict[int, str]
) -> None:
    """A GPU that may be at either of two addresses is at none."""
    assert seats(gpus(*listed), addresses) == found
