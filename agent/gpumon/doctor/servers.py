"""Whether Prometheus scrapes this node and has our rules, and Grafana our dashboards."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpumon.doctor.finding import Finding, bad, good, odd, unknown
from gpumon.promapi import PrometheusApi

MOST_SKEW_SECONDS = 5.0
"""By more than this the clocks of a node and its Prometheus should not differ."""


def prometheus(api: PrometheusApi, names: Collection[str], port: int) -> Iterator[Finding]:
    """Ask a Prometheus: does it scrape an agent of one of these host names, or of this port."""
    data, date = api.status("targets?state=active")
    yield scraped(data.get("activeTargets", []), names, port, api.url)
    yield clocks(time.time(), date, api.url)
    yield rules(api.status("rules")[0].get("groups", []), _our_groups(), api.url)
    yield alertmanagers(api.status("alertmanagers")[0].get("activeAlertmanagers", []), api.url)


def _our_groups() -> set[str]:
    from gpumon.rules import load
    from gpumon.thresholds import shipped

    return {group.name for group in load(shipped())}


def scraped(
    targets: Sequence[Mapping[str, Any]], names: Collection[str], port: int, url: str
) -> Finding:
    """Judge whether one of the targets is this node's agent, and how its scrapes go."""
    ours = [target for target in targets if _is_ours(target, names, port)]
    if not ours:
        return bad(
            "prometheus-scrape",
            f"none of the {len(targets)} targets of {url} is {' or '.join(sorted(names))}",
            "add this node to its scrape_configs: deploy/prometheus/prometheus.yml",
        )
    target = ours[0]
    where = target.get("scrapeUrl", "")
    if target.get("health") != "up":
        reason = target.get("lastError") or target.get("health") or "not known"
        return bad("prometheus-scrape", f"{where}: {reason}", "try it from there, with curl")
    return good("prometheus-scrape", f"{where} is up")


def _is_ours(target: Mapping[str, Any], names: Collection[str], port: int) -> bool:
    labels = target.get("labels", {})
    parts = urllib.parse.urlsplit(target.get("scrapeUrl", ""))
    hosts = {parts.hostname or "", labels.get("node", ""), labels.get("instance", "").split(":")[0]}
    return parts.port == port and bool(hosts & {*names})


def clocks(ours: float, theirs: float | None, url: str) -> Finding:
    """Judge how far apart this machine's clock and the server's are (unix seconds)."""
    if theirs is None:
        return unknown("prometheus-clock", f"{url} does not say what time it is")
    skew = ours - theirs
    if abs(skew) > MOST_SKEW_SECONDS:
        return bad(
            "prometheus-clock",
            f"this machine is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {url}",
            "have both clocks kept, by chrony or systemd-timesyncd",
        )
    return good("prometheus-clock", f"the same time as {url}")


def rules(groups: Sequence[Mapping[str, Any]], ours: Collection[str], url: str) -> Finding:
    """Judge whether our groups of rules are loaded, and can be evaluated."""
    there = {group.get("name", "") for group in groups}
    absent = sorted({*ours} - there)
    if absent:
        return bad(
            "prometheus-rules",
            f"{len(absent)} of {len(ours)} groups are not in {url}, such as {absent[0]}",
            "gpumon rules export --to its folder of rules, and reload it",
        )
    ailing = [
        f"{rule.get('name')}: {rule.get('lastError')}"
        for group in groups
        if group.get("name") in ours
        for rule in group.get("rules", [])
        if rule.get("health") == "err"
    ]
    if ailing:
        return bad("prometheus-rules", ailing[0], "gpumon rules check --dir its folder of rules")
    return good("prometheus-rules", f"all {len(ours)} groups are in {url}")


def alertmanagers(found: Sequence[Mapping[str, Any]], url: str) -> Finding:
    """Judge whether somebody would be told."""
    if not found:
        return odd(
            "prometheus-alerts",
            f"{url} knows no Alertmanager: no alert reaches anybody",
            "add alerting.alertmanagers: deploy/prometheus/prometheus.yml",
        )
    return good("prometheus-alerts", f"told to {', '.join(one.get('url', '') for one in found)}")


def grafana(url: str, token_file: Path | None) -> Finding:
    """Ask a Grafana whether it has our dashboards as they ship."""
    from gpumon.grafana.access import read_access
    from gpumon.grafana.push import Kind, changes_in
    from gpumon.grafana.server import connect
    from gpumon.grafana.shipped import FOLDER, load

    ours = load(())
    with connect(read_access(url, token_file)) as server:
        _, changes = changes_in(server, ours, FOLDER, None)
    return dashboards([change.kind.value for change in changes], Kind.UNCHANGED.value, url)


def dashboards(kinds: Sequence[str], current: str, url: str) -> Finding:
    """Judge what a push would find: each dashboard's kind of change."""
    outdated = [kind for kind in kinds if kind != current]
    if not outdated:
        return good("grafana", f"all {len(kinds)} dashboards are in {url}, as they ship")
    told = ", ".join(f"{outdated.count(kind)} {kind}" for kind in dict.fromkeys(outdated))
    return odd(
        "grafana",
        f"{len(outdated)} of {len(kinds)} dashboards differ in {url} ({told})",
        "gpumon dashboards diff shows how, and push brings them up to date",
    )
