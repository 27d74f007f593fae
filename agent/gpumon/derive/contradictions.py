"""Readings of one GPU that cannot both be true: which of them do not agree.

What a driver reports as a sum and what it reports for each part come from different places in it,
and one of them may be wrong. That is reported; which of them is right is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from gpumon.model import GpuReading
from gpumon.model.bounds import Bound

_COUNTER = Bound(0, 2**74)
"""What a sum can be at all: a driver that does not know one has all bits set."""

LEAST_ERRORS = 10
LEAST_BYTES = 2**20
"""Two counters are read one after the other: below these they may differ for that."""


def contradictions(gpu: GpuReading) -> dict[str, bool] | None:
    """Return the sums that are not those of their parts; None if there are none."""
    return {name: True for name, apart in _compared(gpu) if apart} or None


def _compared(gpu: GpuReading) -> Iterator[tuple[str, bool]]:
    """Yield each sum that can be compared, and whether it is another than that of its parts.

    A source gives some beside what their parts add up to; parts that are readings themselves are of
    the full tier.
    """
    for name, pair in (gpu.sums or {}).items():
        if all(map(_COUNTER.holds, pair)):
            yield name, _apart(*pair, LEAST_BYTES if name.endswith("_bytes") else LEAST_ERRORS)
    for kind, total in (gpu.nvlink_errors or {}).items():
        links = [n for (what, _), n in (gpu.nvlink_link_errors or {}).items() if what == kind]
        if links:
            yield f"nvlink_errors.{kind}", _not_of_links(gpu, total, links, LEAST_ERRORS)
    for name, whole, parts in (
        ("nvlink_transmit_bytes", gpu.nvlink_transmit_bytes, gpu.nvlink_link_transmit_bytes),
        ("nvlink_receive_bytes", gpu.nvlink_receive_bytes, gpu.nvlink_link_receive_bytes),
    ):
        if whole is not None and parts:
            yield name, _not_of_links(gpu, whole, parts.values(), LEAST_BYTES)
    if gpu.nvlink_links_active is not None and gpu.nvlink_link_up:
        up = sum(gpu.nvlink_link_up.values())
        yield "nvlink_links_active", up != gpu.nvlink_links_active
    yield from _lifetimes(gpu.ecc_errors, gpu.ecc_lifetime_errors)


def _not_of_links(gpu: GpuReading, total: int, links: Collection[int], least: int) -> bool:
    """Return whether a total cannot be that of the links.

    While a link does not answer, the total holds what that one had: it may then be more than the
    others have, and not less.
    """
    if len(links) != gpu.nvlink_links and total >= sum(links):
        return False
    return _apart(total, sum(links), least)


def _lifetimes(
    now: Mapping[tuple[str, str], int] | None, ever: Mapping[tuple[str, str], int] | None
) -> Iterator[tuple[str, bool]]:
    """Compare errors since the driver was loaded with those over the board's life."""
    for (error, location), count in (now or {}).items():
        lifetime = (ever or {}).get((error, location))
        if lifetime is not None:
            # The InfoROM is written now and then.
            apart = count > lifetime and _apart(count, lifetime, LEAST_ERRORS)
            yield f"ecc_errors.{error}.{location}", apart


def _apart(one: int, other: int, least: int) -> bool:
    """Return whether two counters of the same cannot both be right: one is twice the other."""
    return max(one, other) >= least and max(one, other) > 2 * min(one, other)
