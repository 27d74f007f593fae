"""Which of the catalogue's origins a GPU supports, and how they are read together.

A GPU is probed: every origin of every metric is tried, and the first that works in each row is
kept. What is left is a plan: one batch of field values and the few calls that have no field, each
made once however many metrics it feeds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpumon.model.bounds import is_temperature, is_threshold
from gpumon.model.origins import table_of
from gpumon.sources.nvml.gpm import GpmReader
from gpumon.sources.nvml.library import FINAL, SERIOUS, Code, Door, FaultError, FieldAnswer
from gpumon.sources.nvml.origin import (
    ALL_LINKS,
    Call,
    Compared,
    Field,
    Gpm,
    Headroom,
    Links,
    Origin,
    PerLink,
    Several,
    Summed,
    words,
)
from gpumon.sources.nvml.table import SUMS, Cadence, Key, Row

_LINK_COUNT = 91

_Asked = Field | Links | Summed | Compared | PerLink
"""Origins that are answered in the batch."""

MOST_LINKS = 64
"""More NVLinks than a GPU has (18 or 36); with all bits set the driver knows no number."""

Values = dict[str, Any]
"""Converted values by the reading's field; a metric with labels has a dict by label value."""


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """One value of a reading: its field, its label values, and its origin on this GPU."""

    field: str
    key: Key
    origin: Origin
    cadence: Cadence

    def store(self, values: Values, raw: Any) -> None:
        """Put what NVML said into the values, in its base unit."""
        origin = self.origin
        if isinstance(origin, Compared):
            parts = sum(raw.links.values())
            if raw.whole and raw.total not in (None, parts):
                pair = origin.convert(raw.total), origin.convert(parts)
                values.setdefault(self.field, {})[self.key[0]] = pair
            return
        if isinstance(origin, PerLink):
            of_links = values.setdefault(self.field, {})
            for link, number in raw.items():
                key = (*self.key, link) if self.key else link
                of_links[key] = origin.convert(number)
            return
        if isinstance(origin, Links):
            raw = origin.fold(raw)
        elif isinstance(origin, Call) and origin.attribute:
            raw = getattr(raw, origin.attribute)
        value = raw if isinstance(origin, Headroom | Several | Summed) else origin.convert(raw)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return
        if not self.key:
            values[self.field] = value
            return
        key = self.key[0] if len(self.key) == 1 else self.key
        values.setdefault(self.field, {})[key] = value


@dataclasses.dataclass(frozen=True, slots=True)
class _Batch:
    """Fields to read in one call: what is asked, and which answers belong to which origin.

    What two origins want (the state of each link, counted and on its own) is asked once.
    """

    asked: tuple[tuple[int, int], ...]
    places: tuple[tuple[_Asked, tuple[int, ...]], ...]

    @classmethod
    def of(cls, origins: Iterable[Origin], links: int) -> _Batch:
        asked: dict[tuple[int, int], int] = {}
        places: list[tuple[_Asked, tuple[int, ...]]] = []
        for origin in origins:
            if isinstance(origin, _Asked):
                scopes = [origin.scope] if isinstance(origin, Field) else list(range(links))
                if isinstance(origin, Summed | Compared) and links:
                    scopes.append(ALL_LINKS)
                wanted = [(origin.id, scope) for scope in scopes]
                places.append((origin, tuple(asked.setdefault(w, len(asked)) for w in wanted)))
        return cls(tuple(asked), tuple(places))

    def read(self, door: Door, handle: Any) -> dict[Origin, Any]:
        """Return each origin's answer, or its NVML code.

        The answer is a list for one that is folded over the links, and by link for one that is
        not, or whose sum is ours: there a link that does not answer is left out. A code that speaks
        of the whole GPU or driver is raised.
        """
        if not self.asked:
            return {}
        answers = door.fields(handle, self.asked)
        raw: dict[Origin, Any] = {}
        for origin, places in self.places:
            values = [answers[place] for place in places]
            code = next((answer.code for answer in values if answer.code), 0)
            if code in SERIOUS:
                raise FaultError(code, f"field {origin.id}", f"NVML error {code}")
            if isinstance(origin, Summed | Compared):
                raw[origin] = _of_links(values) or Refused(code or Code.NOT_SUPPORTED)
            elif isinstance(origin, PerLink):
                told = {str(i): a.value for i, a in enumerate(values) if not a.code}
                raw[origin] = told or Refused(code or Code.NOT_SUPPORTED)
            elif isinstance(origin, Links) and origin.partial:
                some = [answer.value for answer in values if not answer.code]
                raw[origin] = some or Refused(code or Code.NOT_SUPPORTED)
            elif code or not values:
                raw[origin] = Refused(code or Code.NOT_SUPPORTED)
            elif isinstance(origin, Field):
                raw[origin] = values[0].value
            else:
                raw[origin] = [answer.value for answer in values]
        return raw


LinkCounts = dict[Summed, dict[int, int]]
"""What each link of a GPU last counted, by link; it outlives the plans that are made of the GPU."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Counted:
    """A counter of the links that answer, by link, and the driver's own sum if it gives one.

    ``whole`` if all of the links answer.
    """

    links: Mapping[int, int]
    total: int | None
    whole: bool


def _of_links(answers: Sequence[FieldAnswer]) -> _Counted | None:
    """Return what the links count, from their answers and that for all; None if there is none."""
    if not answers:
        return None
    *links, total = answers
    told = {link: answer.value for link, answer in enumerate(links) if not answer.code}
    own = None if total.code else total.value
    return _Counted(told, own, len(told) == len(links)) if told or own else None


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """An origin that gave no value, and the NVML code it gave instead."""

    code: int


_NOT_SUPPORTED = Refused(Code.NOT_SUPPORTED)


@dataclasses.dataclass(frozen=True, slots=True)
class _Round:
    """What is read when certain cadences are due; compiled once, since they recur."""

    slots: tuple[Slot, ...]
    batch: _Batch
    calls: tuple[tuple[str, tuple[Any, ...], tuple[Call, ...]], ...]
    headrooms: tuple[Headroom, ...]
    gpm: tuple[Gpm, ...]
    several: tuple[Several, ...]

    @classmethod
    def of(cls, slots: Sequence[Slot], links: int) -> _Round:
        origins = tuple(dict.fromkeys(slot.origin for slot in slots))
        return cls(
            tuple(slots),
            _Batch.of(origins, links),
            _grouped(origins),
            tuple(origin for origin in origins if isinstance(origin, Headroom)),
            tuple(origin for origin in origins if isinstance(origin, Gpm)),
            tuple(origin for origin in origins if isinstance(origin, Several)),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Unanswered:
    """What a GPU did not answer when it was probed.

    ``passing``: an origin was refused for a reason that may pass, so the GPU is worth probing
    again. ``denied`` are the fields that a user with more rights could read, ``unanswered`` the
    others for which the GPU returns nothing.
    """

    passing: bool = False
    denied: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()


class Plan:
    """How one GPU is read; made by ``probe``."""

    def __init__(
        self,
        slots: Iterable[Slot],
        *,
        links: int,
        gpm: GpmReader | None,
        lowest_threshold: int | None,
        counted: LinkCounts,
        refusals: Unanswered = Unanswered(),
    ) -> None:
        """Keep what the probe found; ``counted`` is the GPU's, and is written to."""
        self.slots = tuple(slots)
        self.refusals = refusals
        self._links = links
        self._gpm = gpm
        self._lowest_threshold = lowest_threshold
        self._rounds: dict[frozenset[Cadence], _Round] = {}
        self._counted = counted

    def origin(self, field: str) -> Origin | None:
        """Return where the value of a reading's field comes from, or None if it is absent."""
        return next((slot.origin for slot in self.slots if slot.field == field), None)

    def origins(self) -> dict[str, str]:
        """Return the words for each value's origin (``gpumon.model.origins``)."""
        shown = [slot for slot in self.slots if slot.field != SUMS]
        chosen = table_of((slot.field, slot.key, words(slot.origin)) for slot in shown)
        return {**dict.fromkeys(self.refusals.unanswered, ""), **chosen}

    def read(self, door: Door, handle: Any, due: frozenset[Cadence], monotonic: float) -> Values:
        """Read the slots whose cadence is due.

        A value that is refused this time is left out. FaultError is raised if the reply is about
        the whole GPU or driver, and if no field at all is returned.
        """
        round_ = self._rounds.get(due)
        if round_ is None:
            slots = [slot for slot in self.slots if slot.cadence in due]
            round_ = self._rounds[due] = _Round.of(slots, self._links)
        raw = round_.batch.read(door, handle)
        refused = [answer for answer in raw.values() if isinstance(answer, Refused)]
        if raw and len(refused) == len(raw):
            code = refused[0].code
            raise FaultError(code, "nvmlDeviceGetFieldValues", f"NVML error {code} for every field")
        raw.update(_ask_calls(door, handle, round_.calls))
        raw.update(_gather(door, handle, round_.several, self._links))
        if round_.gpm and self._gpm is not None:
            means = _activity(self._gpm, monotonic)
            raw.update({o: means[o.id] for o in round_.gpm if o.id in means})
        values: Values = {}
        for slot in round_.slots:
            answer = raw.get(slot.origin)
            if isinstance(answer, _Counted) and isinstance(slot.origin, Summed):
                slot.store(values, self._sum(slot.origin, answer))
            elif answer is not None and not isinstance(answer, Refused):
                slot.store(values, answer)
        if round_.headrooms and self._lowest_threshold is not None:
            temperature = values.get("temperature_celsius")
            # Before the gate: of a temperature that cannot be, a margin is made that can.
            if temperature is not None and is_temperature(temperature):
                values["temperature_margin_celsius"] = self._lowest_threshold - temperature
        return values

    def _sum(self, origin: Summed, counted: _Counted) -> int:
        """Return what all links have counted.

        One that does not answer this time (it is being trained) stays at what it had: a sum that
        falls, and rises again, would look like as many errors.
        """
        links = self._counted.setdefault(origin, {})
        links.update(counted.links)
        return sum(links.values()) or counted.total or 0

    def close(self) -> None:
        """Give back what was allocated in the driver's library for this GPU."""
        if self._gpm is not None:
            self._gpm.close()
            self._gpm = None


def probe(door: Door, handle: Any, rows: Mapping[str, Row], counted: LinkCounts) -> Plan:
    """Ask one GPU for everything in these rows, and keep what it returns.

    ``counted`` is what its links had when they last answered, in an earlier plan as well.
    """
    origins = tuple(
        dict.fromkeys(
            o for row in rows.values() for choices in row.origins.values() for o in choices
        )
    )
    links = _link_count(door, handle)
    raw = _Batch.of(origins, links).read(door, handle)
    raw.update(_ask_calls(door, handle, _grouped(origins)))
    several = (origin for origin in origins if isinstance(origin, Several))
    raw.update(_gather(door, handle, several, links))
    for headroom in (origin for origin in origins if isinstance(origin, Headroom)):
        raw[headroom] = _lowest(door, handle, headroom.thresholds)
    gpm = _gpm_reader(door, handle, [origin.id for origin in origins if isinstance(origin, Gpm)])
    if gpm is not None:
        raw.update({origin: 0.0 for origin in origins if isinstance(origin, Gpm)})
    slots: list[Slot] = []
    passing = False
    denied: dict[str, None] = {}
    for field, row in rows.items():
        for key, choices in row.origins.items():
            answers = [(origin, raw.get(origin, _NOT_SUPPORTED)) for origin in choices]
            origin = next((o for o, answer in answers if not isinstance(answer, Refused)), None)
            if origin is not None:
                slots.append(Slot(field, key, origin, row.cadence))
                continue
            codes = {answer.code for _, answer in answers}
            passing = passing or not codes <= FINAL
            if Code.NO_PERMISSION in codes and field != SUMS:
                denied[field] = None
    slots = [slot for slot in slots if not _superseded(slot, slots, rows)]
    answered = {slot.field for slot in slots}
    lowest = next((raw[o] for o in origins if isinstance(o, Headroom)), None)
    return Plan(
        slots,
        links=links,
        gpm=gpm,
        lowest_threshold=lowest if isinstance(lowest, int) else None,
        counted=counted,
        refusals=Unanswered(
            passing,
            tuple(denied),
            tuple(field for field in rows if field not in {*denied, *answered, SUMS}),
        ),
    )


def _superseded(slot: Slot, slots: Iterable[Slot], rows: Mapping[str, Row]) -> bool:
    """Return whether a slot would count again what another one counts."""
    other = rows[slot.field].instead_of.get(slot.key)
    return any(each.field == slot.field and each.key == other for each in slots)


def _grouped(
    origins: Iterable[Origin],
) -> tuple[tuple[str, tuple[Any, ...], tuple[Call, ...]], ...]:
    """Return each call to make, with the origins that take something from it."""
    calls: dict[tuple[str, tuple[Any, ...]], list[Call]] = {}
    for origin in origins:
        if isinstance(origin, Call):
            calls.setdefault((origin.function, origin.args), []).append(origin)
    return tuple((name, args, tuple(takers)) for (name, args), takers in calls.items())


def _ask_calls(
    door: Door, handle: Any, calls: Iterable[tuple[str, tuple[Any, ...], tuple[Call, ...]]]
) -> dict[Origin, Any]:
    raw: dict[Origin, Any] = {}
    for name, args, takers in calls:
        try:
            answer = door.get(name, handle, *args)
        except FaultError as fault:
            if fault.code in SERIOUS:
                raise
            answer = Refused(fault.code)
        for origin in takers:
            raw[origin] = answer
    return raw


def _gather(door: Door, handle: Any, origins: Iterable[Several], links: int) -> dict[Origin, Any]:
    """Return values of several calls, or that there is none."""

    def ask(function: str, *args: Any) -> Any:
        try:
            return door.get(function, handle, *args)
        except FaultError as fault:
            if fault.code in SERIOUS:
                raise
            return None

    found = {origin: origin.gather(ask, links) for origin in origins}
    return {o: _NOT_SUPPORTED if value is None else value for o, value in found.items()}


def _link_count(door: Door, handle: Any) -> int:
    answer = door.fields(handle, [(_LINK_COUNT, 0)])[0]
    if answer.code in SERIOUS:
        raise FaultError(answer.code, f"field {_LINK_COUNT}", f"NVML error {answer.code}")
    count = 0 if answer.code else int(answer.value)
    return count if count <= MOST_LINKS else 0


def _lowest(door: Door, handle: Any, thresholds: Iterable[int]) -> int | Refused:
    """Return the lowest of some temperature thresholds, in degrees Celsius."""
    found: list[int] = []
    code = int(Code.NOT_SUPPORTED)
    for threshold in thresholds:
        try:
            degrees = int(door.get("nvmlDeviceGetTemperatureThreshold", handle, threshold))
            # Before the gate, which sees the margin that is made of the lowest one.
            found += [degrees] if is_threshold(degrees) else []
        except FaultError as fault:
            if fault.code in SERIOUS:
                raise
            code = fault.code
    return min(found) if found else Refused(code)


def _gpm_reader(door: Door, handle: Any, ids: list[int]) -> GpmReader | None:
    try:
        return GpmReader(door, handle, ids) if GpmReader.supported(door, handle) else None
    except FaultError as fault:
        if fault.code in SERIOUS:
            raise
        return None


def _activity(gpm: GpmReader, monotonic: float) -> dict[int, float]:
    try:
        return gpm.read(monotonic)
    except FaultError as fault:
        if fault.code in SERIOUS:
            raise
        return {}
