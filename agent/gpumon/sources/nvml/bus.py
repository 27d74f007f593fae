"""NVIDIA's GPUs as the PCI bus has them, whether or not this driver does.

Nothing here asks the driver, so a GPU that no longer answers is still seen; and so is one that
another driver has, such as vfio-pci, which hands it to a virtual machine.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

DEVICES = Path("/sys/bus/pci/devices")

OURS = "nvidia"
"""The name of NVIDIA's kernel driver; a GPU that it drives is one that NVML should list."""

_NVIDIA, _DISPLAY = "0x10de", "0x03"


@dataclasses.dataclass(frozen=True, slots=True)
class BusGpu:
    """A GPU on the bus: its address as NVML writes it, and its driver, empty if it has none."""

    pci_bus_id: str
    driver: str


def boards(folder: Path = DEVICES) -> tuple[BusGpu, ...]:
    """Return NVIDIA's GPUs in the order of their addresses; none if the bus cannot be seen."""
    try:
        found = [board for device in folder.iterdir() if (board := _board(device)) is not None]
    except OSError:
        return ()
    return tuple(sorted(found, key=lambda board: board.pci_bus_id))


def _is_virtual(device: Path) -> bool:
    """Return whether a PCI device is one of another's virtual functions (SR-IOV).

    A host of vGPUs has up to 32 for each GPU; none of them is a board.
    """
    return (device / "physfn").is_symlink()


def _board(device: Path) -> BusGpu | None:
    try:
        vendor, kind = ((device / name).read_text("ascii") for name in ("vendor", "class"))
        if vendor.strip() != _NVIDIA or not kind.startswith(_DISPLAY) or _is_virtual(device):
            return None
        domain, _, rest = device.name.partition(":")
        address = f"{int(domain, 16):08X}:{rest.upper()}"
        link = device / "driver"
        return BusGpu(address, link.readlink().name if link.is_symlink() else "")
    except (OSError, ValueError):  # unplugged while it was looked at
        return None
