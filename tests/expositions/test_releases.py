"""Each release leaves what its agent serves, for the rules of those that come after it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.servers import ROOT

HERE = ROOT / "tests" / "expositions"
BEFORE = {"1f1d492": "0.1.0"}
"""What was recorded before there was a release: a commit, and the version that it said."""

_HEADING = re.compile(r"(?m)^## (\d+\.\d+\.\d+)\b")


def missing(changelog: str, there: set[str]) -> list[str]:
    """Return the files that the releases of a change log should have, and do not."""
    wanted = [
        f"{version}{ending}"
        for version in _HEADING.findall(changelog)
        for ending in (".prom", "-sick.prom", ".metrics")
    ]
    return [name for name in wanted if name not in there]


def test_each_release_has_its_expositions() -> None:
    """A heading of a version in the change log is a release: CONTRIBUTING says how to record it."""
    there = {path.name for path in HERE.iterdir()}
    assert missing((ROOT / "CHANGELOG.md").read_text("utf-8"), there) == []


def test_a_release_without_them_is_found() -> None:
    """What is not yet released needs none."""
    log = "# Changelog\n\n## Unreleased\n\n* a\n\n## 0.3.0 (2031-01-02)\n\n## 0.2.0\n"
    there = {"0.2.0.prom", "0.2.0-sick.prom", "0.2.0.metrics", "0.3.0.prom"}
    assert missing(log, there) == ["0.3.0-sick.prom", "0.3.0.metrics"]


@pytest.mark.parametrize("path", sorted(HERE.glob("*.prom")), ids=lambda path: path.name)
def test_an_exposition_is_of_the_version_that_it_is_named_by(path: Path) -> None:
    """It was recorded in a checkout of the release, and not of what came after it."""
    name = path.stem.removesuffix("-sick")
    (version,) = re.findall(r'gpumon_build_info{version="([^"]+)"', path.read_text("utf-8"))
    assert version == BEFORE.get(name, name)
