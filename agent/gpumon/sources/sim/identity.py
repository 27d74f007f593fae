"""Who the simulated GPUs are: the same for the same seed, model and slot, and in the real forms."""

from __future__ import annotations

import random
import typing
import uuid

from gpumon.model import GpuIdentity, Platform

if typing.TYPE_CHECKING:
    from gpumon.sources.sim.models import GpuModel

_MODULE_IDS = (2, 4, 3, 1, 7, 5, 8, 6)
"""Slots by NVML index: on real boards they are 1..8 and not in NVML's order (this one assumed)."""


def identity(model: GpuModel, seed: int, index: int) -> GpuIdentity:
    """Return the identity of the GPU at NVML index ``index``.

    Beyond what one base board holds, further boards follow, each with PCI domains of its own.
    """
    source = random.Random(f"identity/{seed}/{model.key}/{index}")
    board, slot = divmod(index, len(model.bus_ids))
    domain, bus = model.bus_ids[slot].split(":", 1)
    return GpuIdentity(
        index=index,
        # NVIDIA's are 128 arbitrary bits, without RFC 9562's version and variant.
        uuid=f"GPU-{uuid.UUID(int=source.getrandbits(128))}",
        name=model.name,
        architecture=model.architecture,
        serial=f"16{source.randrange(10**11):011d}",
        pci_bus_id=f"{int(domain, 16) + 0x100 * board:08X}:{bus}",
        module_id=_module_id(model, index),
        board_part_number=model.part_number,
        vbios_version=model.vbios,
        minor_number=index,
        platform=_platform(model, seed, index),
    )


_RACKS = {"GB200": 4}
"""GPUs of a host, of models that stand in racks which know their places."""


def _platform(model: GpuModel, seed: int, index: int) -> Platform | None:
    """Return where in an NVL72 a GPU sits; its compute trays are above and below the switches'."""
    of_host = _RACKS.get(model.key)
    if of_host is None:
        return None
    chassis = random.Random(f"chassis/{seed}/{model.key}").randrange(10**9)
    tray = index // of_host
    return Platform(
        chassis_serial=f"1820{chassis:09d}",
        slot=1 + tray if tray < _TRAYS_BELOW else 1 + tray + _SWITCH_TRAYS,
        tray=tray,
        host=1,
        module=_module_id(model, index),
        peer="switch",
    )


_TRAYS_BELOW, _SWITCH_TRAYS = 8, 9


def _module_id(model: GpuModel, index: int) -> int:
    order = [number for number in _MODULE_IDS if number <= len(model.bus_ids)]
    return order[index % len(order)]
