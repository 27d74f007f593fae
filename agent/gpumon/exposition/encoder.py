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


class _Prefixes:
    """The prepared starts of one instance's lines: ``name{labels} ``."""

    __slots__ = ("_labels", "_prepared")

    def __init__(self, names: Sequence[str], values: Sequence[str]) -> None:
        pairs = zip(names, values, strict=True)
        self._labels = [f'{name}="{escape(value)}"' for name, value in pairs]
        self._prepared: dict[str, dict[tuple[str, ...], str]] = {}

    def of(self, metric: Metric) -> dict[tuple[str, ...], str]:
        prepared = self._prepared.get(metric.name)
        if prepared is None:
            prepared = self._prepared[metric.name] = {}
        return prepared

    def prepare(self, metric: Metric, values: tuple[str, ...]) -> str:
        pairs = zip(metric.labels, values, strict=True)
        labels = self._labels + [f'{name}="{escape(value)}"' for name, value in pairs]
        block = "{" + ",".join(labels) + "}" if labels else ""
        line = self._prepared[metric.name][values] = f"{metric.name}{block} "
        return line


class Encoder:
    """Writes groups of metrics in one format; remembers the label strings of the last scrape."""

    def __init__(self, format_: Format, tier: Tier = Tier.STANDARD) -> None:
        """Make an encoder for metrics up to a tier."""
        self._format = format_
        self._tier = tier
        self._prefixes: dict[tuple[type, tuple[str, ...]], _Prefixes] = {}

    def encode(self, owners: Mapping[type, Sequence[Labelled]], more: str = "") -> bytes:
        """Return the exposition of the instances of each group, in the catalogue's order.

        ``more`` is text in the same format to go with it (no end marker). Instances that have
        gone are forgotten.
        """
        used: dict[tuple[type, tuple[str, ...]], _Prefixes] = {}
        lines: list[str] = []
        for group_type, instances in owners.items():
            group = group_of(group_type)
            prefixes = []
            for instance in instances:
                key = (group_type, instance.label_values)
                known = self._prefixes.get(key) or _Prefixes(group.labels, instance.label_values)
                used[key] = known
                prefixes.append(known)
            for metric in group.metrics:
                if metric.tier <= self._tier:
                    self._write(metric, instances, prefixes, lines)
        self._prefixes = used
        end = "# EOF\n" if self._format is Format.OPENMETRICS else ""
        return ("".join(lines) + more + end).encode()

    def _write(
        self,
        metric: Metric,
        instances: Sequence[Any],
        prefixes: Sequence[_Prefixes],
        lines: list[str],
    ) -> None:
        header_at = len(lines)
        for instance, known in zip(instances, prefixes, strict=True):
            prepared = known.of(metric)
            for values, number in metric.samples(instance):
                start = prepared.get(values) or known.prepare(metric, values)
                lines.append(f"{start}{number}\n")
        if len(lines) > header_at:
            lines.insert(header_at, self._header(metric))

    def _header(self, metric: Metric) -> str:
        if self._format is Format.TEXT:
            text = metric.help.translate(_HELP_ESCAPES)
            kind = "counter" if metric.kind is Kind.COUNTER else "gauge"
            return f"# HELP {metric.name} {text}\n# TYPE {metric.name} {kind}\n"
        family, unit = metric.family, metric.unit
        unit_line = f"# UNIT {family} {unit}\n" if unit and metric.kind is not Kind.INFO else ""
        type_line = f"# TYPE {family} {metric.kind.value}\n"
        return f"# HELP {family} {escape(metric.help)}\n{type_line}{unit_line}"
