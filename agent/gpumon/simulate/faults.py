"""Faults: what may go wrong, on which nodes, when and for how long; and how that is written.

``xid=79@n0003:2`` is an Xid 79 of GPU 2 of node n0003, now; ``hot=30@rack:r001,start=60s,for=10m``
warms a rack's air by 30 degrees, from a minute after on, for ten minutes.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping

from gpumon.errors import UsageError, hint
from gpumon.model.terms import RECOVERY_ACTIONS
from gpumon.simulate.fleetplan import FleetPlan
from gpumon.times import parse_duration


class FaultScope(enum.Enum):
    """What a fault is of."""

    GPU = "GPU"
    NODE = "node"
    SITE = "site"


@dataclasses.dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault; ``default`` is the value if none is given, None if it has none.

    A default that is a number wants numbers.
    """

    scope: FaultScope
    help: str
    default: float | str | None = None


KINDS: Mapping[str, FaultKind] = {
    # A GPU as the driver tells of it.
    "lost": FaultKind(FaultScope.GPU, "off the bus"),
    "hung": FaultKind(FaultScope.GPU, "a call to the driver does not return"),
    "reset_required": FaultKind(
        FaultScope.GPU, "the driver asks for a reset and returns nothing else"
    ),
    "error": FaultKind(FaultScope.GPU, "the driver returns errors"),
    "xid": FaultKind(FaultScope.GPU, "an Xid of this code, once; a reset ends it", 79),
    "recovery": FaultKind(FaultScope.GPU, "the driver asks for this action", "gpu_reset"),
    "ecc_uncorrected": FaultKind(FaultScope.GPU, "this number of uncorrectable errors, at once", 1),
    "ecc_corrected": FaultKind(FaultScope.GPU, "this number of corrected errors a second", 5),
    "remap_pending": FaultKind(FaultScope.GPU, "a row waits for a reset to be replaced"),
    "remap_failed": FaultKind(FaultScope.GPU, "a row could not be replaced"),
    "remap_exhausted": FaultKind(FaultScope.GPU, "this number of banks without a spare row", 1),
    "sram_exceeded": FaultKind(FaultScope.GPU, "more SRAM errors than NVIDIA accepts"),
    "nvlink_down": FaultKind(FaultScope.GPU, "this number of NVLinks down", 1),
    "nvlink_errors": FaultKind(FaultScope.GPU, "this number of NVLink errors a second", 1),
    "fabric_stuck": FaultKind(FaultScope.GPU, "it does not join its NVLink fabric"),
    "fabric_unhealthy": FaultKind(
        FaultScope.GPU, "its fabric is in this condition", "degraded_bandwidth"
    ),
    "pcie_width": FaultKind(FaultScope.GPU, "PCI Express with this number of lanes", 8),
    "pcie_generation": FaultKind(FaultScope.GPU, "PCI Express of this generation", 3),
    "pcie_replays": FaultKind(
        FaultScope.GPU, "this number of PCI Express packets a second are sent again", 1
    ),
    "memory_hot": FaultKind(FaultScope.GPU, "its HBM at this many degrees C", 97),
    "hw_slowdown": FaultKind(FaultScope.GPU, "the hardware slows it down, and names no cause"),
    "persistence_off": FaultKind(FaultScope.GPU, "its persistence mode is off"),
    "ecc_off": FaultKind(FaultScope.GPU, "somebody has switched ECC off"),
    "energy_stuck": FaultKind(FaultScope.GPU, "its energy counter stands still"),
    "energy_diverging": FaultKind(
        FaultScope.GPU, "its energy counter goes at this share of its pace", 0.7
    ),
    "smoothing_life": FaultKind(
        FaultScope.GPU, "this share of its power smoothing's life is left", 0.05
    ),
    "vbios": FaultKind(FaultScope.GPU, "this version of its firmware", "96.00.A5.00.01"),
    "current_limited": FaultKind(FaultScope.GPU, "the power cap holds it far below its limit"),
    # Its physics: everything else follows.
    "hot": FaultKind(FaultScope.GPU, "its coolant or air is this many kelvins warmer", 30),
    "power_cap": FaultKind(FaultScope.GPU, "a power limit of this many watts", 400),
    "power_brake": FaultKind(FaultScope.GPU, "the external power brake is on"),
    "straggler": FaultKind(FaultScope.GPU, "its clock is held at this share of the highest", 0.4),
    # What runs on it.
    "idle": FaultKind(FaultScope.GPU, "held, with a process, and doing nothing"),
    "stalled": FaultKind(FaultScope.GPU, "a collective that waits forever"),
    "other_job": FaultKind(FaultScope.GPU, "the scheduler gives it to the job of this id", "9999"),
    "stray": FaultKind(FaultScope.GPU, "a process on it, and no job"),
    "overdraw": FaultKind(FaultScope.GPU, "works as hard as it can"),
    "swing": FaultKind(
        FaultScope.GPU, "alternates between full load and none, for this many seconds each", 20
    ),
    # A node and its agent.
    "missing": FaultKind(FaultScope.NODE, "this number of GPUs are missing", 1),
    "driver_dead": FaultKind(FaultScope.NODE, "the driver does not answer at all"),
    "driver": FaultKind(FaultScope.NODE, "this version of the driver", "570.86.15"),
    "released": FaultKind(FaultScope.NODE, "gpumon release, and nobody resumes"),
    "agent_dead": FaultKind(FaultScope.NODE, "the agent does not answer"),
    "node_dead": FaultKind(FaultScope.NODE, "the node is down, and the scheduler knows"),
    "agent_slow": FaultKind(FaultScope.NODE, "a scrape takes this many seconds", 3),
    "agent_stale": FaultKind(FaultScope.NODE, "its readings are not renewed"),
    "collector": FaultKind(FaultScope.NODE, "this collector fails", "ipmi"),
    "clock": FaultKind(FaultScope.NODE, "its clock is this many seconds ahead", 120),
    "workload_silent": FaultKind(FaultScope.NODE, "Slurm does not say who holds which GPU"),
    "reader_restarts": FaultKind(
        FaultScope.NODE, "this number of readers an hour are replaced", 60
    ),
    "unattributed_xid": FaultKind(
        FaultScope.NODE, "an Xid 79 at an address where no GPU was ever seen"
    ),
    "sxid": FaultKind(
        FaultScope.NODE, "a fatal error of this code of an NVSwitch; a reset ends it", 20034
    ),
    "scheduler": FaultKind(FaultScope.NODE, "the scheduler calls it this", "drained"),
    "unlisted": FaultKind(FaultScope.NODE, "in the site's list, and no target"),
    # The site's service.
    "fact_stale": FaultKind(FaultScope.SITE, "this fact is out of date", "carbon"),
    "site_dead": FaultKind(FaultScope.SITE, "the site's service does not answer"),
    "site_collector": FaultKind(FaultScope.SITE, "this cannot be read", "config"),
}

_FACTS = ("price", "carbon", "pue")
_CHOICES = {
    "recovery": RECOVERY_ACTIONS,
    "fact_stale": _FACTS,
    "site_collector": ("config", "slurm"),
    "collector": ("host", "ipmi"),
}
_LEVELS = ("rack", "row", "hall")

MOST_SECONDS = 366 * 86_400.0

_FORM = re.compile(
    r"(?P<kind>[a-z_]+)(=(?P<value>[\w.:/+-]{1,64}))?@(?P<where>[^,]{1,256})(?P<options>(,.*)?)",
    re.ASCII,
)

EXAMPLE = (
    "write KIND[=VALUE]@WHERE[,start=60s][,for=10m], such as xid=79@n0003:2 or hot=30@rack:r001"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault; ``gpus`` are the GPUs it is of, by node, None standing for all of a node's.

    ``begin`` and ``end`` are seconds since the fleet's opening; ``end`` is None while it lasts.
    """

    number: int
    kind: str
    value: float | str | None
    where: str
    gpus: Mapping[str, frozenset[int] | None]
    begin: float
    end: float | None = None

    def active(self, seconds: float) -> bool:
        """Return whether it is there at a time."""
        return self.begin <= seconds and (self.end is None or seconds < self.end)

    def begun(self, seconds: float) -> bool:
        """Return whether it has been there at any time up to a moment."""
        return self.begin <= seconds

    def lasted(self, seconds: float) -> float:
        """Return for how many seconds it has been there by a time."""
        until = seconds if self.end is None else min(seconds, self.end)
        return max(0.0, until - self.begin)

    def number_value(self) -> float:
        """Return the value of a kind that has a number."""
        assert isinstance(self.value, (float, int))
        return self.value

    def document(self, seconds: float) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "id": self.number,
            "kind": self.kind,
            "value": self.value,
            "where": self.where,
            "active": self.active(seconds),
            "begin_seconds": self.begin,
            "end_seconds": self.end,
        }


def parse_fault(text: str, plan: FleetPlan, *, number: int, now: float) -> Fault:
    """Return the fault that a text says, from ``now`` (seconds since the opening) on.

    Raises UsageError, with what would be right.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"fault {text!r}", EXAMPLE)
    name = match["kind"]
    kind = KINDS.get(name)
    if kind is None:
        raise UsageError(
            f"fault {text!r}: no kind {name!r}",
            f"known are {', '.join(KINDS)}{hint(name, list(KINDS))}",
        )
    begin, lasts = _times(text, match["options"])
    begin += now
    return Fault(
        number=number,
        kind=name,
        value=_value(text, name, kind, match["value"]),
        where=match["where"],
        gpus=_where(text, match["where"], kind.scope, plan),
        begin=begin,
        end=None if lasts is None else begin + lasts,
    )


def _value(text: str, name: str, kind: FaultKind, given: str | None) -> float | str | None:
    if given is None:
        return kind.default
    if kind.default is None:
        raise UsageError(f"fault {text!r}: {name} has no value", f"leave ={given} out")
    if isinstance(kind.default, str):
        choices = _CHOICES.get(name)
        if choices and given not in choices:
            raise UsageError(f"fault {text!r}", f"{name} is one of {', '.join(choices)}")
        return given
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise UsageError(f"fault {text!r}: {given!r} is not a number", f"for example {name}=5")
    return value


def _times(text: str, options: str) -> tuple[float, float | None]:
    """Return after how many seconds it begins, and how long it lasts, None if forever."""
    found: dict[str, float] = {}
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        if name not in ("start", "for"):
            raise UsageError(f"fault {text!r}: no option {name!r}", "known are start and for")
        try:
            found[name] = parse_duration(value)
        except ValueError as error:
            raise UsageError(f"fault {text!r}", str(error)) from None
        if found[name] > MOST_SECONDS:
            raise UsageError(f"fault {text!r}: {value} is too long", "a year is the most")
    return found.get("start", 0.0), found.get("for")


def _where(
    text: str, where: str, scope: FaultScope, plan: FleetPlan
) -> dict[str, frozenset[int] | None]:
    if where == "site":
        return dict.fromkeys((node.node for node in plan.nodes), None)
    if scope is FaultScope.SITE:
        raise UsageError(f"fault {text!r} is the site's", "write @site")
    level, _, name = where.partition(":")
    if level in _LEVELS:
        there = [node.node for node in plan.nodes if getattr(node, level) == name]
        if not there:
            known = list(dict.fromkeys(getattr(node, level) for node in plan.nodes))
            raise UsageError(
                f"fault {text!r}: no {level} {name!r}", f"there is {known[0]}{hint(name, known)}"
            )
        return dict.fromkeys(there, None)
    node = next((node for node in plan.nodes if node.node == level), None)
    if node is None:
        known = [n.node for n in plan.nodes]
        raise UsageError(
            f"fault {text!r}: no node {level!r}", f"the first is {known[0]}{hint(level, known)}"
        )
    if not name:
        return {level: None}
    number = int(name) if re.fullmatch("[0-9]{1,4}", name) else None
    if scope is not FaultScope.GPU or number is None or number >= plan.gpus_of(node):
        wanted = (
            f"a GPU from 0 to {plan.gpus_of(node) - 1}" if scope is FaultScope.GPU else "no GPU"
        )
        raise UsageError(f"fault {text!r}: {name!r}", f"{level} takes {wanted} there")
    return {level: frozenset({number})}
