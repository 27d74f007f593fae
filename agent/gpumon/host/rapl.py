"""The CPUs' own energy counters (RAPL), from the powercap tree of /sys.

Intel and AMD alike (kernel: Documentation/power/powercap). The counter wraps, after some minutes
under load, at a value that the tree names. It is readable by root alone since 2020, because it
leaks what a CPU computes (PLATYPUS, CVE-2020-8694).

Zones come and go: the driver is loaded again, a package is taken offline, one counter cannot be
read while the others can. Each zone is looked for each time, and none costs another its joules.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gpumon.clock import SYSTEM, Clock
from gpumon.host.collector import DeniedError, number_of, text_of
from gpumon.model import Denied
from gpumon.model.bounds import MOST_CPU_WATTS, MOST_NODE_WATTS
from gpumon.refusals import Refusals

log = logging.getLogger(__name__)

_ZONE = re.compile(r"intel-rapl:(\d+)(?::\d+)?$")
"""A package's zone, or a part of one; intel-rapl-mmio reports the same a second time."""

_TOP = re.compile(r"(package|psys)(?:-(\d+))?(?:-die-\d+)?$")
"""What the driver calls a zone that is not a part of another (intel_rapl_common.c): the dies of one
package are zones of their own, and ``psys`` without a number is package 0's."""

HOLE_SECONDS = 60.0
"""A counter that was not read for longer may have wrapped more than once, unseen: an AMD package
under load needs two to four minutes for one wrap. The joules are then the least that was drawn, and
power is not known."""

_PLATFORM = "psys"
_COUNTED = ("package", "dram")
"""What the CPUs draw together: DRAM has a domain of its own on Intel's servers, which is not a part
of the package's (Intel SDM 3B, 15.10); the platform (psys) contains all of them."""

DENIED = Denied(
    "gpumon_node_cpu_energy_joules_total",
    "read access to energy_uj below /sys/class/powercap, which is root's alone",
    "let the group gpumon read the files at each boot (docs/privileges.md has the lines), or run "
    "the agent with CAP_DAC_READ_SEARCH",
)


class CpuEnergy(NamedTuple):
    """What the CPUs drew: joules since the start by (package, domain), and watts since last time.

    ``watts`` is what the packages and, if they report it, their DRAM draw together; None at the
    first reading, and while one of them cannot be read.
    """

    joules: dict[tuple[str, str], float]
    watts: float | None


@dataclasses.dataclass(slots=True)
class _Counter:
    """One zone's counter: what it counts, and where it stood (microjoules) when (monotonic s).

    ``inode`` is another one after the driver was loaded again: then it is another counter.
    """

    key: tuple[str, str]
    inode: int
    range: int
    last: int
    read_at: float

    def step(self, now: int, monotonic: float) -> tuple[int, bool]:
        """Return what was drawn since the last reading, and whether that is possible.

        A wrap in between is undone; each further one goes unseen. At 350 W an Intel package takes
        twelve minutes for one, at 300 W an AMD package three and a half, and they are read every
        ten seconds.
        """
        drawn, seconds = now - self.last, monotonic - self.read_at
        self.last, self.read_at = now, monotonic
        if drawn < 0:
            drawn += self.range
        if drawn < 0:
            return 0, True  # without a range a wrap cannot be undone
        # A step beyond it is a counter that began again.
        most = MOST_NODE_WATTS if self.key[1] == _PLATFORM else MOST_CPU_WATTS
        possible = drawn <= most * max(seconds, 1.0) * 1e6
        return (drawn if possible else 0), possible


class Rapl:
    """Reads every zone there is; see Collector."""

    name = "rapl"
    period = 10.0
    deadline = 5.0

    def __init__(
        self, root: Path = Path("/"), clock: Clock = SYSTEM, refusals: Refusals | None = None
    ) -> None:
        """Prepare to read the tree below a root."""
        self._folder = root / "sys" / "class" / "powercap"
        self._clock = clock
        self._refusals = refusals or Refusals()
        self._counters: dict[str, _Counter] = {}
        self._packages: dict[str, str] = {}
        self._drawn: dict[tuple[str, str], int] = {}
        self._unreadable: set[str] = set()
        self._before: float | None = None

    def collect(self) -> CpuEnergy | None:
        """Return the joules so far, or None if there is no such tree.

        Raises DeniedError if none of its counters may, or may no longer, be read, OSError or
        ValueError if none of them can.
        """
        now = self._clock.monotonic()
        before, self._before = self._before, now
        zones = list(self._zones())
        self._counters = {name: self._counters[name] for name in zones if name in self._counters}
        readable = 0
        failed: Exception | None = None
        steps: list[float | None] = []
        for name in zones:
            try:
                step = self._read(name, now, before)
            except FileNotFoundError:  # it went away just now
                self._counters.pop(name, None)
            except (OSError, ValueError) as error:
                failed = failed or error
                self._cannot(name, error)
                steps.append(None if self._is_counted(name) else 0.0)
            else:
                readable += 1
                self._can(name)
                steps.append(step if self._is_counted(name) else 0.0)
        if not readable:
            if isinstance(failed, PermissionError):
                raise DeniedError(DENIED)
            if failed is not None:
                raise failed
            return None
        joules = {key: microjoules / 1e6 for key, microjoules in self._drawn.items()}
        return CpuEnergy(joules, _watts(steps, before, now))

    def _zones(self) -> Iterator[str]:
        folders = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        yield from (folder.name for folder in folders if _ZONE.fullmatch(folder.name))

    def _read(self, name: str, now: float, before: float | None) -> float | None:
        """Enter a zone's counter; return the microjoules since the last look, None if not known."""
        zone = self._folder / name
        inode = (zone / "energy_uj").stat().st_ino
        counter = self._counters.get(name)
        if counter is None or counter.inode != inode:
            microjoules = number_of(zone / "energy_uj")
            key = self._key(zone)
            self._counters[name] = _Counter(key, inode, _range(zone), microjoules, now)
            self._drawn.setdefault(key, 0)
            return None
        last, since = counter.last, counter.read_at
        microjoules = number_of(zone / "energy_uj")
        step, possible = counter.step(microjoules, now)
        if not possible:
            words = f"{microjoules / 1e6:.0f} J, {now - since:.0f} s after {last / 1e6:.0f} J"
            self._refusals.refuse("cpu_energy", f"RAPL's {name}", words)
            return None
        self._drawn[counter.key] += step
        return float(step) if since == before else None

    def _key(self, zone: Path) -> tuple[str, str]:
        """Return (package, domain) of a zone; a part's package is that of the zone it is below."""
        match = _ZONE.fullmatch(zone.name)
        assert match is not None
        domain = text_of(zone / "name")
        top = _TOP.fullmatch(domain)
        if top is not None:
            domain = top[1]
            self._packages[match[1]] = top[2] or "0"
        # A part is named after its package, whose zone sorts before it.
        return self._packages.get(match[1], match[1]), domain

    def _is_counted(self, name: str) -> bool:
        """Return whether a zone is a part of what the CPUs draw; one without a name may be."""
        counter = self._counters.get(name)
        try:
            key = self._key(self._folder / name) if counter is None else counter.key
        except OSError:
            return True
        return key[1] in _COUNTED

    def _cannot(self, name: str, error: Exception) -> None:
        # What may not be read is said as a right that was not given.
        if name not in self._unreadable and not isinstance(error, PermissionError):
            log.warning("RAPL's %s cannot be read (%s)", name, error)
            self._unreadable.add(name)

    def _can(self, name: str) -> None:
        if name in self._unreadable:
            self._unreadable.remove(name)
            log.info("RAPL's %s is read again", name)


def _watts(steps: list[float | None], before: float | None, now: float) -> float | None:
    """Return the watts of a time in which every zone was read at both ends."""
    known = [step for step in steps if step is not None]
    if before is None or not 0 < now - before <= HOLE_SECONDS or len(known) < len(steps):
        return None
    return sum(known) / 1e6 / (now - before)


def _range(zone: Path) -> int:
    try:
        return number_of(zone / "max_energy_range_uj")
    except (OSError, ValueError):
        return 0
