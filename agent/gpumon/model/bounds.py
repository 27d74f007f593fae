"""What a reading can be: bounds by physics for every quantity, and by a GPU's own limits.

A driver, a BMC or a log that does not know a value often says so with all bits set, -1 or a number
that no hardware can mean. A reading outside its bounds is left out (``gpumon.sources.gate``), so
the bounds are wide: a spike, a board of the next generation or an odd unit must pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gpumon.model.age import GpuAge
from gpumon.model.agent import AgentReading
from gpumon.model.gpu import GpuReading
from gpumon.model.host import HostReading
from gpumon.model.ledger import JobGpuReading, JobReading, LedgerReading
from gpumon.model.metric import Kind, Metric
from gpumon.model.mig import MigReading
from gpumon.model.nvswitch import NvswitchReading
from gpumon.model.site import SiteNodeReading, SiteReading
from gpumon.model.snapshot import NodeReading
from gpumon.model.totals import NodeTotals

MOST_GPU_WATTS = 10_000.0
"""More than a GPU or a Grace module draws: a GB200 superchip draws 2.7 kW, and the largest package
that is announced (Rubin Ultra) 3.6 kW."""

MOST_NODE_WATTS = 50_000.0
"""More than one node draws: one with eight of the largest GPUs draws 15 kW, a tray of an NVL72 7 kW
(its rack, which no node measures, 132 kW). A BMC or a meter that knows no value says so with all
bits set, which is 65,535 W or 4.3 MW."""

MOST_CPU_WATTS = 2000.0
"""More than a CPU package with its memory draws."""

LIMIT_TIMES = 2.0
"""Times its own power limit that a GPU may be read at. The limit holds over seconds; the shortest
sample of a driver is a mean over 10 ms or more, and a board may draw twice its power for as long
(PCI Express CEM 5.0)."""

LEAST_LIMIT_WATTS = 100.0
"""A lower limit says nothing: laptops' boards have reported a few watts while they drew dozens."""

CLOCK_TIMES = 1.5
"""Times its highest clock that a GPU may run at, if somebody overclocks it."""

MOST_TIME = 1e11
"""Unix seconds of the year 5138; a time in milliseconds is more."""

MOST_KEPT = 2**63 - 1
"""The greatest whole number that the state file keeps."""

MOST_PID = 2**31 - 1
"""pid_t has no more bits, and Linux gives 4,194,304 at most."""

_BITS = (31, 32, 63, 64)


def _all_ones() -> Iterator[float]:
    for bits in _BITS:
        ones = 2**bits - 1
        for times in (1, 1024, 1024 * 1024, 1_000_000):
            yield from (ones * times, float(ones * times))
        yield from (ones / parts for parts in (100, 1000, 1_000_000, 1_000_000_000))


ALL_ONES = frozenset(_all_ones())
"""All bits of 32 or 64 set, or all but the sign's, in the units in which drivers speak. Fewer bits
(255 per cent, 65,535 W) are beyond the bounds wherever they cannot be true: a GPU that idles draws
65,535 mW now and then."""


class Bound(NamedTuple):
    """The least and the most that a quantity can be, in its base unit; both are possible.

    What is in ``never`` is not, though it lies between.
    """

    least: float
    most: float
    never: frozenset[float] = ALL_ONES

    def holds(self, value: float) -> bool:
        """Return whether a value is possible; NaN is not."""
        return self.least <= value <= self.most and value not in self.never


_GPU_POWER = Bound(0, MOST_GPU_WATTS)

_JOULES = Bound(0, 1e13)
"""30 years of 10 kW; the whole millijoules of that fit into 64 bits."""

_TEMPERATURE = Bound(-50, 150, ALL_ONES | {-1})
"""A GPU may be started in the cold. At -1 °C, of all degrees, none is shown: drivers and tools say
so that they know no temperature, much more often than a GPU is just as cold."""

_THRESHOLD = Bound(0, 150)
"""Of a temperature: none of them is below freezing."""

_TRUTH = Bound(0, 1)

_COUNT = Bound(0, 2**53)
"""Of events: one a nanosecond for a hundred days."""

_NUMBER = Bound(0, 2**31 - 2)

_PCIE_RATE = Bound(0, 2e12)
_NVLINK_RATE = Bound(0, 1e13)
"""Bytes a second, one way: many times those of 16 lanes of PCI Express 6 (0.12e12), and ten times
those of the NVLinks of a Blackwell GPU."""

_UNITS: Mapping[str, Bound] = {
    "watts": _GPU_POWER,
    "joules": _JOULES,
    "celsius": _TEMPERATURE,
    "ratio": Bound(0, 1.1),  # means of counters that are not read at the same instant
    "bytes": Bound(0, 2**50),
    "hertz": Bound(0, 50e9),
    "seconds": Bound(0, MOST_TIME),
}
"""By the unit that a metric's name ends in."""

_COUNTERS: Mapping[str, Bound] = {
    "bytes": Bound(0, 2**74),  # the driver counts KiB in 64 bits
    "": _COUNT,
}
"""The same of counters, if it is another."""

_FIELDS: Mapping[type, Mapping[str, Bound]] = {
    GpuReading: {
        # Below 0 a GPU is hotter than its slowdown, which must be seen.
        "temperature_margin_celsius": Bound(-100, 150),
        "fan_speed_ratio": Bound(0, 2),  # nvml.h: it may exceed 100 %
        "energy_divergence_ratio": Bound(-1, 1e9),
        "pcie_transmit_bytes_per_second": _PCIE_RATE,
        "pcie_receive_bytes_per_second": _PCIE_RATE,
        "nvlink_transmit_bytes_per_second": _NVLINK_RATE,
        "nvlink_receive_bytes_per_second": _NVLINK_RATE,
        "sm_cycles": Bound(0, 2**64),  # 132 SMs at 2 GHz are 8e18 in a year
        "pcie_link_generation": Bound(0, 16),
        "pcie_link_generation_max": Bound(0, 16),
        "pcie_link_width": Bound(0, 64),
        "pcie_link_width_max": Bound(0, 64),
        "nvlink_links": Bound(0, 254),
        "nvlink_links_active": Bound(0, 254),
        "nvlink_version": Bound(0, 254),
        "nvlink_link_bandwidth_bytes_per_second": _NVLINK_RATE,
        "temperature_threshold_celsius": _THRESHOLD,
        "temperature_shutdown_celsius": _THRESHOLD,
        "temperature_margin_threshold_celsius": Bound(-100, 150),
        "performance_state": Bound(0, 32),  # nvml.h: 32 is not known
        "fabric_status": _NUMBER,
        "remap_banks": Bound(0, 1e6),
        "remap_banks_exhausted": Bound(0, 1e6),
        "processes": Bound(0, 1e6),
    },
    MigReading: {"multiprocessors": Bound(1, 10_000)},
    HostReading: {
        "power_watts": Bound(0, MOST_NODE_WATTS),
        "energy_joules": Bound(0, 1e14),
        "cpus": Bound(1, 65_534),
    },
}
"""Of single fields."""

_MADE_HERE: Mapping[type, str] = {
    GpuAge: "measured by gpumon's own clock",
    NodeReading: "the sum of readings that passed",
    NodeTotals: "the sum of readings that passed",
    NvswitchReading: "counted by gpumon; the kernel log's parser takes nine digits at most",
    JobReading: "booked by gpumon of readings that passed",
    JobGpuReading: "booked by gpumon of readings that passed",
    LedgerReading: "booked by gpumon of readings that passed",
    AgentReading: "counted by gpumon",
    SiteNodeReading: "declared by the operator; its reader refuses what cannot be",
    SiteReading: "declared by the operator; its reader refuses what cannot be",
}
"""Readings that no hardware reports, and why they need no bounds."""

_REMEMBERED = "counted by gpumon of Xids that passed"

_NO_BOUND: Mapping[type, Mapping[str, str]] = {
    GpuReading: dict.fromkeys(
        ("xid_errors", "xid_last_timestamp_seconds", "xid_unresolved", "xid_events"), _REMEMBERED
    )
}


def bound_of(owner: type, metric: Metric) -> Bound | str:
    """Return the bounds of a quantity, or why it needs none.

    Raises LookupError if there is neither: the table lacks a row.
    """
    reason = _reason(owner, metric)
    if reason:
        return reason
    own = _FIELDS.get(owner, {}).get(metric.field)
    if own is not None:
        return own
    if _is_truth(owner, metric.field):
        return _TRUTH
    by_unit = _UNITS.get(metric.unit)
    if metric.kind is Kind.COUNTER:
        by_unit = _COUNTERS.get(metric.unit, by_unit)
    if by_unit is None:
        raise LookupError(f"{metric.name} has neither a bound nor a reason for none")
    return by_unit


def _reason(owner: type, metric: Metric) -> str:
    """Return why a quantity needs no bounds; empty if it needs some."""
    if owner in _MADE_HERE:
        return _MADE_HERE[owner]
    if metric.kind is Kind.INFO:
        return "text"
    if metric.states:
        return "one of some words"
    return _NO_BOUND.get(owner, {}).get(metric.field, "")


def quantity_of(metric: Metric) -> str:
    """Return the name under which a metric's refusals are counted: without prefix and unit."""
    name = metric.family.removeprefix("gpumon_")
    return name.removesuffix(f"_{metric.unit}") if metric.unit else name


def _is_truth(owner: type, field: str) -> bool:
    """Return whether a field is, or maps labels to, true or false."""
    declared: Any = _annotated(owner).get(field)
    value = getattr(owner, field, None)
    if isinstance(value, property) and value.fget is not None:
        declared = value.fget.__annotations__.get("return")
    return "bool" in str(declared)


def _annotated(owner: type) -> dict[str, Any]:
    """Return the annotations of a class and of those it is made of."""
    found: dict[str, Any] = {}
    for part in reversed(owner.__mro__):
        found |= vars(part).get("__annotations__", {})
    return found


def is_time(value: Any) -> bool:
    """Return whether something can be a time in unix seconds."""
    return isinstance(value, int | float) and 0 <= value <= MOST_TIME


def is_number(value: Any) -> bool:
    """Return whether something can be a code, or the number of an instance or a slot."""
    return isinstance(value, int) and _NUMBER.holds(value)


def is_pid(value: Any) -> bool:
    """Return whether something can be the number of a process."""
    return isinstance(value, int) and 0 < value < MOST_PID


def is_temperature(degrees: float) -> bool:
    """Return whether a GPU can be this hot, or this cold (degrees Celsius)."""
    return _TEMPERATURE.holds(degrees)


def is_threshold(degrees: float) -> bool:
    """Return whether a GPU can have this threshold of its temperature (degrees Celsius)."""
    return _THRESHOLD.holds(degrees)


def is_node_power(watts: float) -> bool:
    """Return whether a node can draw this."""
    return _FIELDS[HostReading]["power_watts"].holds(watts)


def power_bound(limits: Iterable[float | None], *, module: bool) -> Bound:
    """Return what a GPU with these power limits can draw.

    The limits of a GPU say nothing of its Grace ``module``.
    """
    known = [limit for limit in limits if limit is not None and 0 < limit <= MOST_GPU_WATTS]
    if module or not known:
        return _GPU_POWER
    return Bound(0, min(MOST_GPU_WATTS, LIMIT_TIMES * max(LEAST_LIMIT_WATTS, *known)))
