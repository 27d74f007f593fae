"""The one gate that the readings of every source pass: what cannot be is left out, and counted.

Each value is held against the bounds of its quantity (``gpumon.model.bounds``) and against the
limits of its own GPU: its power limit, memory, clocks and links. A value that is refused is absent,
never 0, and costs no other value and no other GPU anything.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gpumon.clock import SYSTEM
from gpumon.model import (
    GpuProcess,
    GpuReading,
    HostReading,
    MigReading,
    PowerSample,
    Snapshot,
    XidEvent,
    group_of,
)
from gpumon.model.bounds import (
    CLOCK_TIMES,
    Bound,
    bound_of,
    is_number,
    is_pid,
    is_time,
    power_bound,
    quantity_of,
)
from gpumon.model.origins import MIG
from gpumon.refusals import Refusals


class _Rule(NamedTuple):
    """What a field can be, and the name under which its refusals are counted."""

    quantity: str
    bound: Bound


def _rules(owner: type) -> dict[str, _Rule]:
    found = [(m.field, quantity_of(m), bound_of(owner, m)) for m in group_of(owner).metrics]
    return {field: _Rule(name, bound) for field, name, bound in found if isinstance(bound, Bound)}


_GPU, _MIG, _HOST = _rules(GpuReading), _rules(MigReading), _rules(HostReading)

_WORDS = {m.field: quantity_of(m) for m in group_of(GpuReading).metrics if m.states}
"""Fields that are words; a mask or a code that has none stands in them as a number."""

_POWERS = ("power_watts", "power_peak_watts", "power_trough_watts", "memory_power_watts")

_NUMBERS = ("module_id", "minor_number")
"""Numbers of a GPU's identity."""

_INSTANCE_NUMBERS = ("gpu_instance", "compute_instance")
"""Those of a MIG instance's."""

_SMS = f"{MIG}multiprocessors"
"""What is read once of a MIG instance, among the fields that a reading repeats."""

_NOT_ABOVE = (
    ("memory_used_bytes", "memory_total_bytes", 1.0),
    ("memory_reserved_bytes", "memory_total_bytes", 1.0),
    ("clock_hertz", "clock_max_hertz", CLOCK_TIMES),
    ("pcie_link_generation", "pcie_link_generation_max", 1.0),
    ("pcie_link_width", "pcie_link_width_max", 1.0),
    ("nvlink_links_active", "nvlink_links", 1.0),
)
"""Fields of which the first cannot be above the second, or above a multiple of it."""

_Refuse = Callable[[str, str, object], None]
"""Takes note of a refusal: the quantity, the field in words, and the value."""


class _Seen(NamedTuple):
    """A GPU's newest reading as it came and as it passed, and the fields in which they differ."""

    said: GpuReading
    passed: GpuReading
    refused: frozenset[str]


class Gate:
    """Holds readings against what can be; belongs to one source, and to its thread."""

    def __init__(self, refusals: Refusals) -> None:
        """Have seen nothing yet; ``refusals`` counts and logs what is left out."""
        self._refusals = refusals
        self._gpus: dict[str, _Seen] = {}

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot without what cannot be, and with how much was refused."""
        time = snapshot.time if is_time(snapshot.time) else SYSTEM.time()
        gpus = tuple(self.gpu(gpu, time) for gpu in snapshot.gpus)
        there = {gpu.identity.uuid for gpu in gpus}
        self._gpus = {uuid: seen for uuid, seen in self._gpus.items() if uuid in there}
        host = self.host(snapshot.host)
        events = tuple(self._events(snapshot.events, time))
        refused = dict(snapshot.refused)
        for quantity, count in self._refusals.take().items():
            refused[quantity] = refused.get(quantity, 0) + count
        return dataclasses.replace(
            snapshot, time=time, gpus=gpus, host=host, events=events, refused=refused
        )

    def gpu(self, gpu: GpuReading, time: float) -> GpuReading:
        """Return a GPU's reading without what cannot be; ``time`` is the snapshot's.

        What was refused, and is repeated because its source reads it less often, stays absent and
        is not counted again: neither a field of it nor all of it, the newest reading of a GPU that
        is late.
        """
        before = self._gpus.get(gpu.identity.uuid)
        if before is not None and before.said is gpu:
            return before.passed
        refuse = functools.partial(self._refuse, f"gpu {gpu.identity.index} ({gpu.identity.uuid})")
        again = frozenset() if before is None else before.refused & gpu.repeated
        within = gpu.changed(**_of(before, again)) if before is not None and again else gpu
        changes = _outside(within.__dict__, _GPU, refuse, before and before.passed.__dict__)
        for field, quantity in _WORDS.items():
            if isinstance(value := within.__dict__[field], int | float):
                refuse(quantity, field, value)
                changes[field] = None
        within = within.changed(**changes) if changes else within
        more = _beyond_own(within, refuse) | _parts(within, time, refuse, before)
        within = within.changed(**more) if more else within
        refused = again | changes.keys() | more.keys()
        self._gpus[gpu.identity.uuid] = _Seen(gpu, within, refused)
        return within

    def host(self, host: HostReading) -> HostReading:
        """Return the host's reading without what cannot be."""
        values = _values(host)
        if not values:
            return host
        refuse = functools.partial(self._refuse, "the node")
        changes = _outside(values, _HOST, refuse)
        possible = {**values, **changes}
        total, left = (possible.get(f"memory_{word}_bytes") for word in ("total", "available"))
        if total and left and left > total:
            refuse("node_memory_available", "memory_available_bytes", left)
            changes["memory_available_bytes"] = None
        return dataclasses.replace(host, **changes) if changes else host

    def _refuse(self, who: str, quantity: str, words: str, value: object) -> None:
        self._refusals.refuse(quantity, who, f"{words} {repr(value)[:40]}")

    def _events(self, events: Iterable[XidEvent], time: float) -> Iterator[XidEvent]:
        for event in events:
            if not is_number(event.xid):
                self._refuse(event.pci, "xid", "Xid", event.xid)
                continue
            yield dataclasses.replace(
                event,
                time=event.time if is_time(event.time) else time,
                pid=event.pid if is_pid(event.pid) else None,
                gpu_instance=_number(event.gpu_instance),
                compute_instance=_number(event.compute_instance),
            )


def _of(seen: _Seen, fields: Iterable[str]) -> dict[str, Any]:
    """Return some fields of a reading that has passed."""
    return {field: seen.passed.__dict__[field] for field in fields}


def _outside(
    values: Mapping[str, Any],
    rules: Mapping[str, _Rule],
    refuse: _Refuse,
    passed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the values outside their bounds are without them, by field.

    ``passed`` are those of the reading before; the same object is not judged again.
    """
    changes: dict[str, Any] = {}
    before = passed or {}
    for field, rule in rules.items():
        value = values.get(field)
        if value is None or value is before.get(field):
            continue
        if not isinstance(value, Mapping):
            if not _holds(rule.bound, value):
                refuse(rule.quantity, field, value)
                changes[field] = None
        elif not _all_hold(rule.bound, value):
            changes[field] = _left(field, value, rule, refuse)
    return changes


def _all_hold(bound: Bound, value: Mapping[Any, Any]) -> bool:
    """Return whether all values by label are possible; of each link there are a hundred."""
    least, most, never = bound
    try:
        return all(least <= each <= most and each not in never for each in value.values())
    except TypeError:  # no number at all
        return False


def _left(
    field: str, value: Mapping[Any, Any], rule: _Rule, refuse: _Refuse
) -> dict[Any, Any] | None:
    """Return what is left of a value by labels; None if nothing is."""
    left = {}
    for key, each in value.items():
        if _holds(rule.bound, each):
            left[key] = each
        else:
            label = " ".join(key) if isinstance(key, tuple) else key
            refuse(rule.quantity, f"{field} ({label})", each)
    return left or None


def _holds(bound: Bound, value: Any) -> bool:
    try:
        return bound.holds(value)
    except TypeError:  # no number at all
        return False


def _beyond_own(gpu: GpuReading, refuse: _Refuse) -> dict[str, Any]:
    """Return the fields of values that are beyond this GPU's own limits."""
    values = gpu.__dict__
    bound = _power_bound(gpu)
    changes: dict[str, Any] = {}
    for field in _POWERS:
        watts = values[field]
        if watts is not None and not bound.holds(watts):
            refuse(_GPU[field].quantity, field, watts)
            changes[field] = None
    for field, limit, times in _NOT_ABOVE:
        value, most = values[field], values[limit]
        if not value or not most:
            continue
        if not isinstance(value, Mapping):
            if _is_above(value, most, times):
                refuse(_GPU[field].quantity, field, value)
                changes[field] = None
            continue
        above = {key for key, each in value.items() if _is_above(each, most.get(key), times)}
        for key in above:
            refuse(_GPU[field].quantity, f"{field} ({key})", value[key])
        if above:
            changes[field] = {k: each for k, each in value.items() if k not in above} or None
    return changes


def _is_above(value: float, limit: float | None, times: float) -> bool:
    """Return whether a value is above a multiple of a limit; a limit of 0 is not known."""
    return limit is not None and limit > 0 and value > limit * times


def _parts(gpu: GpuReading, time: float, refuse: _Refuse, before: _Seen | None) -> dict[str, Any]:
    """Return what a reading's samples, processes, instances and times are without what cannot be.

    Only those that change are in it. ``before`` is the reading before.
    """
    bound = _power_bound(gpu)
    changes: dict[str, Any] = {}
    samples = tuple(s for s in gpu.power_samples if _is_sample(s, bound, refuse))
    if len(samples) < len(gpu.power_samples):
        changes["power_samples"] = samples
    held_by = tuple(_processes(gpu, refuse))
    if held_by != gpu.held_by:
        changes["held_by"] = held_by
        if len(held_by) < len(gpu.held_by) and gpu.processes is not None:
            changes["processes"] = len({process.pid for process in held_by})
    known = _known_instances(before) if _SMS in gpu.repeated else {}
    mig = tuple(_instance(each, gpu, refuse, known.get(each.identity.mig_uuid)) for each in gpu.mig)
    if mig != gpu.mig:
        changes["mig"] = mig
    if not is_time(gpu.time):
        refuse("gpu_time", "time", gpu.time)
        changes["time"] = time
    wrong = [n for n in _NUMBERS if _is_wrong(getattr(gpu.identity, n))]
    if wrong:
        for name in wrong:
            refuse(f"gpu_{name}", name, getattr(gpu.identity, name))
        nothing: dict[str, Any] = dict.fromkeys(wrong)
        changes["identity"] = dataclasses.replace(gpu.identity, **nothing)
    return changes


def _is_sample(sample: PowerSample, bound: Bound, refuse: _Refuse) -> bool:
    if is_time(sample.time) and _holds(bound, sample.watts):
        return True
    refuse("gpu_power_sample", "the power sample", tuple(sample))
    return False


def _processes(gpu: GpuReading, refuse: _Refuse) -> Iterator[GpuProcess]:
    """Yield processes without what cannot be; one with a number that none has is left out."""
    for process in gpu.held_by:
        if not is_pid(process.pid):
            refuse("gpu_process_id", "the process", process.pid)
            continue
        wrong: dict[str, Any] = {}
        most = gpu.memory_total_bytes or _GPU["memory_total_bytes"].bound.most
        if process.memory_bytes is not None and not _holds(Bound(0, most), process.memory_bytes):
            refuse("gpu_process_memory", "a process's memory_bytes", process.memory_bytes)
            wrong["memory_bytes"] = None
        sm_ratio = process.sm_ratio
        if sm_ratio is not None and not _holds(_GPU["utilization_ratio"].bound, sm_ratio):
            refuse("gpu_process_sm", "a process's sm_ratio", sm_ratio)
            wrong["sm_ratio"] = None
        for name in _INSTANCE_NUMBERS:
            if _is_wrong(getattr(process, name)):
                wrong[name] = None
        yield dataclasses.replace(process, **wrong) if wrong else process


def _known_instances(before: _Seen | None) -> dict[str, MigReading]:
    """Return the instances of the reading before, as they passed."""
    return {} if before is None else {each.identity.mig_uuid: each for each in before.passed.mig}


def _instance(
    mig: MigReading, gpu: GpuReading, refuse: _Refuse, known: MigReading | None
) -> MigReading:
    """Return the reading of a MIG instance without what cannot be.

    ``known`` is the same instance in the reading before, if what is read once is repeated of it.
    """
    if known is not None:
        mig = dataclasses.replace(
            mig, multiprocessors=known.multiprocessors, identity=known.identity
        )
    values = _values(mig)
    changes = _outside(values, _MIG, refuse)
    limits = {
        "memory_total_bytes": gpu.memory_total_bytes,
        "memory_used_bytes": {**values, **changes}.get("memory_total_bytes"),
    }
    for field, most in limits.items():
        value = values.get(field)
        if value and most and field not in changes and value > most:
            refuse(_MIG[field].quantity, field, value)
            changes[field] = None
    wrong = [n for n in _INSTANCE_NUMBERS if _is_wrong(getattr(mig.identity, n))]
    for name in wrong:
        refuse(f"mig_{name}", name, getattr(mig.identity, name))
    if wrong:
        nothing: dict[str, Any] = dict.fromkeys(wrong)
        changes["identity"] = dataclasses.replace(mig.identity, **nothing)
    return dataclasses.replace(mig, **changes) if changes else mig


def _values(reading: MigReading | HostReading) -> dict[str, Any]:
    """Return the numbers that a reading has, by field."""
    rules = _MIG if isinstance(reading, MigReading) else _HOST
    found = {field: getattr(reading, field) for field in rules}
    return {field: value for field, value in found.items() if value is not None}


def _power_bound(gpu: GpuReading) -> Bound:
    limits = (gpu.power_limit_watts, gpu.power_limit_default_watts)
    return power_bound(limits, module=gpu.power_scope == "module")


def _number(number: int | None) -> int | None:
    return None if _is_wrong(number) else number


def _is_wrong(number: int | None) -> bool:
    return number is not None and not is_number(number)
