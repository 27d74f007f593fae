"""The exposition: catalogue and readings to text, with the label strings prepared once.

``prometheus_client`` builds an object for each sample, which costs some microseconds. A node has
some 700 samples that keep their labels for months, so the part of the line before the number is
kept, and a scrape only writes numbers. The library's parser and ``promtool check metrics`` check
the outcome in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gpumon.exposition.negotiation import Format
from gpumon.model import Kind, Metric, Tier, group_of


class Labelled(Protocol):
    """An instance of a metric group: knows the values of the group's labels."""

    @property
    def label_values(self) -> tuple[str, ...]:
        """The values, in the order of the group's labels."""
        ...


_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


def escape(value: str) -> str:
    """Escape a label value as both formats demand."""
    return value.translate(_ESCAPES)


class _Instance:
    """What is prepared of one instance: the starts of its lines, and whole blocks of them."""

    __slots__ = ("_blocks", "_keyed", "_labels", "starts")

    def __init__(self, names: Sequence[str], values: Sequence[str]) -> None:
        pairs = zip(names, values, strict=True)
        self._labels = [f'{name}="{escape(value)}"' for name, value in pairs]
        self.starts: dict[str, str] = {}
        self._keyed: dict[str, dict[Any, str]] = {}
        self._blocks: dict[str, tuple[Any, str]] = {}

    def start(self, metric: Metric) -> str:
        """Prepare ``name{labels} `` of a metric without labels of its own, and keep it."""
        start = self.starts[metric.name] = self._prepare(metric, ())
        return start

    def block(self, metric: Metric, owner: object, value: Any, tier: Tier) -> str:
        """Return all lines of a metric that has several; they are kept while its value stays.

        Of those of a GPU (errors by kind, states) most stay for days.
        """
        held = self._blocks.get(metric.name)
        if held is not None and held[0] == value:
            return held[1]
        if metric.kind is Kind.INFO or metric.states:
            lines = metric.samples(owner, tier)
            text = "".join(f"{self._prepare(metric, v)}{n}\n" for v, n in lines)
        else:
            text = self._numbers(metric, value, tier)
            value = dict(value)  # what is held does not change with what it was
        self._blocks[metric.name] = (value, text)
        return text

    def _numbers(self, metric: Metric, value: Mapping[Any, float], tier: Tier) -> str:
        starts = self._keyed.setdefault(metric.name, {})
        if metric.full and tier < Tier.FULL:
            value = {key: n for key, n in value.items() if metric.shows(_key(key), tier)}
        for key in value.keys() - starts.keys():
            starts[key] = self._prepare(metric, _key(key))
        return "".join([f"{starts[k]}{+number}\n" for k, number in value.items()])  # + True is 1

    def _prepare(self, metric: Metric, values: tuple[str, ...]) -> str:
        pairs = zip(metric.labels, values, strict=True)
        labels = self._labels + [f'{name}="{escape(value)}"' for name, value in pairs]
        return metric.name + ("{" + ",".join(labels) + "} " if labels else " ")


def _key(key: str | tuple[str, ...]) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)


class Encoder:
    """Writes groups of metrics in one format; remembers the label strings of the last scrape."""

    def __init__(self, format_: Format, tier: Tier = Tier.STANDARD) -> None:
        """Make an encoder for metrics up to a tier."""
        self._format = format_
        self._tier = tier
        self._instances: dict[tuple[type, tuple[str, ...]], _Instance] = {}
        self._headers: dict[str, str] = {}

    def encode(self, owners: Mapping[type, Sequence[Labelled]], more: str = "") -> bytes:
        """Return the exposition of the instances of each group, in the catalogue's order.

        ``more`` is text in the same format to go with it (no end marker). Instances that have
        gone are forgotten.
        """
        used: dict[tuple[type, tuple[str, ...]], _Instance] = {}
        lines: list[str] = []
        for group_type, instances in owners.items():
            group = group_of(group_type)
            prepared = []
            for instance in instances:
                key = (group_type, instance.label_values)
                known = self._instances.get(key) or _Instance(group.labels, instance.label_values)
                used[key] = known
                prepared.append((instance, known))
            for metric in group.metrics:
                if metric.tier <= self._tier:
                    self._write(metric, prepared, lines)
        self._instances = used
        end = "# EOF\n" if self._format is Format.OPENMETRICS else ""
        return ("".join(lines) + more + end).encode()

    def _write(
        self, metric: Metric, prepared: Sequence[tuple[Any, _Instance]], lines: list[str]
    ) -> None:
        at, name, field = len(lines), metric.name, metric.field
        several = bool(metric.labels or metric.states)
        for instance, known in prepared:
            value = getattr(instance, field)
            if value is None:
                continue
            if several:
                lines.append(known.block(metric, instance, value, self._tier))
            else:
                start = known.starts.get(name) or known.start(metric)
                lines.append(f"{start}{+value}\n")  # + makes a truth 0 or 1
        if len(lines) > at:
            header = self._headers.get(name)
            if header is None:
                header = self._headers[name] = self._header(metric)
            lines.insert(at, header)

    def _header(self, metric: Metric) -> str:
        if self._format is Format.TEXT:
            text = metric.help.translate(_HELP_ESCAPES)
            kind = "counter" if metric.kind is Kind.COUNTER else "gauge"
            return f"# HELP {metric.name} {text}\n# TYPE {metric.name} {kind}\n"
        family, unit = metric.family, metric.unit
        unit_line = f"# UNIT {family} {unit}\n" if unit and metric.kind is not Kind.INFO else ""
        type_line = f"# TYPE {family} {metric.kind.value}\n"
        return f"# HELP {family} {escape(metric.help)}\n{type_line}{unit_line}"
