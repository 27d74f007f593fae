"""Power meters that the kernel knows: Grace's sockets, and boards that measure a whole node.

Both come by the kernel's acpi_power_meter (Documentation/hwmon/acpi_power_meter). A Grace module
tells four powers of each socket, of which only two are of use: ``Module``, which is the CPU and its
GPUs, and ``Grace``, which is the CPU's socket. ``CPU`` and ``SysIO`` are parts of that and do not
add up to it (93 to 104 W against 53 to 58 W seen). NVIDIA's guide to Grace power telemetry has the
labels. A meter without a label, as on x86, measures the whole node.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from gpumon.host.collector import number_of, text_of

_LABEL = re.compile(r"(Module|Grace) Power Socket \d+$")

_MOST_WATTS = 1e6
"""More than a rack draws. A meter that knows no value says so with all bits set (ACPI 6.0, 10.4.3),
which the driver passes on as 4.3 MW."""


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
        """Return what the meters say, or None where there are none.

        Raises ValueError where Grace's meters are there and none of them says anything.
        """
        labelled: dict[str, float | None] = {}
        whole = []
        for label, watts in self._meters():
            if label:
                labelled[label] = watts
            elif watts is not None:  # a board may have a meter that nothing is connected to
                whole.append(watts)
        modules = _together([labelled[label] for label in labelled if label.startswith("Module")])
        sockets = _together([labelled[label] for label in labelled if label.startswith("Grace")])
        if modules is not None:
            return MeteredPower(modules, "grace_module", sockets)
        # Two meters of the whole node would count it twice, and which of them is it is not told.
        node = whole[0] if len(whole) == 1 else None
        if node is None and sockets is None:
            if labelled:
                raise ValueError("Grace's power meters do not tell the power of every socket")
            return None
        return MeteredPower(node, "hwmon", sockets)

    def _meters(self) -> Iterator[tuple[str, float | None]]:
        """Yield (label, watts) of each meter of use; None for watts that cannot be."""
        folders = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        for folder in folders:
            # Until Linux 6.14 the driver's files, its name's too, are the ACPI device's.
            place = next(
                (p for p in (folder / "device", folder) if (p / "power1_average").exists()), None
            )
            if place is None:
                continue
            label = _text_or_nothing(place / "power1_oem_info")
            name = _text_or_nothing(folder / "name") or _text_or_nothing(place / "name")
            if _LABEL.fullmatch(label) or (not label and name == "power_meter"):
                watts = number_of(place / "power1_average") / 1e6
                # No machine that runs draws nothing.
                yield label, watts if 0 < watts < _MOST_WATTS else None


def _together(watts: Collection[float | None]) -> float | None:
    """Return the sum, or None where one is missing: some sockets are not the node."""
    known = [each for each in watts if each is not None]
    return sum(known) if known and len(known) == len(watts) else None


def _text_or_nothing(path: Path) -> str:
    try:
        return text_of(path)
    except FileNotFoundError:
        return ""
