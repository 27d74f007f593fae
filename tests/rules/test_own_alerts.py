"""A site's own alerts: what its file of thresholds and alerts sets, and what is made of it."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpumon.errors import UsageError
from gpumon.rules import Alert, Rendering, load, load_all, render
from gpumon.rules.render import written_with
from gpumon.thresholds import Thresholds, load_thresholds, shipped
from gpumon.views.explain import explain
from gpumon.views.rules import render_alerts
from tests.rules.test_export import gpumon

OWN = """
[heat]
margin_low_celsius = 9

[alerts.defaults]
labels = { service = "gpu" }
runbook_url = "http://site:9843/runbooks/{alert}"
grafana_url = "http://grafana:3000/"

[alerts.GpuLost]
severity = "critical"
for = "3m"
team = "night shift"
labels = { tier = "1" }

[alerts.JobIdle]
enabled = false
"""


def own(folder: Path, text: str = OWN) -> Thresholds:
    """Read a site's file."""
    file = folder / "own.toml"
    file.write_text(text)
    return load_thresholds(file)


def alerts_of(thresholds: Thresholds, scale: float = 1.0) -> dict[str, Alert]:
    """Return the alerts that are written, by name."""
    return {a.alert: a for g in load(thresholds, scale) for a in g.alerts}


def written(thresholds: Thresholds, **kind: Any) -> dict[str, dict[str, dict[str, str]]]:
    """Return the alerts as a rule engine reads them, by name."""
    texts = render(load(thresholds), Rendering(**kind)).values()
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    return {r["alert"]: r for g in groups for r in g["rules"] if "alert" in r}


def test_what_a_site_sets_is_in_the_rules(tmp_path: Path) -> None:
    """Of the alert that it names, and of all; what it does not name is as it ships."""
    found = alerts_of(own(tmp_path))
    lost, usual = found["GpuLost"], alerts_of(shipped())["GpuLost"]
    assert (lost.severity, lost.hold, lost.team) == ("critical", "3m", "night shift")
    assert lost.labels == (("service", "gpu"), ("tier", "1"))
    assert (lost.expr, lost.keep) == (usual.expr, usual.keep)
    assert found["GpuHung"].labels == (("service", "gpu"),)
    assert found["GpuHung"].severity == alerts_of(shipped())["GpuHung"].severity
    labels = written(own(tmp_path))["GpuLost"]["labels"]
    assert labels.keys() == {"service", "tier", "severity", "team"}


def test_an_alert_that_is_not_enabled_is_not_written(tmp_path: Path) -> None:
    """It is listed all the same, as not enabled."""
    thresholds = own(tmp_path)
    assert "JobIdle" not in alerts_of(thresholds)
    assert "JobIdle" not in written(thresholds)
    listed = {a.alert: a for g in load_all(thresholds) for a in g.alerts}
    assert not listed["JobIdle"].enabled


def test_all_off_and_one_on(tmp_path: Path) -> None:
    """Rule by rule after a month of shadow; the Watchdog says that alerting works meanwhile."""
    text = "[alerts.defaults]\nenabled = false\nseverity = 'info'\n[alerts.RackHot]\nenabled = true"
    found = alerts_of(own(tmp_path, text))
    assert found.keys() == {"RackHot", "Watchdog"}
    assert found["RackHot"].severity == "info"
    assert found["Watchdog"].severity == "none"


def test_a_drill_divides_a_sites_times_too(tmp_path: Path) -> None:
    """Three minutes are three seconds at 60; none is none."""
    assert alerts_of(own(tmp_path), 60)["GpuLost"].hold == "3s"
    assert alerts_of(own(tmp_path, "[alerts.GpuLost]\nfor = '0s'"))["GpuLost"].hold == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[alerts.GpuLots]\nseverity = 'info'", "did you mean GpuLost?"),
        ("[alerts.GpuLost]\nseverty = 'info'", "did you mean severity?"),
        ("[alerts.GpuLost]\nseverity = 'page'", "one of critical, warning, info"),
        ("[alerts.GpuLost]\nseverity = []", "one of critical, warning, info"),
        ("[alerts.GpuLost]\nenabled = 'no'", "true or false"),
        ("[alerts.GpuLost]\nfor = 5", "a duration"),
        ("[alerts.GpuLost]\nfor = 'soon'", "a duration"),
        ("[alerts.GpuLost]\nteam = ''", "a name"),
        ("[alerts.GpuLost]\nteam = '{{ x }}'", "a name"),
        ("[alerts.GpuLost]\nlabels = { alertname = 'x' }", "without alertname"),
        ("[alerts.GpuLost]\nlabels = { team = 'x' }", "severity and team are keys"),
        ("[alerts.GpuLost]\nlabels = { a-b = 'x' }", "without a-b"),
        ("[alerts.GpuLost]\nlabels = { tier = 1 }", "tier is not a text"),
        ("[alerts.defaults]\nrunbook_url = 'http://wiki/'", "a URL such as"),
        ("[alerts.defaults]\ngrafana_url = 'grafana'", "a URL such as"),
        ("[alerts.GpuLost]\nrunbook_url = 'http://x/{alert}'", "unknown key runbook_url"),
        ("[alerts]\nGpuLost = 3", "is not a table"),
        ("alerts = 3", "is not a section"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_name(tmp_path: Path, text: str, says: str) -> None:
    """The error names the file and the key."""
    with pytest.raises(UsageError, match=re.escape(says)) as wrong:
        load(own(tmp_path, text))
    assert "own.toml" in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_alerts_change_no_judgement(tmp_path: Path) -> None:
    """The digest that agents and the site compare is of thresholds only; both go on a pickle."""
    thresholds = own(tmp_path)
    assert thresholds.digest == own(tmp_path, "[heat]\nmargin_low_celsius = 9").digest
    assert thresholds.alerts.digest != own(tmp_path, OWN.replace("3m", "4m")).alerts.digest
    assert pickle.loads(pickle.dumps(thresholds)) == thresholds


def test_files_with_a_sites_own_alerts_say_so(tmp_path: Path) -> None:
    """So that an export without them does not restore what ships."""
    file = tmp_path / "alerts.toml"
    file.write_text("[alerts.GpuLost]\nseverity = 'critical'\n")
    to = ("rules", "export", "--to", str(tmp_path / "rules"))
    assert gpumon(*to, "--thresholds", str(file)).returncode == 0
    text = (tmp_path / "rules" / "alerts-gpu.yml").read_text()
    assert written_with(text) == load_thresholds(file).alerts.digest
    done = gpumon(*to)
    assert done.returncode == 2
    assert "own thresholds or alerts" in done.stderr


def test_the_nodes_team_comes_before_the_rules(tmp_path: Path) -> None:
    """By the target's label, which the site's node table sets; a job's owner stays its owner."""
    team = {name: rule["labels"]["team"] for name, rule in written(own(tmp_path)).items()}
    assert team["GpuLost"] == '{{ or $labels.team "night shift" }}'
    assert team["GpuHung"] == '{{ or $labels.team "hardware" }}'
    assert team["GpuXidApplication"] == "job_owner"


def test_links_lead_to_the_sites_own_servers(tmp_path: Path) -> None:
    """Runbooks and dashboards by the file's URLs, without an option."""
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    text = gpumon("rules", "export", "--thresholds", str(file)).stdout
    groups = yaml.safe_load(text)["groups"]
    notes = {r["alert"]: r["annotations"] for g in groups for r in g["rules"] if "alert" in r}
    assert notes["GpuLost"]["runbook_url"] == "http://site:9843/runbooks/GpuLost"
    link = notes["GpuLost"]["dashboard_url"]
    assert link.startswith("http://grafana:3000/d/{{ if $labels.job_id }}gpumon-job?")
    uids = set(re.findall(r"(gpumon-[a-z]+)\?", link))
    root = Path(__file__).parents[2] / "dashboards" / "json"
    boards = {json.loads(f.read_text())["uid"]: json.loads(f.read_text()) for f in root.iterdir()}
    assert uids <= boards.keys()
    for uid, chosen in re.findall(r"(gpumon-[a-z]+)\?([^{]*(?:{{[^}]*}}[^{?]*)*?){{ e", link):
        variables = {v["name"] for v in boards[uid]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)", chosen)) <= variables


def test_a_trial_marks_every_alert_and_what_would_page(tmp_path: Path) -> None:
    """But the Watchdog, and those that the site has taken live; nothing else changes."""
    thresholds = own(
        tmp_path, "[alerts.RackHot]\nlive = true\n[alerts.GpuLost]\nseverity='critical'"
    )
    live, trial = written(thresholds), written(thresholds, shadow=True)
    assert trial.keys() == live.keys()
    for name, rule in trial.items():
        added = dict(rule["labels"].items() - live[name]["labels"].items())
        page = "true" if rule["labels"]["severity"] == "critical" else "false"
        on_trial = name not in ("RackHot", "Watchdog")
        assert added == ({"shadow": "true", "would_page": page} if on_trial else {})
        assert {**rule, "labels": 0} == {**live[name], "labels": 0}
    assert trial["GpuLost"]["labels"]["would_page"] == "true"
    file = tmp_path / "own.toml"
    assert (
        "would_page: 'true'"
        in gpumon("rules", "export", "--mode", "shadow", "--thresholds", str(file)).stdout
    )


def test_without_a_grafana_there_is_no_link() -> None:
    """A link that leads nowhere is worse than none."""
    assert "dashboard_url" not in str(written(shipped()))


class TestWhatDiffersIsShown:
    """``gpumon rules list`` and ``gpumon explain``."""

    def test_in_the_list(self, tmp_path: Path) -> None:
        """With what ships beside it; nothing is marked for an alert as it ships."""
        usual = {a.alert: a for g in load_all(shipped()) for a in g.alerts}
        alerts = [a for g in load_all(own(tmp_path)) for a in g.alerts]
        text = " ".join(render_alerts(alerts, "table", usual).split())
        assert "a site's own severity: critical; it ships as warning" in text
        assert "not enabled" in text
        document = json.loads(render_alerts(alerts, "json", usual))
        shown = {rule["alert"]: rule["shipped"] for rule in document["rules"]}
        assert shown["GpuLost"] == {
            "severity": "warning",
            "for": "1m",
            "team": "hardware",
            "labels": "none",
        }
        assert shown["JobIdle"] == {"enabled": "true", "labels": "none"}
        assert "expr" in shown["GpuMarginLow"]

    def test_in_the_explanation(self, tmp_path: Path) -> None:
        """Beside the rule; also of an alert that is not enabled."""
        assert "a site's own for: 3m; it ships as 1m" in explain(["GpuLost"], own(tmp_path))
        assert "own enabled: false; it ships as true" in explain(["JobIdle"], own(tmp_path))
        assert "a site's own" not in explain(["GpuLost"], shipped())
