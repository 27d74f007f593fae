"""How a site says which file: flag, environment, configuration; for every command that judges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gpumon import config
from gpumon.cli import COMMANDS, cli
from gpumon.cli.thresholds import in_site
from gpumon.errors import UsageError
from gpumon.site.config import load_site
from gpumon.thresholds import Thresholds, load_thresholds, shipped


def gpumon(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command, with no variables of gpumon's but these."""
    others = {name: word for name, word in os.environ.items() if not name.startswith("GPUMON_")}
    return subprocess.run(
        [sys.executable, "-m", "gpumon", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**others, **(env or {})},
    )


def file_of(folder: Path, name: str, margin: int) -> Path:
    """Write a file of thresholds."""
    file = folder / f"{name}.toml"
    file.write_text(f"[heat]\nmargin_low_celsius = {margin}\n")
    return file


def margin(*argv: str, env: dict[str, str] | None = None) -> str:
    """Return the margin that a command would judge by."""
    done = gpumon(*argv, "rules", "thresholds", env=env)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "margin_low_celsius" in line]
    return line.partition("#")[0].strip().rpartition(" ")[2]


def test_the_flag_goes_before_the_variable_before_the_file_before_what_ships(
    tmp_path: Path,
) -> None:
    """As for every setting."""
    flag, variable = file_of(tmp_path, "flag", 11), file_of(tmp_path, "variable", 12)
    file_of(tmp_path, "thresholds", 13)
    configuration = tmp_path / "gpumon.toml"
    configuration.write_text('thresholds = "thresholds.toml"\n[agent]\ninterval = 1\n')
    config_, env = ("--config", str(configuration)), {"GPUMON_THRESHOLDS": str(variable)}
    assert margin() == "5"
    assert margin(*config_) == "13"
    assert margin(*config_, env=env) == "12"
    done = gpumon(*config_, "rules", "thresholds", "--thresholds", str(flag), env=env)
    assert "heat.margin_low_celsius = 11" in done.stdout


def commands() -> dict[str, click.Command]:
    """Return all commands, those of a group by both names."""
    found = {}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        found.update({f"{name} {each}".strip(): one for each, one in inner.items()})
    return found


JUDGES = {
    *("agent", "check", "demo", "explain", "report", "simulate", "site", "status", "top"),
    *("rules list", "rules thresholds", "rules export", "rules check"),
    *("dashboards export", "dashboards push", "dashboards diff"),
}


def test_every_command_that_judges_takes_them() -> None:
    """By the same flag and variable; ``doctor`` and ``install`` go by the configuration."""
    taking = {}
    for name, command in commands().items():
        for option in command.params:
            if "--thresholds" in option.opts:
                taking[name] = option.envvar
    assert taking == dict.fromkeys(JUDGES, "GPUMON_THRESHOLDS")


def in_context(name: str, args: list[str], file: Path) -> Thresholds | None:
    """Return the thresholds that a command is given, without running it."""
    parent = click.Context(cli)
    parent.params["config_file"] = str(file)
    first, *inner = name.split()
    command = cli.get_command(parent, first)
    assert command is not None
    if isinstance(command, click.Group):
        parent = click.Context(command, parent=parent, info_name=first)
        command = command.commands[inner[0]]
    context = command.make_context(name, [*args], parent=parent)
    found: Thresholds | None = context.params["thresholds"]
    return found


@pytest.mark.parametrize("name", sorted(JUDGES))
def test_the_configuration_names_them_for_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By one key before the tables, with a path beside the file; a command's table goes first."""
    monkeypatch.delenv("GPUMON_THRESHOLDS", raising=False)
    monkeypatch.chdir("/")
    args = ["GpuLost"] if name == "explain" else []
    first, second = file_of(tmp_path, "first", 11), file_of(tmp_path, "second", 12)
    file = tmp_path / "gpumon.toml"
    file.write_text('thresholds = "first.toml"\n')
    assert in_context(name, args, file) == load_thresholds(first)
    file.write_text(
        f'thresholds = "first.toml"\n[{name.split(maxsplit=1)[0]}]\nthresholds = "second.toml"\n'
    )
    assert in_context(name, args, file) == load_thresholds(second)
    file.write_text("")
    assert in_context(name, args, file) is None


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("[heat]\nmargin_lo_celsius = 9\n", 2, "did you mean heat.margin_low_celsius?"),
        (
            "[heat]\nmargin_low_celsius = 'hot'\n",
            2,
            "it is a number of degrees Celsius from 0 to 1e+15",
        ),
        ("[heat\n", 2, "write sections and names as gpumon rules thresholds lists them"),
        ("[activity]\nidle_ratio = 5\n", 2, "it is a ratio above 0, up to 1, such as 0.05"),
        ("[activity]\nidle_ratio = 0\n", 2, "it is a ratio above 0, up to 1, such as 0.05"),
        ("[power]\ncap_ratio = 1.5\n", 2, "it is a ratio from 0 to 1, such as 0.98"),
        ("[links]\nreplays_per_second = -1\n", 2, "it is a number per second from 0 to"),
        ("[heat]\nmargin_for = '0s'\n", 2, 'it is a duration such as "10m"'),
        (None, 2, "no file of thresholds"),
    ],
)
@pytest.mark.parametrize("by", ["flag", "variable", "configuration"])
def test_a_mistake_is_one_line_with_the_file(
    tmp_path: Path, text: str | None, code: int, says: str, by: str
) -> None:
    """And with the nearest name, however the file was named."""
    file = tmp_path / "own.toml"
    if text is not None:
        file.write_text(text)
    configuration = tmp_path / "gpumon.toml"
    configuration.write_text('thresholds = "own.toml"\n' if by == "configuration" else "")
    done = gpumon(
        *("--config", str(configuration), "check", "sim:1xH100"),
        *(["--thresholds", str(file)] if by == "flag" else []),
        env={"GPUMON_THRESHOLDS": str(file)} if by == "variable" else {},
    )
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert str(file) in done.stderr
    assert says in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("thresholds = 3\n", "thresholds is not a path"),
        ("[thresholds]\nidle = 3\n", "thresholds is not a path"),
        ('threshold = "a"\n', "unknown key 'threshold'"),
        ('threshold = "a"\n', "did you mean thresholds?"),
    ],
)
def test_a_wrong_key_of_the_configuration_is_named(tmp_path: Path, text: str, says: str) -> None:
    """In one line, with what would be right."""
    file = tmp_path / "gpumon.toml"
    file.write_text(text)
    done = gpumon("--config", str(file), "check", "sim:1xH100")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_help_is_for_whoever_has_a_wrong_file(tmp_path: Path) -> None:
    """As with every mistake in the configuration."""
    file = tmp_path / "gpumon.toml"
    file.write_text('thresholds = "nowhere.toml"\n')
    for argv in (("check",), ("rules", "export")):
        assert gpumon("--config", str(file), *argv, "--help").returncode == 0


def test_a_variable_of_another_command_is_no_mistake_because_of_them(tmp_path: Path) -> None:
    """In the agent's container ``gpumon check`` finds the agent's variables, which are not its."""
    file = file_of(tmp_path, "own", 7)
    env = {"GPUMON_SOURCE": "sim:1xH100", "GPUMON_THRESHOLDS": str(file)}
    assert gpumon("check", "sim:1xH100", env=env).returncode == 0
    wrong = gpumon("agent", env={**env, "GPUMON_TRESHOLDS": "x"})
    assert "did you mean GPUMON_THRESHOLDS" in wrong.stderr


class TestSite:
    """``gpumon site`` and ``gpumon simulate`` read a site.toml, which may name them, too."""

    def site(self, folder: Path, *argv: str, own: bool = True) -> Thresholds:
        """Return what holds for ``gpumon site`` with a gpumon.toml that names some as well."""
        file_of(folder, "of-gpumon", 13)
        file_of(folder, "of-site", 14)
        (folder / "gpumon.toml").write_text('thresholds = "of-gpumon.toml"\n')
        (folder / "site.toml").write_text('thresholds = "of-site.toml"\n' if own else "")
        with cli.make_context("gpumon", ["--config", str(folder / "gpumon.toml")]) as top:
            command = cli.get_command(top, "site")
            assert command is not None
            context = command.make_context("site", list(argv), parent=top)
            site = load_site(folder / "site.toml")
            return in_site(context, context.params["thresholds"], site).thresholds

    def test_its_own_file_goes_before_gpumons(self, tmp_path: Path) -> None:
        """The site.toml is the site's own; gpumon.toml holds where it names none."""
        assert self.site(tmp_path).number("heat.margin_low_celsius") == 14
        assert self.site(tmp_path, own=False).number("heat.margin_low_celsius") == 13

    def test_the_flag_and_the_variable_go_before_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As before every file."""
        flag, variable = file_of(tmp_path, "flag", 11), file_of(tmp_path, "variable", 12)
        monkeypatch.setenv("GPUMON_THRESHOLDS", str(variable))
        assert self.site(tmp_path).number("heat.margin_low_celsius") == 12
        by_flag = self.site(tmp_path, "--thresholds", str(flag))
        assert by_flag.number("heat.margin_low_celsius") == 11

    def test_a_site_without_any_has_those_that_ship(self, tmp_path: Path) -> None:
        """And a wrong file in it is named."""
        (tmp_path / "site.toml").write_text("")
        assert load_site(tmp_path / "site.toml").thresholds == shipped()
        (tmp_path / "site.toml").write_text('thresholds = "own.toml"\n')
        (tmp_path / "own.toml").write_text("[heat]\nmargin_lo_celsius = 3\n")
        with pytest.raises(UsageError, match=r"own\.toml: unknown threshold heat\.margin_lo"):
            load_site(tmp_path / "site.toml")


def test_a_common_key_of_one_command_is_of_no_other(tmp_path: Path) -> None:
    """What stands in a command's table is only its own."""
    tables = {"check": {"thresholds": "a.toml"}}
    assert config.common(tables, "check", tmp_path / "gpumon.toml") == {
        "thresholds": str(tmp_path / "a.toml")
    }
    assert config.common(tables, "status", tmp_path / "gpumon.toml") == {}
