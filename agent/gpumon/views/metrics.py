"""The catalogue of metrics, written out: ``gpumon metrics`` and ``docs/metrics.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpumon.documents.write import json_text
from gpumon.host.origins import POSSIBLE
from gpumon.model import GpuReading, HostReading, Metric, MigReading, Tier
from gpumon.model.catalogue import OWNER_OF, rows
from gpumon.model.origins import MIG
from gpumon.sources import possible_origins

_INTRODUCTION = """\
# Metrics

Written by `gpumon metrics -o markdown`; do not edit. Series of a GPU carry `gpu` (NVML's index, for
people) and `uuid` (the identity, for joins) besides the labels named here. What a GPU does not
answer is absent: never 0, never NaN. Tiers: `core` is part of `standard` (the default), which is
part of `full`.

Beside these the agent serves what it costs itself: `process_*` for the server and
`gpumon_reader_process_*` for the reader (CPU seconds, memory, open files).
`gpumon_site_*` is served by `gpumon site`.
"""


def render(form: str, tier: Tier) -> str:
    """Return the catalogue as ``table``, ``json`` or ``markdown``."""
    return {"table": _table, "json": _json, "markdown": _markdown}[form](tier)


def _table(tier: Tier) -> str:
    width = max(len(metric.name) for _, metric in rows(tier))
    return "".join(
        f"{m.name:{width}}  {m.kind.value:7}  {m.tier.word:8}  {m.help}\n" for _, m in rows(tier)
    )


def _json(tier: Tier) -> str:
    return json_text({"metrics": listed(tier)})


def listed(tier: Tier) -> list[dict[str, Any]]:
    """Return each metric as a document (``metrics`` in docs/schema.json)."""
    return [
        {
            "name": metric.name,
            "type": metric.kind.value,
            "unit": metric.unit,
            "help": metric.help,
            "labels": list(labels),
            "states": list(metric.states),
            "good": metric.good,
            "full": sorted(", ".join(key) for key in metric.full),
            "tier": metric.tier.word,
            "sources": sources_of(metric),
        }
        for labels, metric in rows(tier)
    ]


KEPT = ("type", "unit", "labels", "states", "good", "full", "tier")
"""What queries of a metric rely on; its words and where it is read may change."""


def differences(old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say in a line each which metrics are gone, changed and new, in this order.

    Of what queries rely on nothing is kept quiet: "gone" and "changed" break them, "new" does not.
    """
    before, after = ({metric["name"]: metric for metric in each} for each in (old, new))
    changed = [
        f"changed  {name}: {what}"
        for name in before.keys() & after.keys()
        if (what := _changes(before[name], after[name]))
    ]
    return [
        *sorted(f"gone     {name}" for name in before.keys() - after.keys()),
        *sorted(changed),
        *sorted(f"new      {name}" for name in after.keys() - before.keys()),
    ]


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{key} was {_words(old[key])}, is {_words(new[key])}"
        for key in KEPT
        if key in old and _in_order(old[key]) != _in_order(new[key])
    )


def _in_order(value: str | Sequence[str]) -> str | list[str]:
    """Return a word as it is, and several in one order: Prometheus knows none of labels."""
    return value if isinstance(value, str) else sorted(value)


def _words(value: str | Sequence[str]) -> str:
    return (value if isinstance(value, str) else ", ".join(value)) or "none"


def _markdown(tier: Tier) -> str:
    lines = [
        _INTRODUCTION,
        "| metric | type | tier | labels | meaning | read from |",
        "|---|---|---|---|---|---|",
    ]
    for _, metric in rows(tier):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        labels += values_of(metric)
        sources = ", ".join(sources_of(metric)) or "gpumon"
        lines.append(
            f"| `{metric.name}` | {metric.kind.value} | {metric.tier.word} | {labels} "
            f"| {metric.help} | {sources} |"
        )
    return "\n".join(lines) + "\n"


def values_of(metric: Metric) -> str:
    """Return the values of a state metric's label, and which of them are exported when."""
    text = f" = {', '.join(metric.states)}" if metric.states else ""
    if metric.good:
        text += f" ({metric.good} always, another while it holds)"
    if metric.full:
        only = sorted(", ".join(key) for key in metric.full)
        text += f" ({', '.join(only)} in full)"
    return text


def sources_of(metric: Metric) -> list[str]:
    """Return where a metric's value may be read from, best first; empty if gpumon derives it."""
    owner = OWNER_OF[metric.name]
    if owner is HostReading:
        return POSSIBLE.get(metric.field, [])
    prefix = {GpuReading: "", MigReading: MIG}.get(owner)
    if prefix is None:
        return []
    found = possible_origins(f"{prefix}{metric.field}")
    return [words for of_kind in found.values() for words in of_kind]
