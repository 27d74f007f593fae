"""What it means that alerts cannot fire on this node: pure functions, from a record to findings."""

from __future__ import annotations

from collections.abc import Iterator

from gpumon.doctor.facts import AlertFeeds
from gpumon.doctor.finding import Finding, good, unasked
from gpumon.model.catalogue import rows
from gpumon.model.metric import Tier

ITEM = "alerts"


def alerts(facts: AlertFeeds) -> Iterator[Finding]:
    """Say which alerts this node cannot feed, and what they miss.

    Most of it is as it should be: a board without NVLink has no links that go down.
    """
    if facts.problem:
        yield unasked(ITEM, f"which of them can fire here is not known: {facts.problem}")
        return
    if not facts.gpus:
        yield unasked(ITEM, "none of them can fire here: no GPU responds")
        return
    deaf = {alert for alerts in facts.deaf.values() for alert in alerts}
    fed = f"{facts.alerts - len(deaf)} of {facts.alerts}" if deaf else f"all {facts.alerts}"
    others = "; the others cannot fire" if deaf else ""
    yield good(ITEM, f"{fed} alerts about GPUs have what they need on this node{others}")
    for missing, by_alert in facts.deaf.items():
        gpus = sorted({gpu for of in by_alert.values() for gpu in of})
        where = "" if len(gpus) == facts.gpus else f" of GPU {', '.join(map(str, gpus))}"
        evidence = f"{', '.join(by_alert)} cannot fire: no {missing}{where}"
        yield unasked(ITEM, evidence, _step(missing))


def _step(missing: str) -> str:
    """Return what can be done about a series that is missing; nothing if the driver has none."""
    name = missing.partition("{")[0]
    if 'collector="kernel_log"' in missing:
        return "let the agent read the kernel's log: docs/privileges.md"
    if name in _FOR_ROOT:
        return "the driver reports it to root only, if the board has it: docs/privileges.md"
    return ""


_FOR_ROOT = frozenset(
    metric.name
    for _, metric in rows(Tier.FULL)
    if metric.field in ("sram_threshold_exceeded", "power_smoothing_lifetime_ratio")
)
