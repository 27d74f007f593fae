"""The files that are written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpumon import config
from gpumon.assets import asset
from gpumon.cli.install import _settings
from gpumon.install.files import (
    UNIT_FILE,
    USERS_FILE,
    FileSetting,
    configuration,
    is_ours,
    rendered,
    typed,
)
from tests.support.servers import require


def test_the_unit_is_the_one_that_ships_but_for_the_program() -> None:
    """One source of truth."""
    shipped = asset("deploy/systemd/gpumon-agent.service").read_text()
    text = rendered(["/srv/bin/python3", "-m", "gpumon"])[UNIT_FILE]
    body = "".join(text.splitlines(keepends=True)[2:])
    assert body == shipped.replace(
        "/usr/local/bin/gpumon agent", "/srv/bin/python3 -m gpumon agent"
    )
    assert body != shipped


def test_systemd_takes_it(tmp_path: Path) -> None:
    """systemd-analyze has no word to say against it."""
    unit = tmp_path / UNIT_FILE.name
    unit.write_text(rendered([sys.executable])[UNIT_FILE])
    done = subprocess.run(
        [require("systemd-analyze"), "verify", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert unit.name not in done.stderr


@pytest.mark.parametrize("path", [UNIT_FILE, USERS_FILE])
def test_an_edit_is_seen_and_a_copy_of_what_ships_is_none(path: Path) -> None:
    """Also what an older version wrote is gpumon's own."""
    text = rendered(["/opt/gpumon/bin/gpumon"])[path]
    assert is_ours(path, text)
    assert is_ours(path, text.replace("version 0", "version 9.0"))
    assert not is_ours(path, text.replace("gpumon -", "other -").replace("Type=notify", "Type="))
    assert not is_ours(path, f"{text}# mine\n")
    assert not is_ours(path, f"# mine\n{text}")
    assert not is_ours(path, text.replace("\n", "\n[Unit]\n", 1))
    assert not is_ours(path, "")
    assert not is_ours(path, text.replace("gpumon agent", "\udce4 agent"))  # no UTF-8
    name = {UNIT_FILE: "gpumon-agent.service", USERS_FILE: "gpumon.sysusers.conf"}[path]
    assert is_ours(path, asset(f"deploy/systemd/{name}").read_text())


SETTINGS = [
    FileSetting("source", "What is read.", "nvml", "SOURCE"),
    FileSetting("interval", "How often.", 1.0, "SECONDS"),
    FileSetting("web.expose-users", "To everybody.", default=False, example=""),
    FileSetting("web.config.file", "TLS.", None, "FILE"),
]


def test_the_agents_own_flags_are_shown_with_their_defaults() -> None:
    """All but the state's folder, which is the unit's to say."""
    text = configuration(_settings(), {})
    for line in ('#source = "nvml"', "#interval = 1.0", "#web.expose-users = false"):
        assert f"\n{line}\n" in text
    assert "state-dir" not in text


def test_words_are_what_they_would_be_in_toml() -> None:
    """What is no number stays a word, also where Python would take it for one."""
    assert [typed(word) for word in ("1", "0.50", "True", "nan", "inf", "8xH100")] == [
        1,
        0.5,
        True,
        "nan",
        "inf",
        "8xH100",
    ]


def test_a_configuration_sets_what_was_chosen_and_shows_the_rest(tmp_path: Path) -> None:
    """What it shows is commented out: with nothing chosen it sets nothing."""
    file = tmp_path / "gpumon.toml"
    file.write_text(configuration(SETTINGS, {}))
    assert config.load(file) == {"agent": {}}
    chosen = {"interval": "0.5", "web.expose-users": "true", "source": 'sim:"8"xH100'}
    file.write_text(configuration(SETTINGS, chosen))
    assert config.load(file) == {
        "agent": {"interval": 0.5, "web": {"expose-users": True}, "source": 'sim:"8"xH100'}
    }
    assert '#web.config.file = "FILE"\n' in file.read_text()


def test_what_it_shows_can_be_taken_as_it_stands(tmp_path: Path) -> None:
    """Without the # a line is TOML."""
    file = tmp_path / "gpumon.toml"
    text = configuration(SETTINGS, {})
    file.write_text(re.sub(r"^#(?! )", "", text, flags=re.MULTILINE))
    assert config.load(file)["agent"] == {
        "source": "nvml",
        "interval": 1.0,
        "web": {"expose-users": False, "config": {"file": "FILE"}},
    }


def test_what_is_of_all_commands_stands_before_the_tables(tmp_path: Path) -> None:
    """In the agent's table it would be the agent's only."""
    file = tmp_path / "gpumon.toml"
    settings = [*SETTINGS, FileSetting("thresholds", "A site's own.", None, "FILE")]
    file.write_text(configuration(settings, {}))
    assert file.read_text().index('#thresholds = "FILE"') < file.read_text().index("[agent]")
    file.write_text(configuration(settings, {"thresholds": "/etc/gpumon/own.toml"}))
    assert config.load(file) == {"thresholds": "/etc/gpumon/own.toml", "agent": {}}
