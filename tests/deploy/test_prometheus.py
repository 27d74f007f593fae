"""The scrape configurations."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpumon.web.listen import DEFAULT_PORT
from tests.support.servers import ROOT, require

SHIPPED = ROOT / "deploy" / "prometheus" / "prometheus.yml"
IN_CONTAINERS = ROOT / "deploy" / "compose" / "prometheus.yml"

OPTIONAL_LABELS = {"cluster", "node", "rack", "row", "hall", "node_partition"}


def load(path: Path) -> dict[str, Any]:
    """Return a configuration."""
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


@pytest.mark.parametrize("path", [SHIPPED, IN_CONTAINERS], ids=["shipped", "compose"])
def test_promtool_accepts_it(path: Path) -> None:
    """Prometheus would start with it, with rules or without."""
    done = subprocess.run(
        [require("promtool"), "check", "config", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [SHIPPED, IN_CONTAINERS], ids=["shipped", "compose"])
def test_it_scrapes_agents_as_rules_and_dashboards_expect(path: Path) -> None:
    """The job is gpumon, the port the agent's, and labels are on the target."""
    config = load(path)
    job, itself = config["scrape_configs"]
    assert itself["job_name"] == "prometheus"
    assert job["job_name"] == "gpumon"
    (group,) = job["static_configs"]
    assert [target.rpartition(":")[2] for target in group["targets"]] == [str(DEFAULT_PORT)]
    assert group["labels"].keys() <= OPTIONAL_LABELS
    assert "external_labels" not in config["global"]


def test_both_are_alike_but_for_addresses() -> None:
    """What holds in containers is what ships, except for where things are."""
    shipped, ours = load(SHIPPED), load(IN_CONTAINERS)
    for config in (shipped, ours):
        del config["scrape_configs"][0]["static_configs"][0]["targets"]
        del config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
        (rules,) = config.pop("rule_files")
        assert rules.endswith("rules/*.yml")
    assert shipped == ours
