"""Levels by name: what no label that nobody thought of can split, and no replica double."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from gpumon.errors import UsageError
from gpumon.rules import Alert, RecordingRule, load
from gpumon.rules.levels import NODE, TARGET
from gpumon.thresholds import load_thresholds, shipped
from tests.support.servers import ROOT

GROUPS = load(shipped())
RULES = [rule for group in GROUPS for rule in group.rules]
RECORDINGS = {rule.record: rule.expr for rule in RULES if isinstance(rule, RecordingRule)}
SOURCES = sorted((ROOT / "agent" / "gpumon" / "rules" / "source").glob("*.yml"))

DEEPEST = 3
"""Some engines do not wait for what they have just written: each step is an interval late."""

_RECORDED = re.compile(r"[a-z_]+(?::[a-z0-9_]+){2}")
_LABELS_OF_PLACES = re.compile(r"by \([^)<]*\b(hall|row|rack|node_partition)\b")


def depth(name: str, known: Mapping[str, str] = RECORDINGS, above: tuple[str, ...] = ()) -> int:
    """Return how many recorded series stand one upon another, up to this one."""
    # What remembers its own last value is not a step longer for it.
    below = set(_RECORDED.findall(known[name])) & known.keys() - {name}
    assert not below & {*above}, f"{name} goes round in a circle"
    return 1 + max((depth(one, known, (*above, name)) for one in below), default=0)


class TestTheShippedRules:
    """What holds for all of them."""

    @pytest.mark.parametrize("record", RECORDINGS)
    def test_no_chain_is_deeper_than_three(self, record: str) -> None:
        """From what agents expose to what is recorded last there are three steps at most."""
        assert depth(record) <= DEEPEST

    def test_some_chain_is_as_deep(self) -> None:
        """The measure can fail: a hall is three steps from its GPUs, one more would be four."""
        hall = "hall:gpumon_gpus:count"
        assert depth(hall) == DEEPEST
        deeper = {**RECORDINGS, "x:gpumon_x:sum": f"sum({hall})"}
        assert depth("x:gpumon_x:sum", deeper) == DEEPEST + 1

    @pytest.mark.parametrize("rule", RULES, ids=lambda r: getattr(r, "record", r.__class__))
    def test_none_is_made_by_leaving_labels_out(self, rule: Alert | RecordingRule) -> None:
        """A label that nobody thought of would split it."""
        assert "without" not in rule.expr

    @pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
    def test_levels_are_grouped_by_their_names(self, file: Path) -> None:
        """Labels of places and partitions stand in one list each, which a site may add to."""
        assert _LABELS_OF_PLACES.findall(file.read_text("utf-8")) == []

    @pytest.mark.parametrize("record", [name for name in RECORDINGS if name.startswith(f"{NODE}:")])
    def test_nodes_have_all_their_labels_and_no_scrape_job(self, record: str) -> None:
        """Each aggregation to a node names them all; ``job`` is not one of them."""
        for labels in re.findall(r"(?<!topk )by \(([^)]+)\)", RECORDINGS[record]):
            names = labels.split(", ")
            if names != ["cluster", "instance"]:
                assert names[: len(TARGET)] == list(TARGET)
            assert "job" not in names

    @pytest.mark.parametrize(
        ("level", "labels"),
        [
            ("rack", "site, hall, row, rack"),
            ("row", "site, hall, row"),
            ("hall", "site, hall"),
            ("site", "site"),
            ("cluster", "cluster"),
            ("node_partition", "cluster, node_partition"),
        ],
    )
    def test_a_place_knows_no_cluster_and_a_cluster_no_place(self, level: str, labels: str) -> None:
        """One rack may hold nodes of two clusters, and one cluster fill two halls."""
        assert RECORDINGS[f"{level}:gpumon_gpus:count"].startswith(f"sum by ({labels}) (")

    def test_rows_halls_and_sites_read_racks_and_services_read_nodes(self) -> None:
        """Flat: whoever evaluates a level does not wait for a longer chain."""
        quantity = "gpumon_known_power_watts:sum"
        read = {
            level: _RECORDED.findall(RECORDINGS[f"{level}:{quantity}"])[0].partition(":")[0]
            for level in ("rack", "row", "hall", "site", "cluster")
        }
        assert read == {
            "rack": "instance",
            "row": "rack",
            "hall": "rack",
            "site": "rack",
            "cluster": "instance",
        }


class TestASitesOwnLevels:
    """``[levels]`` in the file of thresholds."""

    def test_they_are_on_nodes_and_summed_only_if_asked(self, tmp_path: Path) -> None:
        """Both labels are carried; of the two only pods are added up, within their site."""
        own = tmp_path / "own.toml"
        own.write_text('[levels]\nextra = ["pod_name", "room"]\naggregate = ["room"]\n')
        rules = {
            rule.record: rule.expr
            for group in load(load_thresholds(own))
            for rule in group.rules
            if isinstance(rule, RecordingRule)
        }
        target = ", ".join((*TARGET, "pod_name", "room"))
        assert rules["instance:gpumon_gpus:count"] == f"max by ({target}) (gpumon_gpus)"
        assert rules["room:gpumon_gpus:count"] == (
            "sum by (site, room) (instance:gpumon_gpus:count)"
        )
        assert depth("room:gpumon_gpus:count", rules) == DEEPEST - 1
        assert not [name for name in rules if name.startswith("pod_name:")]
        assert rules["rack:gpumon_gpus:count"] == RECORDINGS["rack:gpumon_gpus:count"]

    def test_alerts_carry_them_too(self, tmp_path: Path) -> None:
        """Whoever is told of a node is told in which room it stands."""
        own = tmp_path / "own.toml"
        own.write_text('[levels]\nextra = ["room"]\n')
        alerts = {a.alert: a for group in load(load_thresholds(own)) for a in group.alerts}
        assert "pager, room, gpu, uuid, state)" in alerts["GpuLost"].expr

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("levels = 3", "[levels] is not a section"),
            ('[levels]\nextras = ["room"]', "unknown name extras"),
            ('[levels]\nextra = "room"', "such as"),
            ("[levels]\nextra = [3]", "such as"),
            ('[levels]\nextra = ["a b"]', "such as"),
            ('[levels]\nextra = ["__room"]', "such as"),
            ('[levels]\nextra = ["room", "room"]', "extra has room twice"),
            ('[levels]\nextra = ["room"]\naggregate = ["rom"]', "did you mean room?"),
            ('[levels]\nextra = ["rack"]', "rack is a label that gpumon's own series have"),
            ('[levels]\nextra = ["uuid"]', "uuid is a label that gpumon's own series have"),
            ('[levels]\nextra = ["job"]', "job is a label that gpumon's own series have"),
            ('[levels]\nextra = ["user"]', "user is a label that gpumon's own series have"),
        ],
    )
    def test_a_wrong_one_is_named_in_a_line(self, tmp_path: Path, text: str, says: str) -> None:
        """The error says which, and what to do."""
        own = tmp_path / "own.toml"
        own.write_text(text)
        with pytest.raises(UsageError, match=re.escape(says)) as caught:
            load(load_thresholds(own))
        assert "\n" not in str(caught.value)

    def test_they_change_nothing_that_is_judged(self, tmp_path: Path) -> None:
        """An agent with the file reports the digest of the numbers, which are the same."""
        own = tmp_path / "own.toml"
        own.write_text('[levels]\nextra = ["room"]\n')
        assert load_thresholds(own).digest == shipped().digest
