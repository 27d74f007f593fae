"""Rules as their engines read them: files for Prometheus or vmalert, one PrometheusRule object."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from gpumon.rules.layers import of_layer
from gpumon.rules.model import Alert, RecordingRule, Rule, RuleGroup
from gpumon.rules.stages import staged

RUNBOOK_URL = "https://github.com/gpumon/gpumon/blob/main/docs/runbooks/{alert}.md"
"""Where an alert's runbook is; a site that keeps its own copy says so (``--runbook-url``)."""

_HEADER = """\
# Written by `gpumon rules export`; do not edit. The reasons are beside the rules' sources, in
# agent/gpumon/rules/source/{file}.yml; thresholds are thresholds.toml's, or a site's own{scale}.
"""

WRITTEN = _HEADER.partition(";")[0]
"""What begins each file: no other is gpumon's to judge."""

_LAYER = {
    "all": "",
    "node": "# Layer: node, for a server of some of the site's racks.\n",
    "site": "# Layer: site, for the server that has what all those of the layer node record.\n",
}

_OWN = "# Thresholds are a site's own, of digest "
"""What begins the line of a header that says which thresholds a file was written with."""

_OWN_ALERTS = "# Alerts are a site's own, of digest "
"""The same of severities, teams, labels and the like."""

_AT_ONCE = "1ms"
"""VictoriaMetrics hides the newest samples for a while, lest they be incomplete; it refuses 0s."""

_DASHBOARDS = {
    "job": "gpumon-job?var-cluster={cluster}&var-job_id={job_id}",
    "gpu": "gpumon-gpu?var-cluster={cluster}&var-instance={instance}&var-gpu={gpu}",
    "node": "gpumon-node?var-cluster={cluster}&var-instance={instance}",
    "power": "gpumon-power?var-cluster={cluster}",
    "fleet": "gpumon-fleet?var-cluster={cluster}",
}
"""The dashboard that shows an alert's GPU, node or job, with the labels that choose it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The reader that rules are written for.

    ``own`` is the digest of the thresholds if they are a site's own, ``own_alerts`` that of what it
    sets of its alerts. ``grafana_url`` is where its Grafana is; without it alerts link to none.
    With ``shadow`` alerts notify nobody: labels say that they are on trial, and which would page.
    ``layer`` is that of the rules, for the header.
    """

    form: str = "prometheus"
    runbook_url: str = RUNBOOK_URL
    grafana_url: str = ""
    own_alerts: str = ""
    shadow: bool = False
    layer: str = "all"
    time_scale: float = 1.0
    own: str = ""


def render(groups: Sequence[RuleGroup], rendering: Rendering) -> dict[str, str]:
    """Return the files to write, by name; a Kubernetes object is one file.

    ``groups`` are those of all layers: the layer of ``rendering`` is chosen here, for a step of the
    site's follows on those of its nodes.
    """
    chosen = _chosen(groups, rendering)
    files = dict.fromkeys(group.file for group in chosen)
    if rendering.form == "kubernetes":
        return {"gpumon-rules.yml": render_one(groups, rendering)}
    return {
        f"{file}.yml": _header(file, rendering)
        + _dump({"groups": _groups((g for g in chosen if g.file == file), rendering)})
        for file in files
    }


def _header(file: str, rendering: Rendering) -> str:
    scale = f", times divided by {rendering.time_scale:g}" if rendering.time_scale != 1 else ""
    own = f"{_OWN}{rendering.own}.\n" if rendering.own else ""
    own += f"{_OWN_ALERTS}{rendering.own_alerts}.\n" if rendering.own_alerts else ""
    return _HEADER.format(file=file, scale=scale) + _LAYER[rendering.layer] + own


def written_with(text: str) -> str:
    """Return the digest of the site's own thresholds that a file was written with; empty if none.

    If only its alerts are a site's own, it is theirs. A file of an older version does not say it.
    """
    header = list(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines()))
    found = [
        line.removeprefix(begin).rstrip(".")
        for begin in (_OWN, _OWN_ALERTS)
        for line in header
        if line.startswith(begin)
    ]
    return found[0] if found else ""


def render_one(groups: Sequence[RuleGroup], rendering: Rendering) -> str:
    """Return all groups as one document: what follows a first one, rule engines do not read."""
    document: dict[str, Any] = {"groups": _groups(_chosen(groups, rendering), rendering)}
    if rendering.form == "kubernetes":
        document = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": _name(rendering), "labels": {"app.kubernetes.io/name": "gpumon"}},
            "spec": document,
        }
    return _header("*", rendering) + _dump(document)


def _chosen(groups: Sequence[RuleGroup], rendering: Rendering) -> tuple[RuleGroup, ...]:
    if rendering.form == "vmalert":
        groups = staged(groups, rendering.time_scale)
    return of_layer(groups, rendering.layer, rendering.time_scale)


def _name(rendering: Rendering) -> str:
    return "gpumon" if rendering.layer == "all" else f"gpumon-{rendering.layer}"


def _groups(groups: Iterable[RuleGroup], rendering: Rendering) -> list[dict[str, Any]]:
    return [
        {
            "name": group.name,
            **({"interval": group.interval} if group.interval else {}),
            **(_staged(group) if group.offset else {}),
            "rules": [_rule(rule, rendering) for rule in group.rules],
        }
        for group in groups
    ]


def _staged(group: RuleGroup) -> dict[str, Any]:
    return {"eval_offset": group.offset, "params": {"latency_offset": [_AT_ONCE]}}


def _rule(rule: Rule, rendering: Rendering) -> dict[str, Any]:
    if isinstance(rule, RecordingRule):
        return {"record": rule.record, "expr": rule.expr}
    return _alert(rule, rendering)


def _alert(alert: Alert, rendering: Rendering) -> dict[str, Any]:
    return {
        "alert": alert.alert,
        "expr": alert.expr,
        **({"for": alert.hold} if alert.hold else {}),
        **({"keep_firing_for": alert.keep} if alert.keep else {}),
        "labels": {
            **dict(alert.labels),
            **_trial(alert, rendering),
            "severity": alert.severity,
            "team": _team(alert),
        },
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "action": alert.action,
            "runbook_url": rendering.runbook_url.replace("{alert}", alert.alert),
            **({"dashboard_url": _dashboard(rendering)} if rendering.grafana_url else {}),
        },
    }


def _trial(alert: Alert, rendering: Rendering) -> dict[str, str]:
    """Return the labels of an alert on trial; none for a live one, and for the Watchdog."""
    if not rendering.shadow or alert.live or alert.severity == "none":
        return {}
    return {"shadow": "true", "would_page": "true" if alert.severity == "critical" else "false"}


def _team(alert: Alert) -> str:
    """Return the alert's team, behind that of the node if its target says one.

    A job's owner stays its owner, on whosever node.
    """
    if alert.team == "job_owner" or alert.severity == "none":
        return alert.team
    return f'{{{{ or $labels.team "{alert.team}" }}}}'


def _dashboard(rendering: Rendering) -> str:
    """Return the link to the dashboard of what the alert's labels name, as a template."""
    chosen = (
        ("job", "$labels.job_id"),
        ("gpu", "$labels.gpu"),
        ("node", "$labels.instance"),
        ("power", "$labels.level"),
    )
    steps = [
        f"{{{{ {'if' if number == 0 else 'else if'} {label} }}}}{_filled(_DASHBOARDS[name])}"
        for number, (name, label) in enumerate(chosen)
    ]
    path = "".join([*steps, "{{ else }}", _filled(_DASHBOARDS["fleet"]), "{{ end }}"])
    return f"{rendering.grafana_url}/d/{path}"


def _filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", r"{{ $labels.\1 | urlquery }}", path)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dump(document: dict[str, Any]) -> str:
    # A PyYAML without its types is one of two that are in use.
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return text
