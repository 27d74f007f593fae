"""What happened to a GPU: an Xid, or an SXid of an NVSwitch, as one source reported it."""

from __future__ import annotations

import dataclasses

NVML = "nvml"
LOG = "log"
BUS = "bus"
"""The kernel's plain words that a GPU has fallen off the bus, which carry no number."""


@dataclasses.dataclass(frozen=True, slots=True)
class XidEvent:
    """An Xid at ``time`` (unix seconds), seen by one source: ``nvml``, ``log`` or ``bus``.

    ``pci`` is the GPU's address as the kernel writes it, four digits of domain and no function:
    ``0000:29:00``. What the source does not report is None or empty.
    """

    time: float
    xid: int
    pci: str
    source: str
    pid: int | None = None
    process: str = ""
    text: str = ""
    gpu_instance: int | None = None
    compute_instance: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class SxidEvent:
    """An error of an NVSwitch, from the kernel log; ``fatal`` is the line's own word."""

    time: float
    sxid: int
    pci: str
    nvswitch: int
    fatal: bool
    link: int | None = None
    text: str = ""


def kernel_address(pci_bus_id: str) -> str:
    """Return NVML's ``00000000:29:00.0`` as the kernel log writes it: ``0000:29:00``.

    A domain above four digits stays as long as it is. Other text is returned as is.
    """
    domain, _, rest = pci_bus_id.lower().partition(":")
    if not rest:
        return pci_bus_id
    return f"{domain[-4:] if not domain[:-4].strip('0') else domain}:{rest.partition('.')[0]}"
