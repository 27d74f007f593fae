"""Which of the catalogue's origins a GPU answers, and how they are read together.

A GPU is probed once: every origin of every metric is tried, and the first that answers in each
row is kept. What is left is a plan: one batch of field values and the few calls that have no
field, each made once however many metrics it feeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from gpumon.model import Cadence, GpuReading, Metric, group_of
from gpumon.model.origin import Call, Composite, Field, Gpm, Links, Origin
from gpumon.sources.nvml.composites import COMPOSITES
from gpumon.sources.nvml.gpm import GpmReader
from gpumon.sources.nvml.library import SERIOUS, Code, Door, FaultError

_LINK_COUNT = Field(91)
_METRICS = tuple(metric for metric in group_of(GpuReading).metrics if metric.nvml)

Codes = dict[Origin, int]
"""The return codes of origins that gave no value."""


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """One value of one metric, and the origin that this GPU answers for it."""

    metric: Metric
    key: tuple[str, ...]
    origin: Origin

    def convert(self, raw: Any) -> Any:
        """Turn what NVML said into the base unit."""
        if isinstance(self.origin, Composite):
            return raw
        if isinstance(self.origin, Links):
            return self.origin.convert(self.origin.fold(raw))
        if isinstance(self.origin, Call) and self.origin.attribute:
            raw = getattr(raw, self.origin.attribute)
        return self.origin.convert(raw)


Values = dict[str, dict[tuple[str, ...], Any]]
"""Converted values by the reading's field and the metric's label values."""


class Plan:
    """How one GPU is read; made by ``probe``."""

    def __init__(
        self,
        slots: Iterable[Slot],
        absent: Mapping[str, int],
        link_count: int,
        gpm: GpmReader | None,
    ) -> None:
        """Keep the slots that answer, the NVML code of each metric that does not, and the rest."""
        self.slots = tuple(slots)
        self.absent = dict(absent)
        self._links = range(link_count)
        self._gpm = gpm

    def origin(self, field: str) -> Origin | None:
        """Return where the value of a reading's field comes from, or None where it is absent."""
        return next((slot.origin for slot in self.slots if slot.metric.field == field), None)

    def read(self, door: Door, handle: Any, due: frozenset[Cadence], monotonic: float) -> Values:
        """Read the slots whose cadence is due.

        A value that is absent this time is left out; a FaultError that says something about the GPU
        or the driver is raised.
        """
        raw = self._read_raw(door, handle, due, monotonic)
        values: Values = {}
        for slot in self.slots:
            if slot.metric.cadence in due and slot.origin in raw:
                by_key = values.setdefault(slot.metric.field, {})
                by_key[slot.key] = slot.convert(raw[slot.origin])
        return values

    def _read_raw(
        self, door: Door, handle: Any, due: frozenset[Cadence], monotonic: float
    ) -> dict[Origin, Any]:
        origins = {slot.origin: None for slot in self.slots if slot.metric.cadence in due}
        raw = _ask_fields(door, handle, origins, self._links)
        raw.update(_ask_calls(door, handle, origins))
        if self._gpm is not None and Cadence.TICK in due:
            activity = self._gpm.read(monotonic)
            raw.update({Gpm(id_): v for id_, v in activity.items()})
        return raw


def probe(door: Door, handle: Any) -> Plan:
    """Ask one GPU for everything in the catalogue, and keep what it answers."""
    origins = dict.fromkeys(
        origin for metric in _METRICS for choices in metric.nvml.values() for origin in choices
    )
    link_count = _ask_fields(door, handle, [_LINK_COUNT], range(0))
    links = range(link_count.get(_LINK_COUNT, 0))
    codes: Codes = {}
    answers = _ask_fields(door, handle, origins, links, codes)
    answers.update(_ask_calls(door, handle, origins, codes))
    gpm = _gpm_reader(door, handle, [o.id for o in origins if isinstance(o, Gpm)])
    slots, absent = [], {}
    for metric in _METRICS:
        for key, choices in metric.nvml.items():
            chosen = next(
                (o for o in choices if o in answers or (gpm and isinstance(o, Gpm))), None
            )
            if chosen is not None:
                slots.append(Slot(metric, key, chosen))
            else:
                absent[metric.field] = codes.get(choices[0], int(Code.NOT_SUPPORTED))
    return Plan(slots, absent, len(links), gpm)


def _gpm_reader(door: Door, handle: Any, ids: list[int]) -> GpmReader | None:
    try:
        return GpmReader(door, handle, ids) if GpmReader.supported(door, handle) else None
    except FaultError as fault:
        if fault.code in SERIOUS:
            raise
        return None


def _ask_fields(
    door: Door,
    handle: Any,
    origins: Iterable[Origin],
    links: range,
    codes: Codes | None = None,
) -> dict[Origin, Any]:
    """Read all fields among the origins in one call; a per-link field becomes a list."""
    asked: list[tuple[int, int]] = []
    spans: list[tuple[Field | Links, slice]] = []
    for origin in origins:
        if isinstance(origin, Field | Links):
            scopes = [origin.scope] if isinstance(origin, Field) else list(links)
            spans.append((origin, slice(len(asked), len(asked) + len(scopes))))
            asked += [(origin.id, scope) for scope in scopes]
    if not asked:
        return {}
    try:
        answers = door.fields(handle, asked)
    except FaultError as fault:
        if fault.code in (Code.NOT_SUPPORTED, Code.FUNCTION_NOT_FOUND):
            return {}
        raise
    raw: dict[Origin, Any] = {}
    for origin, span in spans:
        values = answers[span]
        bad = next((answer.code for answer in values if answer.code), 0)
        if bad in SERIOUS:
            raise FaultError(bad, f"field {origin.id}", f"NVML error {bad}")
        if bad and codes is not None:
            codes[origin] = bad
        if values and not bad:
            single = isinstance(origin, Field)
            raw[origin] = values[0].value if single else [answer.value for answer in values]
    return raw


def _ask_calls(
    door: Door,
    handle: Any,
    origins: Iterable[Origin],
    codes: Codes | None = None,
) -> dict[Origin, Any]:
    """Make each call among the origins once, for all the attributes that are wanted of it."""
    made: dict[tuple[str, tuple[Any, ...]], Any] = {}
    raw: dict[Origin, Any] = {}
    for origin in origins:
        if not isinstance(origin, Call | Composite):
            continue
        name, args = (
            (origin.name, ()) if isinstance(origin, Composite) else (origin.function, origin.args)
        )
        if (name, args) not in made:
            try:
                made[name, args] = (
                    COMPOSITES[name](door, handle)
                    if isinstance(origin, Composite)
                    else door.get(name, handle, *args)
                )
            except FaultError as fault:
                if fault.code in SERIOUS:
                    raise
                made[name, args] = fault
        answer = made[name, args]
        if not isinstance(answer, FaultError):
            raw[origin] = answer
        elif codes is not None:
            codes[origin] = answer.code
    return raw
