"""The rules as they ship: fresh, complete, and made for a site's own thresholds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gpumon.cli import COMMANDS
from gpumon.errors import UnavailableError, UsageError
from gpumon.model import RECOVERY_ACTIONS
from gpumon.rules import Alert, RecordingRule, Rendering, load, render
from gpumon.rules.check import problems_of_files, problems_of_ours
from gpumon.rules.feeds import deaf_nodes
from gpumon.thresholds import load_thresholds, shipped, with_own
from gpumon.times import parse_duration, scaled
from gpumon.workloads import MANAGERS, allocating
from gpumon.xids import xids
from tests.support.servers import ROOT, require

GROUPS = load(shipped())
RULES = [rule for group in GROUPS for rule in group.rules]
ALERTS = [rule for rule in RULES if isinstance(rule, Alert)]
RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "False alarm"]


def test_what_is_committed_is_fresh() -> None:
    """``deploy/prometheus/rules`` is what ``gpumon rules export`` writes: ``make docs``."""
    folder = ROOT / "deploy" / "prometheus" / "rules"
    committed = {file.name: file.read_text("utf-8") for file in folder.glob("*.yml")}
    assert committed == render(GROUPS, Rendering())


def test_every_metric_is_known_and_promtool_agrees() -> None:
    """A rule reads nothing but the catalogue's metrics and what other rules record."""
    require("promtool")
    problems = problems_of_ours(shipped())
    assert not problems.found
    assert "with promtool" in problems.verdict


def test_recorded_names_have_level_metric_operation() -> None:
    """Names are level:metric:operation, and each is recorded once."""
    names = [rule.record for rule in RULES if isinstance(rule, RecordingRule)]
    assert all(re.fullmatch(r"[a-z_]+:gpumon_[a-z0-9_]+:[a-z0-9_]+", name) for name in names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("level", ["instance", "rack", "row", "hall", "cluster"])
@pytest.mark.parametrize(
    "quantity",
    [
        "gpumon_gpus:count",
        "gpumon_gpus_up:sum",
        "gpumon_gpu_power_watts:sum",
        "gpumon_gpu_energy_joules:rate5m",
        "gpumon_gpu_utilization_ratio:avg",
        "gpumon_gpu_activity_ratio:avg",
        "gpumon_gpu_temperature_margin_celsius:min",
        "gpumon_gpu_memory_used_bytes:sum",
        "gpumon_gpus_held:count",
        "gpumon_gpus_active:count",
        "gpumon_gpu_throttle_seconds:rate5m",
        "gpumon_gpu_xid_errors:increase1h",
        "gpumon_node_power_watts:sum",
    ],
)
def test_the_designs_series_are_recorded_at_every_level(level: str, quantity: str) -> None:
    """What dashboards and the command line read is there by name."""
    assert f"{level}:{quantity}" in {r.record for r in RULES if isinstance(r, RecordingRule)}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.alert)
class TestEachAlert:
    """What every alert owes to whoever it wakes."""

    def test_it_says_all_it_must(self, alert: Alert) -> None:
        """Summary, description, next step and reason are whole, and no name is left unfilled."""
        for text in (alert.summary, alert.description, alert.action, alert.why):
            assert text
            assert "<<" not in text
        assert not alert.summary.endswith(".")
        assert alert.action.endswith((".", "!"))
        assert "<<" not in alert.expr

    def test_its_runbook_is_complete(self, alert: Alert) -> None:
        """Five sections, none empty, and every gpumon command in it exists."""
        text = (RUNBOOKS / f"{alert.alert}.md").read_text("utf-8")
        assert text.startswith(f"# {alert.alert}\n")
        parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
        assert parts[1::2] == SECTIONS
        assert all(len(body.split()) >= 10 for body in parts[2::2])
        commands = re.findall(r"^ {4,}(?:sudo )?gpumon ([a-z]+)", text, flags=re.MULTILINE)
        assert set(commands) <= COMMANDS.keys()

    def test_its_runbook_asks_for_metrics_that_exist(self, alert: Alert) -> None:
        """A renamed metric cannot leave a runbook behind."""
        text = (RUNBOOKS / f"{alert.alert}.md").read_text("utf-8")
        recorded = {rule.record for rule in RULES if isinstance(rule, RecordingRule)}
        asked = set(re.findall(r"(?:[a-z_]+:)?gpumon_[a-z0-9_]+(?::[a-z0-9_]+)?", text))
        known = recorded | _catalogue() | {"gpumon_exporter", "gpumon_reader_process"}
        unknown = {name for name in asked - known if not _is_part(name)}
        assert not unknown


def _catalogue() -> set[str]:
    from gpumon.model import Tier
    from gpumon.model.catalogue import rows

    return {metric.name for _, metric in rows(Tier.FULL)}


def _is_part(name: str) -> bool:
    """Tell whether it is the beginning of a metric's name, as in ``gpumon_gpu_nvlink_*``."""
    return any(known.startswith(name) for known in _catalogue())


def test_no_runbook_is_of_nothing() -> None:
    """An alert that is gone takes its runbook with it."""
    assert {file.stem for file in RUNBOOKS.glob("*.md")} == {alert.alert for alert in ALERTS}


def test_few_wake_somebody() -> None:
    """Most alerts are tickets or for who looks; what pages can be counted on two hands."""
    critical = [alert.alert for alert in ALERTS if alert.severity == "critical"]
    assert len(critical) <= 10
    assert len(ALERTS) >= 60


def test_every_alert_about_a_gpu_says_where_it_sits() -> None:
    """Where its platform reports that (tests/rules/promtool/alerts-gpu.yml shows the words)."""
    alerts = {alert.alert: alert for group in load(shipped()) for alert in group.alerts}
    about_a_gpu = {name for name, alert in alerts.items() if "$labels.gpu }}" in alert.summary}
    asking = {name for name, alert in alerts.items() if "gpu_platform_info" in alert.description}
    assert asking == about_a_gpu
    assert {"GpuLost", "GpuXidReboot", "NvlinkErrors"} <= asking
    for name in asking:
        labels = re.findall(r"gpumon_gpu_platform_info\{([^}]*)\}", alerts[name].description)
        assert labels == ["uuid=%q,instance=%q"]  # two nodes may have one uuid


def test_every_xid_has_an_alert() -> None:
    """Each code of the catalogue is in one of the groups, but for those that only follow others."""
    covered: set[str] = set()
    for alert in ALERTS:
        for codes in re.findall(r'xid=~"([0-9|]+)"', alert.expr):
            covered |= set(codes.split("|"))
    assert {str(code) for code in xids()} - covered == {"45", "154"}


def test_every_recovery_action_has_an_alert() -> None:
    """What the driver asks for is told, also what is newer than this version."""
    expr = " ".join(a.expr for a in ALERTS if a.alert in ("GpuNeedsReset", "GpuNeedsReboot"))
    (reboot,) = set(re.findall(r'action!?=~"([a-z_|]+)"', expr.replace("!~", "=~")))
    assert set(reboot.split("|")) < set(RECOVERY_ACTIONS)
    assert "action!~" in expr


def test_every_list_of_workload_managers_is_that_of_the_registered_ones() -> None:
    """A new one is in each of the alerts; and in the queries of the runbooks, which are copied."""
    managers, everybody = "|".join(allocating()), "|".join(one.name for one in MANAGERS)
    texts = [alert.expr for alert in ALERTS]
    texts += [file.read_text("utf-8") for file in RUNBOOKS.glob("*.md")]
    lists = [found for text in texts for found in re.findall(r'collector[=!]~"([^"]*)"', text)]
    assert set(lists) == {managers, f"{managers}|reader"}
    assert everybody == f"{managers}|processes"
    assert f'collector=~"{everybody}"' in deaf_nodes(GROUPS)


def test_every_threshold_is_used() -> None:
    """A number that nothing reads is gone: neither rule nor check, nor a view, nor the page."""
    package = ROOT / "agent" / "gpumon"
    rules = "".join(file.read_text("utf-8") for file in package.glob("rules/source/*.yml"))
    code = "".join(file.read_text("utf-8") for file in package.rglob("*.py"))
    code += (package / "server" / "page.html").read_text("utf-8")
    assert [n for n in shipped().values if f"<<{n}" not in rules and f'"{n}"' not in code] == []


class TestThresholds:
    """A site's own numbers."""

    def test_they_stand_in_the_rules(self, tmp_path: Path) -> None:
        """A changed margin is in the rules, and everything else as it was."""
        own = tmp_path / "own.toml"
        own.write_text("[heat]\nmargin_low_celsius = 9\nmargin_for = '3m'\n")
        alert = {a.alert: a for g in load(load_thresholds(own)) for a in g.alerts}["GpuMarginLow"]
        assert "(\n  gpumon_gpu_temperature_margin_celsius < 9\n)" in alert.expr
        assert alert.hold == "3m"

    @pytest.mark.parametrize(
        ("given", "written"),
        [("1.5h", "5400s"), ("90", "90s"), ("30 s", "30s"), ("0.5s", "500ms"), ("2d", "2d")],
    )
    def test_durations_are_written_as_prometheus_takes_them(
        self, tmp_path: Path, given: str, written: str
    ) -> None:
        """It knows no fractions, no blanks, and no number without a unit."""
        own = tmp_path / "own.toml"
        own.write_text(f"[heat]\nmargin_for = '{given}'\n[memory]\ncorrected_per_day = 1234567\n")
        alerts = {a.alert: a for g in load(load_thresholds(own)) for a in g.alerts}
        assert alerts["GpuMarginLow"].hold == written
        assert alerts["GpuEccCorrectedTrend"].expr.endswith("> 1234567")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("[heat]\nmargin_lo_celsius = 9", "did you mean heat.margin_low_celsius?"),
            ("[heat]\nmargin_low_celsius = '9'", "a number"),
            ("[heat]\nmargin_for = 9", "a duration"),
            ("[heat]\nmargin_for = 'soon'", "a duration"),
            ("[heat]\nmargin_for = '0s'", "a duration"),
            ("[heat]\nmargin_low_celsius = nan", "a number"),
            ("[heat]\nmargin_low_celsius = inf", "a number"),
            ("[heat]\nmargin_low_celsius = true", "a number"),
            ("[heat]\nmargin_low_celsius = 1979-05-27", "a number"),
            ("[heat]\nmargin_low_celsius = [1]", "a number"),
            ("[heat]\nmargin_low_celsius = -5", "a number"),
            ("margin = 9", "outside of a section"),
            ("[heat", "own.toml"),
        ],
    )
    def test_a_wrong_one_is_named(self, tmp_path: Path, text: str, says: str) -> None:
        """The error says which, and what would be right."""
        own = tmp_path / "own.toml"
        own.write_text(text)
        with pytest.raises(UsageError, match=re.escape(says)):
            load_thresholds(own)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """Whoever named it has to name another, as with --config."""
        with pytest.raises(UsageError, match="no file of thresholds"):
            load_thresholds(tmp_path / "none.toml")


class TestTimeScale:
    """Drills: the same rules, faster."""

    def test_every_duration_is_divided(self) -> None:
        """For, keep_firing_for, intervals and ranges; nothing else changes."""
        slow = load(shipped())
        fast = load(shipped(), 60)
        for one, other in zip(slow, fast, strict=True):
            assert other.interval == (scaled(one.interval, 60) if one.interval else "")
            for rule, quick in zip(one.rules, other.rules, strict=True):
                assert _ranges(quick.expr) == [r / 60 for r in _ranges(rule.expr)]
                if isinstance(rule, Alert) and isinstance(quick, Alert):
                    assert _seconds(quick.hold) == _seconds(rule.hold) / 60
                    assert _seconds(quick.keep) == _seconds(rule.keep) / 60
                    assert quick.action == rule.action

    def test_ages_are_divided_too(self) -> None:
        """An Xid is news for a sixtieth of the time."""
        fast = {a.alert: a for g in load(shipped(), 60) for a in g.alerts}
        assert "< 15" in fast["GpuXidReboot"].expr
        assert "< 900" not in fast["GpuXidReboot"].expr


def _ranges(expr: str) -> list[float]:
    return [_seconds(text) for text in re.findall(r"(?:\[|offset )(\d+[a-z]+)", expr)]


def _seconds(text: str) -> float:
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    return parse_duration(text) if text else 0.0


class TestForms:
    """The same rules for other engines."""

    def test_kubernetes_gets_one_object(self) -> None:
        """A PrometheusRule with all groups."""
        ((_, text),) = render(GROUPS, Rendering(form="kubernetes")).items()
        found = yaml.safe_load(text)
        assert found["kind"] == "PrometheusRule"
        assert [g["name"] for g in found["spec"]["groups"]] == [group.name for group in GROUPS]

    def test_the_runbooks_are_where_the_site_says(self) -> None:
        """The URL is put on mechanically, so that no alert is without."""
        url = "https://wiki.example.org/gpu/{alert}"
        text = "".join(render(GROUPS, Rendering(runbook_url=url)).values())
        found = re.findall(r"runbook_url: (\S+)", text)
        assert found == [url.replace("{alert}", alert.alert) for alert in ALERTS]


class TestCheck:
    """``gpumon rules check`` on files that somebody has changed."""

    def test_an_unknown_metric_is_named(self, tmp_path: Path) -> None:
        """A rule that reads what nobody exposes would be silent for ever."""
        file = tmp_path / "own.yml"
        rule = {"alert": "Hot", "expr": "gpumon_gpu_temperatur_celsius > 90"}
        file.write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": [rule]}]}))
        (found,) = problems_of_files([file]).found
        assert "Hot: gpumon_gpu_temperatur_celsius is neither" in found

    def test_broken_promql_is_named_by_promtool(self, tmp_path: Path) -> None:
        """Promtool's own words, with our file."""
        require("promtool")
        file = tmp_path / "own.yml"
        rule = {"alert": "Hot", "expr": "gpumon_gpu_up =="}
        file.write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": [rule]}]}))
        assert any("parse error" in line for line in problems_of_files([file]).found)

    @pytest.mark.parametrize("text", ["", "a: 1", "[]", "groups: 3", "groups: [{rules: 4}]"])
    def test_what_is_no_rules_is_said(self, tmp_path: Path, text: str) -> None:
        """Another YAML is named, not taken for rules without problems."""
        file = tmp_path / "own.yml"
        file.write_text(text)
        assert any("no groups of rules" in line for line in problems_of_files([file]).found)

    def test_a_kubernetes_object_is_looked_at_by_promtool_too(self, tmp_path: Path) -> None:
        """It is not taken as it stands: promtool knows only groups."""
        require("promtool")
        file = tmp_path / "object.yml"
        text = render(GROUPS, Rendering(form="kubernetes"))["gpumon-rules.yml"]
        file.write_text(text)
        assert not problems_of_files([file]).found
        file.write_text(
            text.replace("gpumon_gpus < ", "gpumon_gpus <").replace(
                "absent(gpumon", "absent((gpumon"
            )
        )
        assert problems_of_files([file]).found

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """It could not be told."""
        with pytest.raises(UnavailableError):
            problems_of_files([tmp_path / "none.yml"])


def test_loading_twice_gives_the_same() -> None:
    """Groups and rules are values: they can be compared."""
    assert load(shipped()) == GROUPS


def test_no_text_tells_the_time_of_a_threshold_by_heart() -> None:
    """With every duration changed, no text speaks of the old one."""
    doubled = {
        name: f"{int(parse_duration(value)) + 7}s" if isinstance(value, str) else value
        for name, value in shipped().values.items()
    }
    for group in load(with_own(doubled)):
        for alert in group.alerts:
            words = f"{alert.summary} {alert.description}"
            assert "an hour" not in words.replace("within an hour", ""), alert.alert
            assert "quarter of an hour" not in words, alert.alert
