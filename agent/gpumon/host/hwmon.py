"""Power meters that the kernel knows: Grace's sockets, and boards that measure a whole node.

Both come by the kernel's acpi_power_meter (Documentation/hwmon/acpi_power_meter). A Grace module
reports four powers of each socket, of which only two are of use: ``Module``, which is the CPU and
its GPUs, and ``Grace``, which is the CPU's socket. ``CPU`` and ``SysIO`` are parts of that and do
not add up to it (93 to 104 W against 53 to 58 W seen). NVIDIA's guide to Grace power telemetry has
the labels. A meter without a label, as on x86, measures the whole node.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gpumon.host.collector import number_of, text_of
from gpumon.model.bounds import is_node_power
from gpumon.refusals import Refusals

log = logging.getLogger(__name__)

_LABEL = re.compile(r"(Module|Grace) Power Socket \d+$")


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

    def __init__(self, root: Path = Path("/"), refusals: Refusals | None = None) -> None:
        """Prepare to read the tree below a root."""
        self._folder = root / "sys" / "class" / "hwmon"
        self._refusals = refusals or Refusals()
        self._whole: set[str] = set()
        self._unreadable: set[str] = set()

    def collect(self) -> MeteredPower | None:
        """Return what the meters say, or None if there are none.

        Raises ValueError if Grace's meters are there and none of them says anything, and OSError or
        ValueError if there are meters and none can be read. One that cannot be read costs the
        others nothing.
        """
        labelled: dict[str, float | None] = {}
        whole: dict[str, float | None] = {}
        failed: Exception | None = None
        for name, place, label in self._meters():
            try:
                watts = self._watts(name, place)
                self._can(name)
            except (OSError, ValueError) as error:
                watts, failed = None, failed or error
                self._cannot(name, error)
            if label:
                labelled[label] = watts
            else:
                whole[name] = watts
        modules = _together([labelled[label] for label in labelled if label.startswith("Module")])
        sockets = _together([labelled[label] for label in labelled if label.startswith("Grace")])
        if modules is not None:
            return MeteredPower(modules, "grace_module", sockets)
        node = self._node(whole)
        if node is not None or sockets is not None:
            return MeteredPower(node, "hwmon", sockets)
        if failed is not None:
            raise failed
        if labelled:
            raise ValueError("Grace's power meters do not report the power of every socket")
        return None

    def _node(self, whole: Mapping[str, float | None]) -> float | None:
        """Return the watts of the meter of the whole node, if there is one and only one.

        Two would count it twice, and which of them is it nobody says: also while one of them
        cannot be read. A board may have a meter that nothing is connected to: it never measured.
        """
        self._whole |= {name for name, watts in whole.items() if watts is not None}
        measuring = [name for name in whole if name in self._whole]
        return whole[measuring[0]] if len(measuring) == 1 else None

    def _meters(self) -> Iterator[tuple[str, Path, str]]:
        """Yield (name, folder of its files, label) of each meter of use."""
        folders = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        for folder in folders:
            # Until Linux 6.14 the driver's files, its name's too, are the ACPI device's.
            place = next(
                (p for p in (folder / "device", folder) if (p / "power1_average").exists()), None
            )
            if place is None:
                continue
            try:
                label = _text_or_nothing(place / "power1_oem_info")
            except OSError as error:  # it may be a part's, and must not pass for the whole node's
                self._cannot(folder.name, error)
                continue
            name = _text_or_nothing(folder / "name") or _text_or_nothing(place / "name")
            if _LABEL.fullmatch(label) or (not label and name == "power_meter"):
                yield folder.name, place, label

    def _watts(self, name: str, place: Path) -> float | None:
        """Return what a meter measures; None for what cannot be."""
        watts = number_of(place / "power1_average") / 1e6
        if not is_node_power(watts):
            self._refusals.refuse("node_power", f"the power meter {name}", f"{watts:.0f} W")
            return None
        return watts or None  # no machine that runs draws nothing

    def _cannot(self, name: str, error: Exception) -> None:
        if name not in self._unreadable:
            log.warning("the power meter %s cannot be read (%s)", name, error)
        self._unreadable.add(name)

    def _can(self, name: str) -> None:
        if name in self._unreadable:
            self._unreadable.remove(name)
            log.info("the power meter %s is read again", name)


def _together(watts: Collection[float | None]) -> float | None:
    """Return the sum, or None if one is missing: some sockets are not the node."""
    known = [each for each in watts if each is not None]
    return sum(known) if known and len(known) == len(watts) else None


def _text_or_nothing(path: Path) -> str:
    try:
        return text_of(path)
    except FileNotFoundError:
        return ""
