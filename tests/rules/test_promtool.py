"""What the shipped rules record, and when each alert fires and with which words: by promtool."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.servers import ROOT, missing, require

RULES = ROOT / "deploy" / "prometheus" / "rules"
FILES = sorted((Path(__file__).parent / "promtool").glob("*.yml"))

ANNOTATIONS = {"summary", "description", "action", "runbook_url"}
OPTIONAL_LABELS = {"cluster", "node", "rack", "row", "hall", "node_partition"}
ALWAYS = {"Watchdog"}
"""Alerts that are never silent."""
RUN_SECONDS = 600
"""Every file evaluates every rule at each step: a minute and a half of a core for the longest."""

_RECORDED = re.compile(r"[a-z_]+(?::[a-z0-9_]+)+")
_LABEL = re.compile(r'([a-z_]+)="')


def groups() -> list[dict[str, Any]]:
    """Return all shipped groups of rules."""
    documents = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(RULES.glob("*.yml"))]
    return [group for document in documents for group in document["groups"]]


def rules(kind: str) -> list[str]:
    """Return the names of all shipped rules of a kind: ``alert`` or ``record``."""
    return [rule[kind] for group in groups() for rule in group["rules"] if kind in rule]


@functools.cache
def groups_of_tests() -> list[tuple[str, dict[str, Any]]]:
    """Return the groups of tests of all files, each with its file's name without suffix."""
    return [
        (file.stem, group)
        for file in FILES
        for group in yaml.safe_load(file.read_text("utf-8"))["tests"]
    ]


@functools.cache
def names_asked_for() -> frozenset[str]:
    """Return the recorded series of which some test expects values."""
    return frozenset(
        name
        for _, group in groups_of_tests()
        for test in group.get("promql_expr_test", [])
        if test.get("exp_samples")
        for name in _RECORDED.findall(test["expr"])
    )


def expectations(alert: str) -> list[list[dict[str, Any]]]:
    """Return which alerts are expected, for each time that a group of an alert's name asks."""
    return [
        test.get("exp_alerts", [])
        for _, group in groups_of_tests()
        if group.get("name") == alert
        for test in group["alert_rule_test"]
        if test["alertname"] == alert
    ]


def run(promtool: str, file: Path) -> None:
    """Run a file; what promtool has to say is the failure's text."""
    done = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.e2e
@pytest.mark.timeout(RUN_SECONDS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rules_do_what_is_expected(file: Path) -> None:
    """Alerts fire when they should, with all labels and words; recorded series have the values."""
    run(require("promtool"), file)


@pytest.mark.e2e
@pytest.mark.timeout(RUN_SECONDS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rules_do_the_same_in_prometheus_3(file: Path) -> None:
    """Ranges that are open to the left, and all else that is new, make no difference."""
    promtool = os.environ.get("GPUMON_TEST_PROMTOOL3")
    run(promtool or missing("a promtool of Prometheus 3 (make promtool3)"), file)


def test_there_is_a_file_for_each_of_rules() -> None:
    """Rules are tested in a file of the same name, so that nobody has to look for it."""
    assert [file.name for file in FILES] == sorted(path.name for path in RULES.glob("*.yml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_groups_are_evaluated_in_order(file: Path) -> None:
    """Each group of rules has its place: promtool takes those without one in any order."""
    order = yaml.safe_load(file.read_text("utf-8"))["group_eval_order"]
    assert sorted(order) == sorted(group["name"] for group in groups())


@pytest.mark.parametrize("alert", rules("alert"))
def test_an_alert_is_seen_silent_and_firing(alert: str) -> None:
    """A group of the alert's name finds it silent, and firing with all annotations."""
    expected = expectations(alert)
    assert alert in ALWAYS or [] in expected, "never expected to be silent"
    fired = [found for alerts in expected for found in alerts]
    assert fired, "never expected to fire"
    for found in fired:
        assert found["exp_annotations"].keys() == ANNOTATIONS
        assert all(found["exp_annotations"].values())
        assert found["exp_annotations"]["runbook_url"].endswith(f"/{alert}.md")


@pytest.mark.parametrize("record", rules("record"))
def test_a_recorded_series_is_asked_for(record: str) -> None:
    """Each recorded series has values that somebody has worked out by hand."""
    assert record in names_asked_for()


def test_rules_are_tried_on_targets_without_labels() -> None:
    """The labels of a target are optional: in each file of alerts some are tried without any."""
    bare = [
        file
        for file, group in groups_of_tests()
        if not OPTIONAL_LABELS
        & {label for item in group["input_series"] for label in _LABEL.findall(item["series"])}
    ]
    assert len(bare) >= 8
    assert set(bare) >= {file.stem for file in FILES if file.stem.startswith("alerts")}
