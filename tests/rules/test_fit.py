"""Whether a Prometheus is as the rules assume, and what is said if it is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from gpumon.errors import UnavailableError
from gpumon.prometheus.api import Series
from gpumon.rules import RecordingRule, load
from gpumon.rules.fit import BY_THRESHOLDS, DOUBLED, RULES, Fit, fit, levels
from gpumon.rules.levels import Levels
from gpumon.thresholds import load_thresholds, shipped
from tests.support.servers import Prometheus, run_agent, run_prometheus, wait_for

GROUPS = load(shipped())
LEVELS = Levels(shipped().levels)
OURS = shipped().digest
UP = 'up{job="gpumon"} '
WELL = {RULES: [{"digest": OURS}], f"sum by (digest) ({BY_THRESHOLDS})": [{"digest": OURS}]}

Vectors = Mapping[str, Sequence[Mapping[str, str]]]
"""What a Prometheus has: the labels of the vector of each query that begins so."""


def found(vectors: Vectors, loaded: Sequence[Mapping[str, object]] = ()) -> Fit:
    """Return how a Prometheus with some vectors, each series 1, and groups of rules fits."""

    def ask(query: str) -> list[Series]:
        all_of = [rows for begin, rows in {**WELL, **vectors}.items() if query.startswith(begin)]
        return [Series(labels, [(1.0, 1.0)]) for rows in all_of for labels in rows]

    return fit(GROUPS, LEVELS, ask, lambda: loaded)


def only(vectors: Vectors, loaded: Sequence[Mapping[str, object]] = ()) -> tuple[str, str, bool]:
    """Return the one problem that is found: what it is, the next step, whether it is wrong."""
    (one,) = found(vectors, loaded).found
    return one.what, one.next_step, one.wrong


def node(instance: str, **labels: str) -> dict[str, str]:
    """Return the labels of a target of cluster c."""
    return {"__name__": "up", "job": "gpumon", "cluster": "c", "instance": instance, **labels}


def test_one_that_fits_has_no_problem() -> None:
    """And the verdict says what was looked at."""
    well = found({})
    assert (well.found, well.unasked, well.wrong) == ((), "", False)
    assert well.verdict == "targets, levels, rules and thresholds checked: 0 problems"


def test_a_replica_that_doubles_is_named_and_breaks_nothing() -> None:
    """The label that differs, its values, how many nodes, and one of them."""
    nodes = [node(f"n{n}", replica=r, asset=f"A{n}") for n in (1, 2) for r in "ab"]
    what, step, wrong = only({UP: nodes})
    assert what == (
        "2 nodes are scraped several times: replica is a or b, such as cluster=c instance=n1; the "
        "rules count each once, your own queries count it several times"
    )
    assert "by replica" in step
    assert not wrong


def test_a_target_label_that_splits_a_node_is_wrong() -> None:
    """A node in two racks is in both sums; its own series is not said a second time."""
    twice = [node("n1", rack="r1"), node("n1")]
    what, step, wrong = only({UP: twice, "instance:gpumon_gpus:count ": twice})
    assert what == (
        "1 node has several targets: rack is absent or r1, such as cluster=c instance=n1; every "
        "level counts each several times"
    )
    assert step == "scrape each node once, or give its targets the same rack"
    assert wrong


def test_a_node_with_two_addresses_is_known_by_its_gpus() -> None:
    """No label says that they are one, but the uuid does."""
    gpus = [{"uuid": "GPU-a", "cluster": "c", "instance": i} for i in ("10.0.0.1:1", "n1:1")]
    what, step, wrong = only({"max by (uuid, cluster, instance) (gpumon_gpu_info": gpus})
    assert what.startswith("1 GPU has several addresses: instance is 10.0.0.1:1 or n1:1")
    assert "scrape_configs" in step
    assert wrong


@pytest.mark.parametrize(
    ("label", "words"), [("prometheus", "--layer"), ("job", "rules of an older release")]
)
def test_a_level_with_more_series_than_members_names_the_label(label: str, words: str) -> None:
    """Two servers that record the same level, or rules of before beside these."""
    racks = [{"rack": rack, label: text} for rack in ("r1", "r2", "r3") for text in ("x", "y")]
    what, step, wrong = only({"rack:gpumon_gpus:count ": racks})
    assert what.startswith(
        f"level rack: 3 members have several series: {label} is x or y, such as rack=r1"
    )
    assert words in step
    assert wrong


def test_each_level_is_looked_at_a_sites_own_too(tmp_path: Path) -> None:
    """By a series that is recorded at each; rules count those that are not made of racks."""
    own = tmp_path / "own.toml"
    own.write_text('[levels]\nextra = ["room"]\naggregate = ["room"]\n')
    thresholds = load_thresholds(own)
    recorded = {
        rule.record: rule.expr
        for group in load(thresholds)
        for rule in group.rules
        if isinstance(rule, RecordingRule)
    }
    looked_at = levels(Levels(thresholds.levels))
    assert {level.series for level in looked_at[1:]} <= recorded.keys()
    assert {name.partition(":")[0] for name in recorded if name.endswith(":gpumon_gpus:count")} - {
        level.name for level in looked_at
    } == {"model"}
    counted = {level.name for level in looked_at if f'"level", "{level.name}"' in recorded[DOUBLED]}
    assert counted == {"target", "instance", "rack", "cluster", "node_partition", "room"}


@pytest.mark.parametrize(
    ("vectors", "words", "wrong"),
    [
        (
            {f"sum by (digest) ({BY_THRESHOLDS})": [{"digest": "other"}]},
            f"1 node has other thresholds (other) than the rules ({OURS})",
            True,
        ),
        ({RULES: [{"digest": "new"}, {"digest": "old"}]}, "different thresholds are loaded", True),
        ({RULES: []}, f"there is no {RULES}", False),
    ],
)
def test_thresholds_that_differ_are_named_by_digest(
    vectors: Vectors, words: str, *, wrong: bool
) -> None:
    """Nodes against rules, rules against rules; rules of before have not said theirs."""
    what, step, is_wrong = only(vectors)
    assert words in what
    assert "gpumon rules export" in step
    assert is_wrong is wrong


def groups_of(file: str, *names: str) -> dict[str, object]:
    """Return a group as /api/v1/rules lists it."""
    return {"file": file, "name": "g", "rules": [{"name": name} for name in names]}


def test_rules_that_are_loaded_twice_are_named_with_their_files() -> None:
    """Not those of somebody else, nor a name that one group has twice."""
    one = groups_of("/a/fleet.yml", "rack:gpumon_gpus:count", "GpuLost", "theirs", "theirs")
    two = groups_of("/b/fleet.yml", "rack:gpumon_gpus:count", "GpuLost", "theirs")
    what, step, wrong = only({}, [one, two])
    assert what == (
        "2 rules are loaded several times, such as GpuLost (in /a/fleet.yml and /b/fleet.yml)"
    )
    assert "remove the files" in step
    assert wrong
    assert found({}, [one, one]).found == ()


def test_two_layers_on_one_server_are_recognized() -> None:
    """What each layer says of itself is there twice, and nothing else."""
    layers = [groups_of("/node/m.yml", "Watchdog"), groups_of("/site/m.yml", "Watchdog")]
    _, step, _ = only({}, layers)
    assert "--layer all" in step


def test_a_store_without_rules_is_asked_the_rest() -> None:
    """And what could not be asked is said."""

    def absent() -> Sequence[Mapping[str, object]]:
        raise UnavailableError("no rules (404)")

    known = fit(GROUPS, LEVELS, lambda _: [], absent)
    assert known.unasked == "whether rules are loaded twice is not known: no rules (404)"
    assert [problem.wrong for problem in known.found] == [False]


def check(prometheus: Prometheus) -> subprocess.CompletedProcess[str]:
    """Run ``gpumon rules check prom:URL``."""
    argv = [sys.executable, "-m", "gpumon", "rules", "check", f"prom:{prometheus.url}"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_a_prometheus_that_does_not_fit_is_described(tmp_path: Path) -> None:
    """A node in two racks, a level with one more label, rules twice, a node of other thresholds."""
    for folder in ("rules", "again"):
        argv = [sys.executable, "-m", "gpumon", "rules", "export", "--time-scale", "10"]
        to = str(tmp_path / folder)
        subprocess.run([*argv, "--to", to], check=True, capture_output=True)
    for name in ("alerts-gpu", "alerts-links"):
        (tmp_path / "again" / f"{name}.yml").rename(tmp_path / "rules" / f"old-{name}.yml")
    sums = {"record": "hall:gpumon_gpus:count", "expr": "vector(1)", "labels": {"by": "me"}}
    group = {"name": "mine", "interval": "1s", "rules": [sums]}
    (tmp_path / "rules" / "mine.yml").write_text(yaml.safe_dump({"groups": [group]}))
    own = tmp_path / "own.toml"
    own.write_text("[heat]\nmargin_low_celsius = 9\n")
    with run_agent(tmp_path, "sim:2xH100", "--thresholds", str(own)) as agent:
        scrape = {
            "job_name": "gpumon",
            "static_configs": [
                {"targets": [agent.target], "labels": {"rack": rack}} for rack in ("r1", "r2")
            ],
        }
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [f"{tmp_path}/rules/*.yml"],
            "scrape_configs": [scrape],
        }
        with run_prometheus(tmp_path, yaml.safe_dump(config)) as prometheus:
            recorded = f"count({DOUBLED} > 0)"
            wait_for(lambda: prometheus.value(recorded) == 2, 60, "targets and nodes are doubled")
            wait_for(lambda: prometheus.value(BY_THRESHOLDS) == 2, 30, "the node's digest")
            done = check(prometheus)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stdout.splitlines() if " cannot fire on " not in line]
    at = agent.target
    begins = (
        f"1 node has several targets: rack is r1 or r2, such as instance={at}; every level",
        "level hall: 1 member has several series: by is absent or me, such as the hall; what is",
        "2 nodes have other thresholds (",  # it is in two racks
    )
    for begin in begins:
        assert [line for line in lines if line.startswith(begin)], lines
    (twice,) = [line for line in lines if "loaded several times" in line]
    assert "old-alerts-links.yml" in twice
    assert len(lines) == len(begins) + 1
