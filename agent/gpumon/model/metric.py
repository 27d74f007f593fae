"""The catalogue's rows: what a metric is called, what it means, and where its value comes from.

A metric is declared once, as a field of the frozen dataclass that carries its value::

    power_watts: float | None = gauge(
        "Power drawn, mean over about one second.", tier=Tier.CORE
    )

From that one row come the name ``gpumon_gpu_power_watts``, the exposition, the JSON key and the
line of ``docs/metrics.md``. Each source says where it finds the value, by the name of the field
(``sources/nvml/table.py``, ``sources/replay/columns.py``).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

UNITS = ("watts", "joules", "celsius", "bytes", "hertz", "seconds", "ratio")
"""The base units a name may end in (Prometheus naming); a name without one has no unit."""


class Kind(enum.Enum):
    """What a metric's samples are."""

    GAUGE = "gauge"
    COUNTER = "counter"
    INFO = "info"


SUFFIXES = {Kind.COUNTER: "total", Kind.INFO: "info", Kind.GAUGE: ""}
"""The last word that the exposition formats demand of a name."""


class Tier(enum.IntEnum):
    """How much is exposed: each tier includes those before it."""

    CORE = 0
    STANDARD = 1
    FULL = 2

    @property
    def word(self) -> str:
        """The tier as it is written in flags and documents."""
        return self.name.lower()


@dataclasses.dataclass(frozen=True)
class Metric:
    """One row of the catalogue.

    ``labels`` are those beyond the group's own. ``states`` are the values of the last label of a
    state metric. If several may hold, each is exported as 0 or 1. If one of them holds, one is
    ``good``: that one is exported as 0 or 1, another as 1 while it holds. ``keys`` are the label
    values that a metric with labels of its own can have, empty if they are not known beforehand.
    ``full`` are those of its ``states`` or ``keys`` that only the full tier exports.
    """

    name: str
    kind: Kind
    help: str
    tier: Tier
    field: str
    labels: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    keys: tuple[tuple[str, ...], ...] = ()
    good: str = ""
    full: frozenset[tuple[str, ...]] = frozenset()

    @property
    def family(self) -> str:
        """The name without the suffix that the type demands, as OpenMetrics has it."""
        suffix = SUFFIXES[self.kind]
        return self.name.removesuffix(f"_{suffix}") if suffix else self.name

    @property
    def unit(self) -> str:
        """The base unit the family's name ends in; empty for counts, states and facts."""
        last = self.family.rsplit("_", 1)[-1]
        return last if last in UNITS else ""

    def shows(self, key: tuple[str, ...], tier: Tier) -> bool:
        """Return whether the sample with these values of its own labels is exported at a tier."""
        return tier is Tier.FULL or key not in self.full

    def samples(
        self, owner: object, tier: Tier = Tier.FULL
    ) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield (label values, value) of this metric on its owner; nothing if not known."""
        yield from (each for each in self._all(owner) if self.shows(each[0], tier))

    def _all(self, owner: object) -> Iterator[tuple[tuple[str, ...], float]]:
        value = getattr(owner, self.field)
        if value is None:
            return
        if self.kind is Kind.INFO:
            yield tuple(_text(getattr(value, label)) for label in self.labels), 1
        elif self.states:
            holding = set(map(_text, value if isinstance(value, frozenset) else {value}))
            always = (self.good,) if self.good else self.states
            yield from (((state,), int(state in holding)) for state in always)
            # A source's own word (another vendor's reason to throttle) is there while it holds.
            yield from (((word,), 1) for word in sorted(holding - {*always}))
        elif isinstance(value, Mapping):
            yield from ((_key(key), +number) for key, number in value.items())
        else:
            yield (), int(value) if isinstance(value, bool) else value


def _key(key: str | tuple[str, ...]) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)


def _text(value: object) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    return "" if value is None else str(value)


@dataclasses.dataclass(frozen=True)
class _Row:
    """What a field declares; the group that it stands in completes it to a Metric."""

    kind: Kind
    help: str
    tier: Tier
    labels: tuple[str, ...]
    states: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    name: str | None
    good: str
    full: frozenset[tuple[str, ...]]

    def complete(self, prefix: str, field: str) -> Metric:
        words = (prefix, field if self.name is None else self.name, SUFFIXES[self.kind])
        return Metric(
            name="_".join(word for word in words if word),
            kind=self.kind,
            help=self.help,
            tier=self.tier,
            field=field,
            labels=self.labels,
            states=self.states,
            keys=self.keys,
            good=self.good,
            full=self.full,
        )


def _row(  # noqa: PLR0913 - the columns of the catalogue
    kind: Kind,
    text: str,
    tier: Tier,
    *,
    labels: Sequence[str] = (),
    states: Sequence[str] = (),
    keys: Sequence[str | tuple[str, ...]] = (),
    name: str | None = None,
    good: str = "",
    full: Sequence[str | tuple[str, ...]] = (),
) -> _Row:
    return _Row(
        kind=kind,
        help=text,
        tier=tier,
        labels=tuple(labels),
        states=tuple(states),
        keys=tuple(_key(key) for key in keys),
        name=name,
        good=good,
        full=frozenset(_key(key) for key in full),
    )


def _field(row: _Row, *, required: bool) -> Any:
    metadata = {"row": row}
    if required:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=None, metadata=metadata)


def gauge(text: str, *, tier: Tier = Tier.STANDARD, required: bool = False, **row: Any) -> Any:
    """Declare a field that is a gauge; None, its default, means not known, so not exposed."""
    return _field(_row(Kind.GAUGE, text, tier, **row), required=required)


def counter(text: str, *, tier: Tier = Tier.STANDARD, **row: Any) -> Any:
    """Declare a field that is a counter; its metric's name gets the suffix ``_total``."""
    return _field(_row(Kind.COUNTER, text, tier, **row), required=False)


def info(
    text: str,
    *,
    labels: Sequence[str],
    tier: Tier = Tier.CORE,
    required: bool = False,
    **row: Any,
) -> Any:
    """Declare a field whose attributes, named by ``labels``, are facts on a series of value 1."""
    return _field(_row(Kind.INFO, text, tier, labels=labels, **row), required=required)


class MetricProperty(property):
    """A metric computed from the other fields of its owner."""

    row: _Row


def derived_gauge(
    text: str, *, tier: Tier = Tier.CORE, **row: Any
) -> Callable[[Callable[[Any], Any]], MetricProperty]:
    """Declare a gauge that is a property of its owner."""

    def wrap(getter: Callable[[Any], Any]) -> MetricProperty:
        wrapped = MetricProperty(getter)
        wrapped.row = _row(Kind.GAUGE, text, tier, **row)
        return wrapped

    return wrap


def derived_info(
    text: str, *, labels: Sequence[str], tier: Tier = Tier.CORE, **row: Any
) -> Callable[[Callable[[Any], Any]], MetricProperty]:
    """Declare facts, as ``info`` does, that a property of its owner gathers."""

    def wrap(getter: Callable[[Any], Any]) -> MetricProperty:
        wrapped = MetricProperty(getter)
        wrapped.row = _row(Kind.INFO, text, tier, labels=labels, **row)
        return wrapped

    return wrap


@dataclasses.dataclass(frozen=True)
class Group:
    """The metrics that one dataclass carries: their prefix and the labels all of them have."""

    labels: tuple[str, ...]
    metrics: tuple[Metric, ...]

    def __getitem__(self, field: str) -> Metric:
        """Return the metric of a field; KeyError if there is no such metric."""
        for metric in self.metrics:
            if metric.field == field:
                return metric
        raise KeyError(field)


Owner = TypeVar("Owner", bound=type)

_GROUP = "__metric_group__"
"""The attribute of a dataclass that holds its group."""


def metric_group(*, prefix: str, labels: Sequence[str] = ()) -> Callable[[Owner], Owner]:
    """Make the metric fields of a frozen dataclass a group of the catalogue.

    ``gpumon.model.catalogue`` lists the groups there are.
    """

    def complete(owner: Owner) -> Owner:
        own = vars(owner).get("__annotations__", {})  # those of a base come after
        fields = sorted(dataclasses.fields(owner), key=lambda field: field.name not in own)
        rows = [(f.name, f.metadata["row"]) for f in fields if "row" in f.metadata]
        rows += [(k, v.row) for k, v in vars(owner).items() if isinstance(v, MetricProperty)]
        # What the owner is (its info without a name) comes before what it reads.
        rows.sort(key=lambda row: row[1].name != "")
        metrics = tuple(row.complete(prefix, field) for field, row in rows)
        setattr(owner, _GROUP, Group(labels=tuple(labels), metrics=metrics))
        return owner

    return complete


def group_of(owner: type) -> Group:
    """Return the group of a dataclass; AttributeError if it has none."""
    group: Group = getattr(owner, _GROUP)
    return group
