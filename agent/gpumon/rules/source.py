"""Reads the rules' sources: placeholders are filled, levels are made, mistakes are named."""

from __future__ import annotations

import functools
import importlib.resources
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from gpumon.rules import fit
from gpumon.rules.feeds import DEAF, DEAF_BY_RACK, deaf_nodes
from gpumon.rules.lasting import outlasting, recorded_name
from gpumon.rules.layers import Layer
from gpumon.rules.levels import NODE, PLACE, Level, Levels
from gpumon.rules.model import SEVERITIES, TEAMS, Alert, RecordingRule, Rule, RuleGroup
from gpumon.rules.own import only_enabled, with_settings
from gpumon.thresholds import Thresholds
from gpumon.times import parse_duration, scaled
from gpumon.workloads import allocating
from gpumon.xids import FOLLOWING, Xid, xids

PLACES = {
    "gpu": (
        "GPU {{ $labels.gpu }} of {{ or $labels.node $labels.instance }}"
        "{{ with $labels.rack }} in rack {{ . }}{{ end }}"
    ),
    "node": (
        "{{ or $labels.node $labels.instance }}{{ with $labels.rack }} in rack {{ . }}{{ end }}"
    ),
    "hall": (
        "{{ with $labels.hall }}Hall {{ . }}{{ else }}{{ with $labels.cluster }}Cluster {{ . }}"
        "{{ else }}The site{{ end }}{{ end }}"
    ),
    "cluster": "{{ with $labels.cluster }}Cluster {{ . }}{{ else }}The cluster{{ end }}",
    "partition": (
        "{{ with $labels.node_partition }}Partition {{ . }}{{ else }}The cluster{{ end }}"
    ),
    "budget": (
        '{{ if eq $labels.level "site" }}The site'
        "{{ else }}{{ $labels.level | title }} {{ $labels.name }}{{ end }}"
    ),
    "job": (
        "{{ if $labels.job_id }}Job {{ $labels.job_id }}"
        "{{ with $labels.user }} of {{ . }}{{ end }}: {{ end }}"
    ),
}
"""The place of something, in words, from the labels that are there; node and rack are optional."""

_SEAT = (
    '{{ with query (printf "gpumon_gpu_platform_info{uuid=%q,instance=%q}" '
    "$labels.uuid $labels.instance) }}{{ with (index . 0).Labels }}"
    " It sits in {{ or $labels.node $labels.instance }}"
    "{{ with .chassis_serial }}, chassis {{ . }}{{ end }}"
    "{{ with .slot }}, slot {{ . }}{{ end }}{{ with .tray }}, tray {{ . }}{{ end }}"
    "{{ with .host }}, host {{ . }}{{ end }}{{ with .module }}, module {{ . }}{{ end }}."
    "{{ end }}{{ end }}"
)
"""The seat of an alert's GPU in its rack, as a sentence; empty if its platform does not report
that. An annotation can ask for it, while a join in the expression would cost every alert that does
not fire as much."""

_PLACEHOLDER = re.compile(
    r"<<(?P<name>[a-z_]+\.[a-z_0-9]+)(?P<seconds>\|seconds)?>>"
    r"|(?P<range>(?<=\[)\d+[smhd](?=[\]:])|(?<=:)\d+[smhd](?=\])|(?<=offset )\d+[smhd])"
)
"""What is replaced in a text: a name, and, so that a drill can scale it, a range or an offset."""

_GSP = frozenset({119, 120})
"""Xids with an alert of their own, since the agent acts upon the first."""


class RuleError(Exception):
    """A source is wrong: a bug of ours, which the tests find."""


def load(thresholds: Thresholds, time_scale: float = 1.0) -> tuple[RuleGroup, ...]:
    """Return all groups with a site's thresholds in place, and its own alerts, if they are enabled.

    ``time_scale`` divides every duration, for drills: 60 makes an hour a minute. Raises UsageError
    if the site's file sets something of an alert that does not exist.
    """
    groups = only_enabled(load_all(thresholds, time_scale))
    return (*groups, _deaf(groups, time_scale), _fit(thresholds, time_scale))


def load_all(thresholds: Thresholds, time_scale: float = 1.0) -> tuple[RuleGroup, ...]:
    """Return the groups of all sources, with the alerts that a site has not enabled."""
    groups: list[RuleGroup] = []
    folder = importlib.resources.files("gpumon.rules").joinpath("source")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yml"):
            name = file.name.removesuffix(".yml")
            groups += load_text(name, file.read_text("utf-8"), thresholds, time_scale)
    scale = functools.partial(scaled, scale=time_scale)
    return with_settings(groups, thresholds.alerts, scale)


def _deaf(groups: Sequence[RuleGroup], time_scale: float) -> RuleGroup:
    """Return the group that records on how many nodes which alert cannot fire.

    It is made of the alerts themselves. Twice an hour, for it looks at a series of every GPU
    for each of them, and what a driver reports changes with its version.
    """
    rack = ", ".join((*PLACE, "cluster"))
    kept = scaled("40m", time_scale)
    rules = (
        RecordingRule(record=DEAF_BY_RACK, expr=deaf_nodes(groups, rack)),
        RecordingRule(
            record=DEAF,
            # Another server may record the racks at another minute; samples last for five.
            expr=f"sum by (cluster, alert) (last_over_time({DEAF_BY_RACK}[{kept}]))",
            layer=Layer.SITE,
        ),
    )
    return RuleGroup(
        file="monitor", name="gpumon-deaf", rules=rules, interval=scaled("30m", time_scale)
    )


def _fit(thresholds: Thresholds, time_scale: float) -> RuleGroup:
    """Return the group that records whether a Prometheus is as the rules assume.

    It is made of the levels, and says which thresholds the rules have.
    """
    return RuleGroup(
        file="monitor",
        name="gpumon-fit",
        rules=fit.recordings(thresholds),
        interval=scaled("1m", time_scale),
    )


def load_text(
    file: str, text: str, thresholds: Thresholds, time_scale: float = 1.0
) -> tuple[RuleGroup, ...]:
    """Return the groups of one source's text; RuleError, or KeyError, for a mistake in it."""
    # Words tell the time as it is meant, also in a drill.
    fill, words = _Fill(thresholds, time_scale), _Fill(thresholds, 1.0)
    document = yaml.safe_load(text)
    return tuple(_group(file, group, fill, words) for group in document["groups"])


class _Fill:
    """Puts thresholds, codes and words in place of their names."""

    def __init__(self, thresholds: Thresholds, time_scale: float) -> None:
        self._values = thresholds.values
        self._scale = time_scale
        self.levels = Levels(thresholds.levels)
        self._words: Mapping[str, Mapping[str, str]] = {
            "place": PLACES,
            "xids": _codes(),
            "by": self.levels.lists,
            "workloads": {"allocating": "|".join(allocating())},
        }

    def text(self, text: str) -> str:
        """Return words or PromQL with everything in place."""
        return _PLACEHOLDER.sub(self._value, text)

    def duration(self, text: str) -> str:
        """Return a duration of a rule: a literal is scaled here, a threshold as it is filled in."""
        return self.text(text) if "<<" in text else scaled(text, self._scale) if text else ""

    def _value(self, match: re.Match[str]) -> str:
        if match["range"]:
            return scaled(match["range"], self._scale)
        section, _, name = match["name"].partition(".")
        words = self._words.get(section)
        value = self._values.get(match["name"]) if words is None else words.get(name)
        if value is None:
            raise RuleError(f"no threshold {match['name']}")
        if words is not None:
            return str(value)
        if isinstance(value, str):
            if match["seconds"]:
                return f"{parse_duration(value) / self._scale:g}"
            return scaled(value, self._scale)
        return repr(value)


def _group(file: str, group: Mapping[str, Any], fill: _Fill, words: _Fill) -> RuleGroup:
    _known(group, {"name", "why", "interval", "layer", "rules"}, group.get("name", file))
    rules: list[Rule] = []
    for rule in group["rules"]:
        entry = {"layer": group.get("layer", Layer.NODE.value), **rule}
        if entry["layer"] not in list(Layer):
            raise RuleError(f"{group['name']}: layer")
        if "alert" in entry:
            rules += _alerts(entry, fill, words)
        else:
            rules += _recordings(entry, fill)
    return RuleGroup(
        file=file,
        name=group["name"],
        rules=tuple(rules),
        interval=fill.duration(group.get("interval", "")),
    )


def _alerts(entry: Mapping[str, Any], fill: _Fill, words: _Fill) -> Iterator[Rule]:
    """Yield an alert, and before one that outlasts its data the series of its value."""
    lasts = entry.get("lasts")
    if isinstance(lasts, Mapping):
        _known(lasts, {"by", "unless"}, entry["alert"])
        value = recorded_name(entry["alert"])
        expr = fill.text(_once(entry))
        yield RecordingRule(record=value, expr=expr, layer=entry["layer"])
        entry = {key: entry[key] for key in entry if key != "by"}
        entry["expr"] = outlasting(entry["alert"], lasts)
    elif (lasts is None) is (entry["severity"] == "critical"):
        raise RuleError(f"{entry['alert']}: a critical one, and no other, says how it lasts")
    yield _alert(entry, fill, words)


def _alert(entry: Mapping[str, Any], fill: _Fill, words: _Fill) -> Alert:
    name = entry["alert"]
    texts = ("severity", "team", "summary", "description", "action", "why")
    other = ("check", "no_check", "lasts")
    keys = {"alert", "expr", "by", "for", "keep_firing_for", "layer", *texts, *other}
    _known(entry, keys, name)
    if entry["severity"] not in SEVERITIES or entry["team"] not in TEAMS:
        raise RuleError(f"{name}: severity or team")
    if ("check" in entry) is ("no_check" in entry):
        raise RuleError(f"{name}: either its check, or why there is none")
    seat = _SEAT if "<<place.gpu>>" in entry["summary"] else ""
    return Alert(
        alert=name,
        expr=fill.text(_once(entry)),
        hold=fill.duration(entry.get("for", "")),
        keep=fill.duration(entry.get("keep_firing_for", "")),
        severity=entry["severity"],
        team=entry["team"],
        summary=words.text(entry["summary"].strip()),
        description=words.text(entry["description"].strip() + seat),
        action=words.text(entry["action"].strip()),
        why=words.text(entry["why"].strip()),
        check=entry.get("check", "").strip(),
        no_check=entry.get("no_check", "").strip(),
        layer=entry["layer"],
    )


def _once(entry: Mapping[str, Any]) -> str:
    """Return an alert's expression with each of its things once.

    ``by`` says what the alert is about (``gpu`` or ``node``), and which labels it has besides. Who
    scrapes a node, and how often, is none of it.
    """
    expr: str = entry["expr"].strip()
    if "by" not in entry:
        return expr
    of, *labels = entry["by"]
    by = ", ".join((f"<<by.{of}>>", *labels))
    return f"max by ({by}) (\n{textwrap.indent(expr, '  ')}\n)"


def _recordings(entry: Mapping[str, Any], fill: _Fill) -> Iterator[RecordingRule]:
    """Yield a rule, and if it goes up, that of each higher level.

    ``labels`` are those of its series beside the node's; ``also`` the levels that not every
    quantity has.
    """
    name = entry["record"]
    _known(entry, {"record", "expr", "up", "labels", "also", "layer"}, name)
    expr = fill.text(entry["expr"].strip())
    yield RecordingRule(record=name, expr=expr, layer=entry["layer"])
    if "up" not in entry:
        return
    at, _, quantity = name.partition(":")
    if at != NODE:
        raise RuleError(f"{name}: only a node's series go up")
    for level in fill.levels.levels:
        if level.always or level.name in entry.get("also", ()):
            yield RecordingRule(
                record=f"{level.name}:{quantity}",
                expr=_at(level, quantity, entry["up"], entry.get("labels", ())),
                layer=Layer.SITE if level.whole else entry["layer"],
            )


def _at(level: Level, quantity: str, how: str, labels: Sequence[str]) -> str:
    """Return what is recorded at a level, from the level below."""
    by = ", ".join((*level.labels, *labels))
    below = f"{level.below}:{quantity}"
    if how in ("sum", "min", "max"):
        return f"{how} by ({by}) ({below})"
    if how != "mean":
        raise RuleError(f"{quantity}: up is {how}")
    # Over GPUs, not over racks of different sizes.
    gpus = f"({level.below}:gpumon_gpus_up:sum > 0)"
    return f"sum by ({by}) ({below} * {gpus})\n/ sum by ({by}) ({gpus} and {below})"


def _known(entry: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    unknown = entry.keys() - set(keys)
    if unknown:
        raise RuleError(f"{where}: {', '.join(sorted(unknown))}")


@functools.cache
def _codes() -> Mapping[str, str]:
    """Return the Xids that an alert is about, by its word, as a regular expression."""
    known = [xid for xid in xids().values() if xid.code not in _GSP | FOLLOWING]
    grave = [xid for xid in known if xid.needs]
    mild = [xid for xid in known if not xid.needs]
    return {
        "known": _regex(list(xids().values())),
        "reboot": _regex([xid for xid in grave if xid.needs == "reboot"]),
        "reset": _regex([xid for xid in grave if xid.needs != "reboot"]),
        "hardware": _regex([x for x in mild if x.xid_class == "hardware"]),
        "driver": _regex([x for x in mild if x.xid_class == "driver"]),
        "application": _regex([x for x in mild if x.xid_class == "application"]),
        "programs": _regex([x for x in xids().values() if x.xid_class == "application"]),
    }


def _regex(found: Sequence[Xid]) -> str:
    return "|".join(str(code) for code in sorted(xid.code for xid in found))
