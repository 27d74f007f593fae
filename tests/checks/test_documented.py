"""docs/checks.md says what the Slurm script can be set to."""

from __future__ import annotations

import re

from tests.support.servers import ROOT

TEXT = (ROOT / "docs" / "checks.md").read_text("utf-8")
SCRIPT = (ROOT / "deploy" / "slurm" / "gpumon-node-check.sh").read_text("utf-8")


def test_every_setting_of_the_script_is_listed_with_its_default() -> None:
    """And no other."""
    settings = dict(re.findall(r"^([A-Z_]+)=(\S*)", SCRIPT.partition("settings=")[0], re.MULTILINE))
    settings.pop("PATH")
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*?) ?\|", TEXT, re.MULTILINE))
    assert rows.keys() == settings.keys()
    for name in settings.keys() - {"NODE"}:
        assert rows[name].strip() == settings[name]
