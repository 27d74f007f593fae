"""Power meters that the kernel knows: Grace's sockets, and boards that measure a whole node.

A Grace module tells four powers of each socket, of which only two are of use: ``Module``, which is
the CPU and its GPUs, and ``Grace``, which is the CPU's socket. ``CPU`` and ``SysIO`` are parts of
that and do not add up to it (93 to 104 W against 53 to 58 W seen). NVIDIA's guide to Grace power
telemetry has the labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gpumon.host.collector import number_of, text_of

_LABEL = re.compile(r"(Module|Grace) Power Socket (\d+)$")


class MeteredPower(NamedTuple):
    """Watts of the whole node, and of its Grace CPU sockets; None for what is not metered.

    ``source`` is ``hwmon`` for a meter of the node, ``grace_module`` for the sum of its modules.
    """

    node_watts: float | None
    source: str
    cpu_watts: float | None


class Hwmon:
    """Reads the ACPI power meters; see Collector."""

    name = "hwmon"
    period = 5.0
    deadline = 5.0

    def __init__(self, root: Path = Path("/")) -> None:
        """Prepare to read the tree below a root."""
        self._folder = root / "sys" / "class" / "hwmon"

    def collect(self) -> MeteredPower | None:
        """Return what the meters say, or None where there are none."""
        meters = dict(self._meters())
        if not meters:
            return None
        modules = [watts for label, watts in meters.items() if label.startswith("Module")]
        sockets = [watts for label, watts in meters.items() if label.startswith("Grace")]
        node = [watts for label, watts in meters.items() if label.startswith("meter ")]
        if modules:
            return MeteredPower(sum(modules), "grace_module", sum(sockets) if sockets else None)
        return MeteredPower(sum(node) if node else None, "hwmon", sum(sockets) if sockets else None)

    def _meters(self) -> Iterator[tuple[str, float]]:
        """Yield (label, watts) of each meter that says something."""
        folders = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        for folder in folders:
            device = folder / "device"
            if not (device / "power1_average").exists():
                continue
            try:
                label = text_of(device / "power1_oem_info")
            except OSError:
                label = ""
            watts = number_of(device / "power1_average") / 1e6
            if watts <= 0:  # no machine that runs draws nothing: the meter is not connected
                continue
            if _LABEL.fullmatch(label):
                yield label, watts
            elif not label and text_of(folder / "name") == "power_meter":
                yield f"meter {folder.name}", watts
