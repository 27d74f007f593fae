"""Rules under labels that nobody thought of, replicas and shared places: always the same."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpumon.rules.fit import DOUBLED
from tests.rules.fleets import Fleet, Labels, Node, added, evaluate, firing, of, without_doubled
from tests.rules.test_promtool import RULES
from tests.support.servers import missing, require

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LEVELS = {
    "rack": ("site", "hall", "row", "rack"),
    "row": ("site", "hall", "row"),
    "hall": ("site", "hall"),
    "site": ("site",),
    "cluster": ("cluster",),
    "node_partition": ("cluster", "node_partition"),
}

EXAMPLES = int(os.environ.get("GPUMON_TEST_LABEL_SETS", "4"))
"""How many fleets are made up; 200 take half an hour."""

AT_ONCE = 4
"""Fleets in one run of promtool, each plain too."""


@pytest.fixture(params=["of the distribution", "of Prometheus 3"])
def promtool(request: pytest.FixtureRequest) -> str:
    """Both versions: what is new in 3 makes no difference."""
    if request.param == "of the distribution":
        return require("promtool")
    three = os.environ.get("GPUMON_TEST_PROMTOOL3")
    return three or missing("a promtool of Prometheus 3 (make promtool3)")


def node(name: str, cluster: str = "alpha", watts: float = 1000.0, **target: str) -> Node:
    """Return a node in rack r1 of hall h1, unless it is said otherwise."""
    place = {"hall": "h1", "row": "a", "rack": "r1", "node_partition": "train", **target}
    uuids = (f"GPU-{name}-a", f"GPU-{name}-b")
    labels = {"instance": f"{name}:9842", "node": name, "cluster": cluster, **place}
    return Node({key: word for key, word in labels.items() if word}, watts, uuids)


ROW = (node("n1"), node("n2", watts=2000), node("n3", rack="r2"), node("n4", rack="r2", hall="h2"))


def assert_levels_are_right(found: Mapping[Labels, float], fleet: Fleet) -> None:
    """Each level has one series for each of its members, with the sum of their nodes."""
    for level, labels in LEVELS.items():
        gpus = added(fleet.nodes, labels, "gpus")
        assert of(found, f"{level}:gpumon_gpus:count") == gpus
        assert of(found, f"{level}:gpumon_gpus_up:sum") == gpus
        if level != "node_partition":
            watts = added(fleet.nodes, labels, "watts")
            assert of(found, f"{level}:gpumon_known_power_watts:sum") == watts


NOBODY_THOUGHT_OF: Mapping[str, tuple[Sequence[Mapping[str, str]], Sequence[str]]] = {
    "a label for each node": (({"asset": "A-1"}, {"asset": "A-2"}, {"asset": "A-3"}), ("",)),
    "a PodMonitor's labels": (({"pod": "p1", "endpoint": "http"}, {"pod": "p2"}, {}), ("",)),
    "two replicas": (({},), ("a", "b")),
    "both": (({"asset": "A-1"}, {"asset": "A-2"}), ("a", "b")),
}
"""Labels of the nodes in turn, and who scrapes them."""


def test_a_label_or_a_replica_changes_nothing(promtool: str, tmp_path: Path) -> None:
    """All recorded series and all alerts are those of the plain fleet, with the same labels."""
    fleet = Fleet(ROW, {("", "rack", "r1"): 1500})
    dressed = [
        dataclasses.replace(fleet, more=tuple(more), replicas=tuple(replicas))
        for more, replicas in NOBODY_THOUGHT_OF.values()
    ]
    plain, *found = evaluate(promtool, [fleet, *dressed], tmp_path)
    assert_levels_are_right(plain, fleet)
    fired = {each["alertname"] for each in firing(plain)}
    assert {"GpuXidCritical", "PowerOverBudget", "GpuNeedsReset"} <= fired
    for case, one in zip(NOBODY_THOUGHT_OF, found, strict=True):
        assert without_doubled(one) == plain, case
        doubled = {(("level", "target"),): len(ROW)} if len(NOBODY_THOUGHT_OF[case][1]) > 1 else {}
        assert of(one, DOUBLED) == doubled, case


def test_a_rack_of_two_clusters_has_one_sum(promtool: str, tmp_path: Path) -> None:
    """A 70 kW node of each of two clusters in a rack for 100 kW: 1.40 of the budget, and told."""
    nodes = node("n1", watts=70e3), node("n1", "beta", watts=70e3)
    (found,) = evaluate(promtool, [Fleet(nodes, {("", "rack", "r1"): 100e3})], tmp_path)
    place = (("hall", "h1"), ("level", "rack"), ("name", "r1"), ("rack", "r1"), ("row", "a"))
    assert of(found, "budget:gpumon_power_used:ratio") == {place: 1.4}
    over = [each for each in firing(found) if each["alertname"] == "PowerOverBudget"]
    assert [each["rack"] for each in over] == ["r1"]
    assert of(found, "cluster:gpumon_known_power_watts:sum") == {
        (("cluster", "alpha"),): 70e3,
        (("cluster", "beta"),): 70e3,
    }


def test_racks_of_equal_names_at_two_sites_are_two(promtool: str, tmp_path: Path) -> None:
    """Each site has its own budget for its own r1, and only the one that is exceeded is told."""
    nodes = node("n1", watts=2000, site="north"), node("n2", watts=500, site="south")
    budgets = {("north", "rack", "r1"): 1000.0, ("south", "rack", "r1"): 1000.0}
    (found,) = evaluate(promtool, [Fleet(nodes, budgets)], tmp_path)
    used = of(found, "budget:gpumon_power_used:ratio")
    assert {dict(labels)["site"]: value for labels, value in used.items()} == {
        "north": 2.0,
        "south": 0.5,
    }
    over = [each for each in firing(found) if each["alertname"] == "PowerOverBudget"]
    assert [each["site"] for each in over] == ["north"]


def test_a_cluster_over_two_halls_is_one(promtool: str, tmp_path: Path) -> None:
    """Its jobs and its GPUs are one sum, each hall's watts another, and its cost is both."""
    nodes = node("n1", watts=2000), node("n2", watts=1000, hall="h2")
    (found,) = evaluate(promtool, [Fleet(nodes)], tmp_path)
    alpha = (("cluster", "alpha"),)
    assert of(found, "cluster:gpumon_gpus:count") == {alpha: 4}
    assert of(found, "hall:gpumon_known_power_watts:sum") == {
        (("hall", "h1"),): 2000,
        (("hall", "h2"),): 1000,
    }
    assert of(found, "job_id:gpumon_job_gpus:count") == {(*alpha, ("job_id", "4711")): 4}
    # 3 kW, with a PUE of 1.25 and 0.2 EUR a kilowatt hour: of a site that has no cluster.
    (cost,) = of(found, "cluster:gpumon_cost:rate_per_hour").values()
    assert cost == pytest.approx(0.75)


@pytest.mark.parametrize(
    "uuids", [("", ""), ("GPU-a", "GPU-a"), ("", "GPU-a")], ids=["none", "doubled", "one of two"]
)
def test_gpus_without_a_uuid_of_their_own_are_counted(
    promtool: str, tmp_path: Path, uuids: tuple[str, ...]
) -> None:
    """No rule fails, and both GPUs are there, in replicas too."""
    odd = (Node(ROW[0].target, 1000.0, uuids), *ROW[1:])
    fleet = Fleet(odd, replicas=("a", "b"))
    (found,) = evaluate(promtool, [fleet], tmp_path)
    assert_levels_are_right(found, fleet)


def test_a_sum_that_leaves_labels_out_is_found(tmp_path: Path) -> None:
    """These tests can fail: with one level as it was, a rack splits."""
    rules = tmp_path / "rules"
    rules.mkdir()
    for path in RULES.glob("*.yml"):
        text = path.read_text("utf-8")
        old = "expr: sum by (site, hall, row, rack) (instance:gpumon_gpus:count)"
        new = "expr: sum without (instance, node, cluster) (gpumon_gpus)"
        (rules / path.name).write_text(text.replace(old, new), "utf-8")
    fleet = Fleet(ROW, more=({"asset": "A-1"}, {"asset": "A-2"}))
    (found,) = evaluate(require("promtool"), [fleet], tmp_path, rules)
    with pytest.raises(AssertionError):
        assert_levels_are_right(found, fleet)


_WORDS = st.sampled_from(["x", "y", "z"])
_NAMES = ("asset", "pod", "endpoint", "namespace", "service", "container", "team", "zone")


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Draw nodes anywhere, some levels missing, with labels and replicas that nobody asked for."""
    levels = ["site", "hall", "row", "rack", "node_partition", "node"]
    absent = draw(st.sets(st.sampled_from(levels)))
    count = draw(st.integers(1, 4))
    nodes = []
    for number in range(count):
        place = {
            "site": draw(st.sampled_from(["north", "south", ""])),
            "hall": draw(st.sampled_from(["h1", "h2", ""])),
            "row": draw(st.sampled_from(["a", ""])),
            "rack": draw(st.sampled_from(["r1", "r2", ""])),
            "node_partition": draw(st.sampled_from(["train", "serve"])),
        }
        for level in absent:
            place[level] = ""
        cluster = draw(st.sampled_from(["alpha", "beta", ""]))
        watts = draw(st.sampled_from([500.0, 1000.0, 70e3]))
        nodes.append(node(f"n{number}", cluster, watts, **place))
    labels = st.dictionaries(st.sampled_from(_NAMES), _WORDS, max_size=3)
    more = draw(st.lists(labels, min_size=1, max_size=4))
    replicas = draw(st.sampled_from([("",), ("a", "b"), ("a", "b", "c")]))
    budgets = {
        (site, level, name): 1500.0
        for site in {each.target.get("site", "") for each in nodes}
        for level, name in (("site", ""), ("hall", "h1"), ("rack", "r1"))
    }
    return Fleet(tuple(nodes), budgets, tuple(more), replicas)


@settings(
    max_examples=max(1, EXAMPLES // AT_ONCE),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(drawn=st.lists(fleets(), min_size=AT_ONCE, max_size=AT_ONCE))
def test_any_labels_give_the_series_and_alerts_of_the_plain_fleet(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Fleet]
) -> None:
    """Whatever the labels, replicas, missing levels and shared places."""
    both = [one for fleet in drawn for one in (fleet.plain, fleet)]
    found = evaluate(require("promtool"), both, tmp_path_factory.mktemp("fleets"))
    for fleet, plain, dressed in zip(drawn, found[::2], found[1::2], strict=True):
        assert without_doubled(dressed) == without_doubled(plain)
        assert_levels_are_right(dressed, fleet)
