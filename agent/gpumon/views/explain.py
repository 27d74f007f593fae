"""What a word means and what to do: an alert, a metric, an Xid, a throttle reason, an action."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gpumon.assets import asset
from gpumon.checks import CHECKS, Check
from gpumon.errors import UsageError, hint
from gpumon.model import Metric, Tier
from gpumon.model.catalogue import rows
from gpumon.model.terms import THROTTLE_REASONS
from gpumon.rules import Alert, load_all
from gpumon.thresholds import Thresholds, shipped
from gpumon.views.metrics import sources_of
from gpumon.views.rules import own_lines
from gpumon.xids import RECOVERY, Xid, xids

REASONS = {
    "applications_clocks": "Somebody has set the clocks (nvidia-smi -ac or -lgc). Ask who and why.",
    "sw_power_cap": "The power limit, or the limiter of peak current, throttles the clocks. "
    "At\nfull load this is ordinary; far below the limit see GpuCurrentLimited.",
    "hw_slowdown": "The hardware throttles the clocks to half or less: another hw_ reason says "
    "why.",
    "sync_boost": "The GPUs of a sync-boost group wait for the slowest one.",
    "sw_thermal": "The GPU or its memory is warmer than it should be: see GpuThermalThrottling.",
    "hw_thermal": "The hardware protects itself from heat: see GpuHardwareSlowdown.",
    "hw_power_brake": "The chassis or the rack has pulled the power brake: see GpuPowerBrake.",
    "display_clocks": "A display's settings throttle the clocks; not on server boards.",
}
"""Why a GPU's clocks are throttled, by the reason's name on gpumon_gpu_throttled."""


_SEAT = "gpumon_gpu_platform_info"
_PLACE = (
    "The alert's description says the chassis, slot, tray, host and module, if the platform\n"
    f"reports them (NVL72 and the like: {_SEAT}). So do gpumon status and\ngpumon check of its "
    "node, for a lost GPU too."
)
"""For each alert that is about one GPU."""


def explain(words: Sequence[str], thresholds: Thresholds) -> str:
    """Return what is known of a word; UsageError, with the nearest, if that is nothing.

    Alerts and checks are explained with a site's thresholds.
    """
    text = " ".join(words).strip()
    word = text.removeprefix("xid ").removeprefix("Xid ")
    if re.fullmatch("[0-9]{1,6}", word):
        return _xid(int(word), thresholds)
    alerts = {alert.alert: alert for group in load_all(thresholds) for alert in group.alerts}
    metrics = {metric.name: (labels, metric) for labels, metric in rows(Tier.FULL)}
    if text in alerts:
        return _alert(alerts[text])
    if text in metrics:
        return _metric(*metrics[text])
    checks = {check.name: check for check in CHECKS}
    if text in checks:
        return _check(checks[text], thresholds)
    if text in REASONS:
        return f"{text}: a reason why a GPU's clocks are throttled.\n\n{REASONS[text]}\n"
    if text in RECOVERY:
        return f"{text}: an action that the driver asks for.\n\n{RECOVERY[text]}\n"
    known = [*alerts, *metrics, *checks, *THROTTLE_REASONS, *RECOVERY]
    raise UsageError(
        f"nothing is known about {text!r}",
        f"name an alert, a check, a metric, a throttle reason, or an Xid (xid 79)"
        f"{hint(text, known)}",
    )


def names() -> list[str]:
    """Return the words that a shell completes: fast, so alerts are known by their runbooks."""
    runbooks = asset("docs/runbooks").glob("*.md")
    metrics = (metric.name for _, metric in rows(Tier.FULL))
    return sorted(
        {*(file.stem for file in runbooks), *(check.name for check in CHECKS), *metrics}
        | {*REASONS, *RECOVERY, *map(str, xids())}
    )


def _check(check: Check, thresholds: Thresholds) -> str:
    numbers = [f"{name} = {thresholds.values[name]}" for name in check.thresholds]
    lines = [
        f"{check.name}: {check.title} (gpumon check --only {check.name}).",
        "",
        f"looks at    {'the node' if check.node is not None else 'each GPU'}",
        f"thresholds  {', '.join(numbers) or 'none'}",
        f"alerts      {', '.join(check.alerts) or 'none'}",
    ]
    return "\n".join([*lines, ""])


def _xid(code: int, thresholds: Thresholds) -> str:
    found = xids().get(code)
    if found is None:
        raise UsageError(
            f"Xid {code} is not in this version's catalogue",
            "see NVIDIA's Xid catalog, and do what gpumon_gpu_recovery_action says",
        )
    return (
        f"Xid {code}: {found.meaning}\n\n"
        f"suspect first   {found.xid_class}\n"
        f"severity        {found.severity}\n"
        f"do now          {found.action}\n"
        f"if it repeats   {found.repeat_action}\n"
        f"alert           {_alert_of(found, thresholds)}\n"
        f"ends            {_end_of(found, thresholds)}\n\n"
        "What the driver itself asks for (gpumon_gpu_recovery_action) comes before this table.\n"
    )


def _end_of(found: Xid, thresholds: Thresholds) -> str:
    """Return when the alert on an Xid, and the check's finding, end."""
    if found.needs:
        return "once the GPU was reset (gpumon release, then resume) or the node rebooted"
    return f"{thresholds.values['xid.recent']} after the last one"


def _alert_of(found: Xid, thresholds: Thresholds) -> str:
    for group in load_all(thresholds):
        for alert in group.alerts:
            named = "|".join(re.findall(r'xid=~"([0-9|]+)"', alert.expr)).split("|")
            if str(found.code) in named:
                return alert.alert
    return "none: it follows another"


def _alert(alert: Alert) -> str:
    runbook = asset(f"docs/runbooks/{alert.alert}.md").read_text("utf-8")
    facts = f"severity {alert.severity}, for {alert.team}, after {alert.hold or 'no wait'}"
    place = f"## The place of the GPU\n\n{_PLACE}\n\n" if _SEAT in alert.description else ""
    expr = "".join(f"    {line}\n" for line in alert.expr.splitlines())
    usual = {one.alert: one for group in load_all(shipped()) for one in group.alerts}
    own = "".join(f"* {line}\n" for line in own_lines(alert, usual[alert.alert]))
    return f"{runbook}\n{place}## The rule\n\n{facts}: {alert.why}\n\n{own}{own and chr(10)}{expr}"


def _metric(labels: Sequence[str], metric: Metric) -> str:
    sources = ", ".join(sources_of(metric)) or "gpumon derives it"
    lines = [
        f"{metric.name}: {metric.help}",
        "",
        f"type      {metric.kind.value}{f', in {metric.unit}' if metric.unit else ''}",
        f"labels    {', '.join(labels) or 'none'}",
        f"tier      {metric.tier.word}",
        f"read from {sources}",
    ]
    if metric.states:
        lines.append(f"values    {', '.join(metric.states)}")
    return "\n".join([*lines, ""])
