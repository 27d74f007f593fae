"""What the facts of a Prometheus and a Grafana mean: pure functions, from records to findings."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from gpumon.doctor.facts import Grafana, Own, Prometheus, ServerReport
from gpumon.doctor.finding import Finding, bad, good, missed, odd, unasked
from gpumon.grafana.push import Action

MOST_SKEW_SECONDS = 5.0
"""By more than this the clocks of a node and its Prometheus should not differ; a Date header has
whole seconds, and the answer is under way for some time."""


def not_asked(item: str) -> Finding:
    """Say how to have a server looked at."""
    return unasked(item, "not asked", f"gpumon doctor --{item} URL")


def prometheus(facts: Prometheus) -> Iterator[Finding]:
    """Judge whether a Prometheus watches this node, has our rules, and alerts somebody."""
    answers = (facts.targets, facts.rules, facts.alertmanagers)
    if all(told.problem for told in answers):
        yield bad("prometheus", facts.targets.problem, facts.targets.next_step)
        return
    yield good("prometheus", f"{facts.url} responds")
    yield _or_missed("prometheus-scrape", facts.targets) or _scraped(facts)
    yield _clocks(facts)
    yield _or_missed("prometheus-rules", facts.rules) or _rules(facts)
    yield from _fits(facts)
    yield _or_missed("prometheus-alerts", facts.alertmanagers) or _alerts(facts)


def _or_missed(item: str, told: ServerReport) -> Finding | None:
    return missed(item, told.problem, told.next_step) if told.problem else None


def _scraped(facts: Prometheus) -> Finding:
    """Judge whether one of the targets is this node's agent, and how its scrapes go."""
    ours = [target for target in facts.targets.rows if is_ours(target, facts.own)]
    if not ours:
        name = min(facts.own.names, key=len, default="this node")
        return bad(
            "prometheus-scrape",
            f"none of the {len(facts.targets.rows)} targets of {facts.url} is port "
            f"{facts.own.port} of {name}",
            "add this node to its scrape_configs: deploy/prometheus/prometheus.yml",
        )
    down = [target for target in ours if target.get("health") == "down"]
    where = (down or ours)[0].get("scrapeUrl", "")
    if down:
        reason = down[0].get("lastError") or "no reason given"
        return bad("prometheus-scrape", f"{where}: {reason}", "try that URL from there with curl")
    if all(target.get("health") != "up" for target in ours):
        return odd(
            "prometheus-scrape", f"{where} has not been scraped yet", "ask again in a minute"
        )
    return good("prometheus-scrape", f"{where} is up")


def is_ours(target: Mapping[str, Any], own: Own) -> bool:
    """Return whether a target is this machine's agent, by its URL or by what its labels call it.

    A node that knows only its short name is also meant by one with a domain.
    """
    labels = target.get("labels", {})
    parts = urllib.parse.urlsplit(target.get("scrapeUrl", ""))
    if (parts.port or {"http": 80, "https": 443}.get(parts.scheme)) != own.port:
        return False
    instance = _host(f"//{labels.get('instance', '')}")
    hosts = {parts.hostname or "", instance, labels.get("node", "")} - {""}
    if hosts & (own.addresses | own.names):
        return True
    short = all("." not in name for name in own.names)
    return short and bool({host.partition(".")[0] for host in hosts} & own.names)


def _host(url: str) -> str:
    try:
        return urllib.parse.urlsplit(url).hostname or ""
    except ValueError:  # a label is free text
        return ""


def _clocks(facts: Prometheus) -> Finding:
    skew = facts.skew_seconds
    if skew is None:
        return unasked("prometheus-clock", f"{facts.url} does not say what time it is")
    if abs(skew) > MOST_SKEW_SECONDS:
        return bad(
            "prometheus-clock",
            f"this machine is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {facts.url}",
            "synchronize both clocks, with chrony or systemd-timesyncd",
        )
    return good("prometheus-clock", f"the same time as {facts.url}")


def _rules(facts: Prometheus) -> Finding:
    """Judge whether our groups are loaded, are those that ship, and can be evaluated."""
    there: dict[str, list[Mapping[str, Any]]] = {}
    for group in facts.rules.rows:
        if group.get("name") in facts.ours:
            there.setdefault(group["name"], []).extend(group.get("rules", ()))
    step = "run gpumon rules export --to its folder of rules, and reload it"
    absent = sorted(facts.ours.keys() - there)
    if len(absent) == len(facts.ours):
        return bad("prometheus-rules", f"none of gpumon's rules is in {facts.url}", step)
    ailing = [
        f"{rule.get('name')}: {rule.get('lastError')}"
        for rules in there.values()
        for rule in rules
        if rule.get("health") == "err"
    ]
    if ailing:
        return bad("prometheus-rules", ailing[0], "run gpumon rules check on its rule files")
    if absent:
        told = f"{len(absent)} of {len(facts.ours)} groups are not in {facts.url}: {absent[0]} …"
        return odd("prometheus-rules", told, step)
    old = sorted(
        name
        for group, rules in there.items()
        for name in facts.ours[group] - {str(rule.get("name")) for rule in rules}
    )
    if old:
        told = f"{len(old)} rules of this version are not in {facts.url}, such as {old[0]}"
        return odd("prometheus-rules", told, step)
    return good(
        "prometheus-rules", f"all {len(facts.ours)} groups are in {facts.url}, without errors"
    )


def _fits(facts: Prometheus) -> Iterator[Finding]:
    """Judge whether its targets, levels and rules are as the rules assume."""
    item = "prometheus-series"
    if isinstance(facts.fit, ServerReport):
        yield missed(item, facts.fit.problem, facts.fit.next_step)
        return
    for one in facts.fit.found:
        yield (bad if one.wrong else odd)(item, one.what, one.next_step)
    if not facts.fit.found:
        yield good(item, f"each node, level and rule is once in {facts.url}, with one thresholds")


def _alerts(facts: Prometheus) -> Finding:
    found = facts.alertmanagers.rows
    if not found:
        return odd(
            "prometheus-alerts",
            f"{facts.url} knows no Alertmanager: no alert reaches anybody",
            "add alerting.alertmanagers: deploy/prometheus/prometheus.yml",
        )
    return good("prometheus-alerts", f"sent to {', '.join(one.get('url', '') for one in found)}")


def grafana(facts: Grafana) -> Iterator[Finding]:
    """Judge whether a Grafana has the dashboards as they ship."""
    outdated = [change for change in facts.changes if change != Action.UNCHANGED.value]
    if not outdated:
        yield good(
            "grafana", f"all {len(facts.changes)} dashboards are in {facts.url}, as they ship"
        )
        return
    words = {Action.CREATE.value: "missing", Action.UPDATE.value: "outdated"}
    told = ", ".join(
        f"{outdated.count(kind)} {words.get(kind, kind)}" for kind in dict.fromkeys(outdated)
    )
    yield odd(
        "grafana",
        f"{len(outdated)} of {len(facts.changes)} dashboards differ in {facts.url} ({told})",
        "see how with gpumon dashboards diff; gpumon dashboards push brings them up to date",
    )
