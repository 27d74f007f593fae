"""The catalogue of metrics, written out: ``gpumon metrics`` and ``docs/metrics.md``."""

from __future__ import annotations

import json

from gpumon.catalogue import rows
from gpumon.model import Metric, Tier
from gpumon.model.origin import ALL_LINKS, Call, Field, Gpm, Headroom, Links, Origin, PerLink

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
    listed = [
        {
            "name": metric.name,
            "type": metric.kind.value,
            "unit": metric.unit,
            "help": metric.help,
            "labels": list(labels),
            "states": list(metric.states),
            "tier": metric.tier.word,
            "sources": sources_of(metric),
        }
        for labels, metric in rows(tier)
    ]
    return json.dumps(listed, indent=2) + "\n"


def _markdown(tier: Tier) -> str:
    lines = [
        _INTRODUCTION,
        "| metric | type | tier | labels | meaning | read from |",
        "|---|---|---|---|---|---|",
    ]
    for _, metric in rows(tier):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        if metric.states:
            labels += " = " + ", ".join(metric.states)
        sources = ", ".join(sources_of(metric)) or "gpumon"
        lines.append(
            f"| `{metric.name}` | {metric.kind.value} | {metric.tier.word} | {labels} "
            f"| {metric.help} | {sources} |"
        )
    return "\n".join(lines) + "\n"


def sources_of(metric: Metric) -> list[str]:
    """Return where the driver keeps a metric's value, best first; empty where gpumon derives it."""
    origins = [_origin(origin) for choices in metric.nvml.values() for origin in choices]
    return list(dict.fromkeys(origins))


def _origin(origin: Origin) -> str:
    if isinstance(origin, Field):
        scope = {0: "", ALL_LINKS: " (all links)"}.get(origin.scope, f" (scope {origin.scope})")
        return f"field {origin.id}{scope}"
    if isinstance(origin, Links | PerLink):
        return f"field {origin.id} of each link"
    if isinstance(origin, Gpm):
        return f"GPM {origin.id}"
    if isinstance(origin, Headroom):
        return "thresholds less temperature"
    assert isinstance(origin, Call)
    return origin.function.removeprefix("nvmlDevice")
