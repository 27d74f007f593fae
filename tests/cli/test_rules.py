"""``gpumon rules``, ``explain`` and ``simulate`` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.fleet import run_fleet
from tests.support.servers import get


def gpumon(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    argv = [sys.executable, "-m", "gpumon", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


class TestRules:
    """List, export, check."""

    def test_list_is_a_table_json_and_markdown(self) -> None:
        """The same alerts in each."""
        names = [
            alert["alert"]
            for alert in json.loads(gpumon("rules", "list", "-o", "json").stdout)["rules"]
        ]
        table = gpumon("rules", "list").stdout
        markdown = gpumon("rules", "list", "-o", "markdown").stdout
        assert "GpuLost" in names
        assert all(name in table and f"runbooks/{name}.md" in markdown for name in names)

    def test_export_writes_and_prints(self, tmp_path: Path) -> None:
        """Files in a folder, or everything on stdout; what is there is replaced whole."""
        folder = tmp_path / "rules"
        for _ in range(2):
            done = gpumon("rules", "export", "--to", str(folder))
            assert (done.returncode, done.stdout) == (0, "")
        assert {f.suffix for f in folder.iterdir()} == {".yml"}
        # One document: what follows a first one, rule engines do not read.
        printed = yaml.safe_load(gpumon("rules", "export").stdout)["groups"]
        files = [yaml.safe_load(file.read_text()) for file in folder.iterdir()]
        assert len(printed) == sum(len(file["groups"]) for file in files)

    def test_check_finds_trouble(self, tmp_path: Path) -> None:
        """1 for trouble with a line each, 0 for none, 3 for what cannot be read."""
        assert gpumon("rules", "check").returncode == 0
        bad = tmp_path / "bad.yml"
        bad.write_text("groups: [{name: a, rules: [{record: 'a:b:c', expr: gpumon_nothing}]}]")
        done = gpumon("rules", "check", str(bad))
        assert done.returncode == 1
        assert "gpumon_nothing" in done.stdout
        assert gpumon("rules", "check", str(tmp_path / "none.yml")).returncode == 3

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (("--thresholds", "none.toml"), 2, "no file of thresholds"),
            (("--runbook-url", "https://wiki"), 2, "{alert}"),
            (("--to", "/proc/rules"), 3, "name another"),
            (("--format", "yaml"), 2, "--format"),
            (("--time-scale", "0"), 2, "time-scale"),
        ],
    )
    def test_export_says_what_is_wrong(
        self, arguments: tuple[str, ...], code: int, says: str
    ) -> None:
        """One line, with the next step, and the right exit code."""
        done = gpumon("rules", "export", *arguments)
        assert done.returncode == code
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


class TestExplain:
    """Words for people."""

    def test_it_prints_and_fails_in_one_line(self) -> None:
        """0 with the text, 2 with one line."""
        assert gpumon("explain", "xid", "79").stdout.startswith("Xid 79")
        done = gpumon("explain", "nonsense")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


class TestSimulate:
    """A fleet from the command line."""

    def test_faults_are_listed(self) -> None:
        """Each kind with what it is of."""
        text = gpumon("simulate", "--list-faults").stdout
        assert "pcie_width" in text
        assert "=8" in text

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (("--fault", "hto@n0001"), 2, "did you mean hot?"),
            (("--fault", "hot@n9999"), 2, "no node"),
            (("--model", "H1000"), 2, "unknown GPU"),
            (("--nodes", "4", "--site", "x.toml"), 2, "--site"),
            (("--site", "none.toml"), 3, "cannot read"),
            (("--faults", "none.txt"), 3, "cannot read"),
            (("--start", "yesterday"), 2, "write a time"),
        ],
    )
    def test_it_says_what_is_wrong(self, arguments: tuple[str, ...], code: int, says: str) -> None:
        """Before anything listens."""
        done = gpumon("simulate", "--web.listen-address", "127.0.0.1:0", *arguments)
        assert done.returncode == code, done.stderr
        assert says in done.stderr

    @pytest.mark.e2e
    def test_a_schedule_of_faults_is_followed(self, tmp_path: Path) -> None:
        """A file with a fault a line and remarks; the fleet begins with them."""
        schedule = tmp_path / "faults.txt"
        schedule.write_text(
            "# the drill of Monday\nlost@n0001:1\n\nhot=5@rack:r001,start=1h # later\n"
        )
        with run_fleet(tmp_path, "--nodes", "2", "--gpus", "2", "--faults", str(schedule)) as fleet:
            faults = get(f"{fleet.url}/faults").json()["faults"]
            text = fleet.metrics("n0001")
        assert [(fault["kind"], fault["active"]) for fault in faults] == [
            ("lost", True),
            ("hot", False),
        ]
        assert 'state="lost"} 1' in text
