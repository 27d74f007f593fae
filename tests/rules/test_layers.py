"""Rules by layer: what servers of nodes evaluate, and what that of the site makes of it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gpumon.model import Tier
from gpumon.model.catalogue import rows
from gpumon.rules import Rendering, load, render, render_one
from gpumon.rules.layers import RAW, SENT, Layer, of_layer
from gpumon.rules.model import Alert, RecordingRule, Rule
from gpumon.rules.stages import APART, SPREAD, staged
from gpumon.thresholds import shipped
from tests.rules.test_export import gpumon
from tests.support.servers import ROOT

GROUPS = load(shipped())
RULES = [rule for group in GROUPS for rule in group.rules]
LAYERS = {rule.record: rule.layer for rule in RULES if isinstance(rule, RecordingRule)}
_NAME = re.compile(r"(?<![\w:\"])(?:[a-z_]+:)?gpumon_[a-z0-9_]+(?::[a-z0-9_]+)?")


def read(rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield each series of gpumon that a rule reads, and its layer; empty for an agent's own."""
    for name in set(_NAME.findall(rule.expr)):
        yield name, LAYERS.get(name, "site" if name.startswith("gpumon_site_") else "")


def seconds(text: str) -> float:
    """Return a duration as Prometheus and vmalert take it: 4250ms, 15s, 10m."""
    number, unit = re.findall(r"^(\d+)(ms|[smhd])$", text)[0]
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


def named(rule: Rule) -> str:
    """Return a rule's name."""
    return rule.record if isinstance(rule, RecordingRule) else rule.alert


class TestEachRule:
    """What holds for all of them."""

    @pytest.mark.parametrize("rule", RULES, ids=named)
    def test_it_reads_only_what_its_layer_has(self, rule: Rule) -> None:
        """A server of nodes has agents; that of the site what was recorded, and a few families."""
        for name, layer in read(rule):
            if rule.layer == Layer.SITE:
                assert layer or name in RAW, name
            elif rule.layer == Layer.EACH:
                assert name in RAW or layer == Layer.NODE, name
            else:
                assert layer != Layer.SITE, name

    def test_only_nodes_and_racks_are_recorded_without_the_whole(self) -> None:
        """A cluster's or hall's series of one server of several would be a part, by its name."""
        at = {record.partition(":")[0] for record, layer in LAYERS.items() if layer == Layer.NODE}
        own = {"instance", "instance_job_id", "instance_serial", "uuid"}
        assert at == own | {"rack", "rack_alert", "rack_digest", "rack_model", "rules", "critical"}
        critical = [r for r, layer in LAYERS.items() if layer == Layer.NODE and "critical:" in r]
        assert critical == ["critical:gpumon_rack_hot:value"]

    def test_the_list_of_families_has_none_too_many(self) -> None:
        """Each is sent for every node of the site: it must be worth it."""
        above = [rule.expr for rule in RULES if rule.layer != Layer.NODE]
        assert [name for name in RAW if not any(re.search(rf"\b{name}\b", e) for e in above)] == []

    def test_each_family_is_there(self) -> None:
        """None is misspelled, or of a tier that few have."""
        exposed = {metric.name for _, metric in rows(Tier.STANDARD)}
        assert {*RAW} - {"up"} <= exposed

    def test_what_is_sent_is_a_regular_expression_of_whole_names(self) -> None:
        """As Prometheus takes one: all that is recorded, and nothing else of the agents."""
        assert all(re.fullmatch(SENT, name) for name in (*LAYERS, *RAW, "ALERTS"))
        others = {metric.name for _, metric in rows(Tier.FULL)} - {*RAW}
        assert [name for name in others if re.fullmatch(SENT, name)] == []

    def test_the_documentation_has_it_in_a_configuration_that_can_be_read(self) -> None:
        """Somebody copies it."""
        text = (ROOT / "docs" / "alerting.md").read_text("utf-8")
        block = text.partition("    remote_write:\n")[2].partition("\n\n")[0]
        (write,) = yaml.safe_load(textwrap.dedent("    remote_write:\n" + block))["remote_write"]
        (relabel,) = write["write_relabel_configs"]
        assert relabel == {"source_labels": ["__name__"], "regex": SENT, "action": "keep"}


class TestLayers:
    """All rules, parted."""

    def test_each_rule_is_in_one_and_what_each_says_of_itself_in_both(self) -> None:
        """None is lost, and none evaluated twice over the same nodes."""
        node, site = (
            [named(rule) for group in of_layer(GROUPS, layer) for rule in group.rules]
            for layer in (Layer.NODE, Layer.SITE)
        )
        both = sorted({*node} & {*site})
        assert both == [
            "NotificationsDropped",
            "QueueNearlyFull",
            "RemoteWriteFailing",
            "RulesFailing",
            "TelemetryAbsent",
            "Watchdog",
        ]
        assert sorted([*node, *site]) == sorted([named(rule) for rule in RULES] + both)

    def test_two_watchdogs_are_two_alerts(self) -> None:
        """Whoever watches them misses the one that stops; one server with all rules has one."""
        for layer, label in (("node", ("layer", "node")), ("site", ("layer", "site")), ("all", ())):
            rules = [rule for group in of_layer(GROUPS, layer) for rule in group.rules]
            (dog,) = [r for r in rules if isinstance(r, Alert) and r.alert == "Watchdog"]
            assert dog.labels == ((label,) if label else ())


class TestStages:
    """For vmalert, which finds what it has just written only later."""

    def test_whatever_a_rule_reads_was_written_well_before(self) -> None:
        """In the same interval or the last, of the site's layer too."""
        at = {named(rule): group for group in staged(GROUPS) for rule in group.rules}
        for rule in RULES:
            for name, layer in read(rule):
                if layer and name in at and name != named(rule):
                    above, below = at[named(rule)], at[name]
                    later = seconds(above.offset) - seconds(below.offset)
                    assert later % seconds(below.interval) >= APART - SPREAD[-1]

    def test_all_are_evaluated_within_their_interval(self) -> None:
        """An engine refuses an offset beyond it."""
        for group in staged(GROUPS):
            assert seconds(group.offset) < seconds(group.interval)

    def test_levels_on_two_servers_are_evaluated_more_often(self) -> None:
        """One after the other, they take no longer than a fault may until it is at the site."""

        def interval(layer: str, scale: float) -> float:
            groups = of_layer(load(shipped(), scale), layer, scale)
            return next(seconds(g.interval) for g in groups if g.name == "gpumon-fleet")

        assert [interval(layer, 1) for layer in ("all", "node", "site")] == [15, 10, 5]
        assert [interval(layer, 10) for layer in ("all", "node", "site")] == [1.5, 1, 0.5]

    def test_a_drill_is_as_fast_as_it_says(self) -> None:
        """Intervals and offsets are divided alike."""
        for usual, quick in zip(staged(GROUPS), staged(load(shipped(), 10), 10), strict=True):
            assert seconds(quick.offset) == pytest.approx(seconds(usual.offset) / 10)
            assert seconds(quick.interval) == pytest.approx(seconds(usual.interval) / 10)

    def test_the_file_has_what_vmalert_needs(self) -> None:
        """An offset, the newest samples, and alerts that stay for a while."""
        groups = yaml.safe_load(render_one(GROUPS, Rendering(form="vmalert")))["groups"]
        assert all(group["params"] == {"latency_offset": ["1ms"]} for group in groups)
        assert all("eval_offset" in group for group in groups)
        assert any("keep_firing_for" in rule for group in groups for rule in group["rules"])
        names = [group["name"] for group in groups]
        assert len(names) == len({*names})

    def test_a_step_of_the_site_follows_those_of_its_nodes(self) -> None:
        """It is not the first one because its file has no other."""
        found = yaml.safe_load(render_one(GROUPS, Rendering(form="vmalert", layer="site")))
        offsets = {
            rule["record"]: group["eval_offset"]
            for group in found["groups"]
            for rule in group["rules"]
            if "record" in rule
        }
        assert seconds(offsets["cluster:gpumon_gpus:count"]) >= APART


class TestExport:
    """``gpumon rules export --layer``."""

    def test_files_say_their_layer(self) -> None:
        """And one of all rules says nothing."""
        for layer, line in (("node", "# Layer: node"), ("site", "# Layer: site"), ("all", None)):
            files = render(GROUPS, Rendering(layer=layer))
            assert all(("# Layer:" in text) is (line is not None) for text in files.values())
            assert line is None or all(line in text for text in files.values())

    def test_two_objects_for_kubernetes(self) -> None:
        """One does not replace the other."""
        texts = [
            render_one(GROUPS, Rendering(form="kubernetes", layer=layer.value))
            for layer in (Layer.NODE, Layer.SITE)
        ]
        names = [yaml.safe_load(text)["metadata"]["name"] for text in texts]
        assert names == ["gpumon-node", "gpumon-site"]

    def test_what_another_export_left_is_named(self, tmp_path: Path) -> None:
        """Prometheus would load it too; a file of somebody else's is no matter."""
        to = ("rules", "export", "--to", str(tmp_path))
        assert gpumon(*to).returncode == 0
        (tmp_path / "own.yml").write_text("groups: []\n")
        done = gpumon(*to, "--layer", "node")
        assert done.returncode == 2
        assert "cost.yml is of another export, and not of --layer node" in done.stderr
        assert "remove it" in done.stderr
        (tmp_path / "cost.yml").unlink()
        assert gpumon(*to, "--layer", "node").returncode == 0
        assert "# Layer: node" in (tmp_path / "fleet.yml").read_text()
