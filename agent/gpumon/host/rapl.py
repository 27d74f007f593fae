"""The CPUs' own energy counters (RAPL), from the powercap tree of /sys.

Intel and AMD alike (kernel: Documentation/power/powercap). The counter wraps, after some minutes
under load, at a value that the tree names. It is readable by root alone since 2020, because it
leaks what a CPU computes (PLATYPUS, CVE-2020-8694).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gpumon.clock import SYSTEM, Clock
from gpumon.host.collector import DeniedError, number_of, text_of
from gpumon.model import Denied

_ZONE = re.compile(r"intel-rapl:(\d+)(?::\d+)?$")
"""A package's zone, or a part of one; intel-rapl-mmio tells the same a second time."""

_TOP = re.compile(r"(package|psys)(?:-(\d+))?(?:-die-\d+)?$")
"""What the driver calls a zone that is no part of another (intel_rapl_common.c): the dies of one
package are zones of their own, and ``psys`` without a number is package 0's."""

HOLE_SECONDS = 60.0
"""A counter that was not read for longer may have wrapped more than once, unseen: an AMD package
under load needs two to four minutes for one wrap. The joules are then the least that was drawn, and
power is not told."""

DENIED = Denied(
    "gpumon_node_cpu_energy_joules_total",
    "read access to energy_uj below /sys/class/powercap, which is root's alone",
    "let the group gpumon read the files at each boot (docs/privileges.md has the lines), or run "
    "the agent with CAP_DAC_READ_SEARCH",
)


class CpuEnergy(NamedTuple):
    """What the CPUs drew: joules since the start by (package, domain), and watts since last time.

    ``watts`` is what the packages and, where it is told, their DRAM draw together, or None at the
    first reading.
    """

    joules: dict[tuple[str, str], float]
    watts: float | None


@dataclasses.dataclass(slots=True)
class _Counter:
    """One zone's counter: where it is, and what it has counted since the start, in microjoules."""

    path: Path
    range: int
    last: int
    microjoules: int = 0

    def read(self) -> None:
        """Add what was drawn since the last reading; a wrap in between is undone.

        Each further wrap goes unseen. At 350 W an Intel package takes twelve minutes for one, at
        300 W an AMD package three and a half, and they are read every ten seconds.
        """
        now = number_of(self.path / "energy_uj")
        drawn = now - self.last
        if drawn < 0:
            drawn += self.range
        if drawn >= 0:  # else the range is not told: a wrap cannot be undone
            self.microjoules += drawn
        self.last = now


class Rapl:
    """Reads every zone there is; see Collector."""

    name = "rapl"
    period = 10.0
    deadline = 5.0

    def __init__(self, root: Path = Path("/"), clock: Clock = SYSTEM) -> None:
        """Prepare to read the tree below a root."""
        self._folder = root / "sys" / "class" / "powercap"
        self._clock = clock
        self._counters: list[tuple[tuple[str, str], _Counter]] = []
        self._before: tuple[float, int] | None = None

    def collect(self) -> CpuEnergy | None:
        """Return the joules so far, or None where there is no such tree.

        Raises DeniedError where its counters may not, or no longer, be read.
        """
        try:
            if self._counters:
                for _, counter in self._counters:
                    counter.read()
            else:
                self._counters = list(self._find())
        except PermissionError:
            raise DeniedError(DENIED) from None
        if not self._counters:
            return None
        drawn: dict[tuple[str, str], int] = {}
        for key, counter in self._counters:
            drawn[key] = drawn.get(key, 0) + counter.microjoules
        joules = {key: microjoules / 1e6 for key, microjoules in drawn.items()}
        return CpuEnergy(joules, self._watts(drawn))

    def _watts(self, drawn: Mapping[tuple[str, str], int]) -> float | None:
        # DRAM has a domain of its own on Intel's servers, which is no part of the package's
        # (Intel SDM 3B, 15.10). psys is the whole platform and contains all of them.
        counted = ("package", "dram")
        now = self._clock.monotonic()
        total = sum(microjoules for (_, domain), microjoules in drawn.items() if domain in counted)
        before, self._before = self._before, (now, total)
        if before is None or not 0 < now - before[0] <= HOLE_SECONDS:
            return None
        return (total - before[1]) / 1e6 / (now - before[0])

    def _find(self) -> Iterator[tuple[tuple[str, str], _Counter]]:
        """Yield ((package, domain), counter) of each zone; more than one where there are dies."""
        zones = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        packages: dict[str, str] = {}
        for zone in zones:
            match = _ZONE.fullmatch(zone.name)
            if match is None:
                continue
            domain = text_of(zone / "name")
            top = _TOP.fullmatch(domain)
            if top is not None:
                domain = top[1]
                packages.setdefault(match[1], top[2] or "0")
            # A part is named after its package, whose zone sorts before it.
            key = (packages.get(match[1], match[1]), domain)
            yield key, _Counter(zone, _range(zone), number_of(zone / "energy_uj"))


def _range(zone: Path) -> int:
    try:
        return number_of(zone / "max_energy_range_uj")
    except (OSError, ValueError):
        return 0
