"""``gpumon rules export`` and ``thresholds``: a site's own numbers are marked, and not lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpumon.rules.render import written_with
from gpumon.thresholds import load_thresholds, shipped


def gpumon(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run(
        [sys.executable, "-m", "gpumon", *argv],
        env={"PATH": "/usr/bin:/bin", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A site's thresholds."""
    file = tmp_path / "own.toml"
    file.write_text("[heat]\nmargin_low_celsius = 8\n")
    return file


class TestExport:
    """Into a folder that rules were written to before."""

    @pytest.mark.parametrize("form", ["prometheus", "kubernetes", "vmalert"])
    def test_a_sites_own_numbers_are_not_replaced_silently(
        self, tmp_path: Path, own: Path, form: str
    ) -> None:
        """An export that names no thresholds is refused, and leaves the files as they are."""
        to = ("rules", "export", "--format", form, "--to", str(tmp_path / "rules"))
        assert gpumon(*to, "--thresholds", str(own)).returncode == 0
        before = {f.name: f.read_text() for f in (tmp_path / "rules").iterdir()}
        assert {written_with(t) for t in before.values()} == {load_thresholds(own).digest}
        done = gpumon(*to)
        assert done.returncode == 2
        assert "has a site's own thresholds" in done.stderr
        assert "--thresholds /dev/null" in done.stderr
        assert {f.name: f.read_text() for f in (tmp_path / "rules").iterdir()} == before

    def test_named_ones_replace_them(self, tmp_path: Path, own: Path) -> None:
        """Other numbers, or on purpose those that ship; and by the variable as by the flag."""
        to = ("rules", "export", "--to", str(tmp_path))
        assert gpumon(*to, "--thresholds", str(own)).returncode == 0
        own.write_text("[heat]\nmargin_low_celsius = 9\n")
        assert gpumon(*to, env={"GPUMON_THRESHOLDS": str(own)}).returncode == 0
        text = (tmp_path / "alerts-heat-power.yml").read_text()
        assert "celsius < 9" in text
        assert gpumon(*to, "--thresholds", "/dev/null").returncode == 0
        text = (tmp_path / "alerts-heat-power.yml").read_text()
        assert "celsius < 5" in text
        assert written_with(text) == ""
        assert gpumon(*to).returncode == 0


class TestThresholds:
    """``gpumon rules thresholds``."""

    def test_a_sites_own_are_marked(self, own: Path) -> None:
        """With the value that ships."""
        lines = gpumon("rules", "thresholds", "--thresholds", str(own)).stdout.splitlines()
        marked = [line for line in lines if "#" in line]
        assert marked == ["heat.margin_low_celsius = 8  # a site's own; it ships as 5"]
        assert len(lines) == len(shipped().values)

    def test_as_json(self, own: Path) -> None:
        """As an agent serves them, with the names of a site's own."""
        text = gpumon("rules", "thresholds", "--thresholds", str(own), "-o", "json").stdout
        document = json.loads(text)
        assert document["own"] == ["heat.margin_low_celsius"]
        assert document["values"]["heat.margin_low_celsius"] == 8
        assert document["digest"] == load_thresholds(own).digest


class TestMissingFile:
    """A file of thresholds that is not there, by whom it was named."""

    def test_it_is_wrong_usage_as_a_missing_configuration_is(self, tmp_path: Path) -> None:
        """The same exit code for both."""
        named = gpumon("rules", "thresholds", "--thresholds", str(tmp_path / "no.toml"))
        other = gpumon("--config", str(tmp_path / "no.toml"), "rules", "thresholds")
        assert (named.returncode, other.returncode) == (2, 2)
        assert "no file of thresholds" in named.stderr
        assert "named by" not in named.stderr

    def test_the_variable_is_named(self, tmp_path: Path) -> None:
        """Nobody typed it here."""
        done = gpumon("rules", "thresholds", env={"GPUMON_THRESHOLDS": str(tmp_path / "no.toml")})
        assert "(named by GPUMON_THRESHOLDS)" in done.stderr

    def test_the_configuration_file_is_named(self, tmp_path: Path) -> None:
        """With its path."""
        config = tmp_path / "gpumon.toml"
        config.write_text('thresholds = "no.toml"\n')
        for argv in (["rules", "thresholds"], ["check", "sim:1xH100"]):
            done = gpumon("--config", str(config), *argv)
            assert done.returncode == 2
            assert f"no.toml (named by {config})" in done.stderr


def test_help_of_a_group_is_whole() -> None:
    """No line ends in dots."""
    for group in ("rules", "dashboards"):
        listed = gpumon(group, "--help").stdout.partition("Commands:")[2].partition("Examples")[0]
        assert listed
        assert "..." not in listed
