"""Which PCI address a GPU is at that does not say so: its place among those that do.

NVML counts the GPUs of a node in the order of their PCI addresses. A GPU that is lost when it is
first asked for has an index and nothing else; the addresses of the GPUs before and after it, and
those between them that have a GPU, say which one it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpumon.model import GpuIdentity


def seats(gpus: Sequence[GpuIdentity], addresses: Iterable[str]) -> dict[int, str]:
    """Return the PCI addresses of GPUs that do not give theirs, by their index.

    ``gpus`` are all that a driver lists, in its order; ``addresses`` those at which a GPU may be.
    Left out is a GPU of which that is not certain: if there are more addresses between its
    neighbours than GPUs that may be there, or fewer, or if the order is another.
    """
    taken = [gpu.pci_bus_id for gpu in gpus if gpu.pci_bus_id]
    if taken != sorted(taken):
        return {}
    free = sorted({*addresses} - {*taken})
    found: dict[int, str] = {}
    for before, silent, after in _gaps(gpus):
        there = [a for a in free if before < a and (not after or a < after)]
        if len(there) == len(silent):
            found.update(zip(silent, there, strict=True))
    return found


def _gaps(gpus: Sequence[GpuIdentity]) -> Iterable[tuple[str, list[int], str]]:
    """Yield runs of GPUs without an address: the address before, their indices, the one after."""
    before, silent = "", list[int]()
    for gpu in gpus:
        if not gpu.pci_bus_id:
            silent.append(gpu.index)
            continue
        if silent:
            yield before, silent, gpu.pci_bus_id
        before, silent = gpu.pci_bus_id, []
    if silent:
        yield before, silent, ""
