"""``gpumon install``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpumon.cli.base import declare_unconfigured

if TYPE_CHECKING:
    from gpumon.install.files import FileSetting


@declare_unconfigured(
    "install",
    "sudo gpumon install\n"
    "gpumon install --dry-run\n"
    "sudo gpumon install --set web.listen-address=127.0.0.1:9842 --set tier=full",
)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a flag of the agent in a new configuration. An existing configuration is not "
    "changed: it must already say the same.",
)
@click.option(
    "--no-start", is_flag=True, help="Do not start the agent now; it starts at the next boot."
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace a unit that somebody edited; a copy of the old one is kept.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.pass_context
def install(
    ctx: click.Context, pairs: tuple[str, ...], *, no_start: bool, force: bool, dry_run: bool
) -> int:
    """Install the agent as a service that starts at boot: user, unit, settings.

    Needs systemd. Run it again to complete what is missing; after an upgrade of gpumon or a change
    of the configuration, it restarts the agent. An existing configuration is never changed.
    """
    from gpumon.cli.printing import say
    from gpumon.cli.steps import carry_out
    from gpumon.errors import UsageError
    from gpumon.install import files, machine, plan

    if ctx.parent and ctx.parent.params["config_file"]:
        raise UsageError("the service reads /etc/gpumon/gpumon.toml", "leave out --config")
    there = machine.look()
    chosen = _chosen(pairs)
    text = files.configuration(_settings(), chosen)
    present = _present()
    if present is None:
        _check_text(text)
    steps = plan.install(there, text, chosen, present, start=not no_start, force=force)
    carry_out(steps, is_root=there.is_root, dry_run=dry_run)
    if not dry_run and not no_start and there.unit is not None:
        say(_answer())
    return 0


def _answer() -> str:
    """Return what the agent replies; UnavailableError if there is no reply."""
    from gpumon.cli import configured
    from gpumon.doctor.agent import agent
    from gpumon.errors import UnavailableError
    from gpumon.install.plan import JOURNAL

    place = configured.read(None, for_service=True).place
    found = agent(place.url, place.metrics)
    if found.nobody or found.problem:
        raise UnavailableError(f"no reply at {found.url}", JOURNAL)
    state = f": it is {found.said}" if found.said.startswith("not ready") else ""
    return f"the agent is up at {found.url}{state}; run gpumon doctor to check everything"


def _chosen(pairs: Sequence[str]) -> dict[str, str]:
    """Return the values by key; UsageError for an unknown key or one that is overruled."""
    from gpumon.cli import configured
    from gpumon.errors import UsageError
    from gpumon.install.unit import ENVIRONMENT, UNIT

    variables = configured.service_variables()
    if "GPUMON_CONFIG" in variables:
        raise UsageError(f"{ENVIRONMENT} names another configuration", "take GPUMON_CONFIG out")
    chosen = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair}", "write KEY=VALUE, such as tier=full")
        chosen[key] = value
    chosen = configured.table("agent", chosen)
    if "thresholds" in chosen and not Path(chosen["thresholds"]).is_absolute():
        raise UsageError(f"--set thresholds={chosen['thresholds']}", "write the whole path")
    if "state-dir" in chosen:
        raise UsageError(
            "--set state-dir: the unit sets the state folder", f"systemctl edit {UNIT}"
        )
    for key, option in configured.options("agent"):
        if key in chosen and option.envvar in variables:
            raise UsageError(
                f"--set {key}: {ENVIRONMENT} overrules it", f"take {option.envvar} out"
            )
    return chosen


def _present() -> dict[str, str] | None:
    """Return the agent's settings in the existing configuration, None if there is none.

    Raises UsageError for a configuration that the agent would refuse.
    """
    from gpumon import config
    from gpumon.cli import configured

    if not config.DEFAULT_FILE.exists():
        return None
    _check(config.DEFAULT_FILE)
    whole = config.load(None)
    own = configured.table("agent", whole.get("agent", {}))
    return {**own, **config.common(whole, "agent", None)}


def _settings() -> list[FileSetting]:
    """Return the agent's flags as its configuration has them."""
    from gpumon.cli import configured
    from gpumon.install.files import FileSetting

    # The unit says where the state is, since systemd makes the folder.
    return [
        FileSetting(key, _meaning(option), _default(option), option.metavar or "")
        for key, option in configured.options("agent")
        if key != "state-dir"
    ]


def _meaning(option: click.Option) -> str:
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    suffix = f"  [{'|'.join(choices)}]" if choices else ""
    return f"{option.help}{suffix}"


def _default(option: click.Option) -> str | float | bool | None:
    """Return a default in TOML's terms, None if there is none (click has a word of its own)."""
    if option.is_flag:
        return False
    if isinstance(option.default, Path):
        return str(option.default)
    return option.default if isinstance(option.default, str | float | int) else None


def _check_text(text: str) -> None:
    """Raise UsageError if the agent would not start with a new configuration's text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gpumon.toml"
        file.write_text(text, "utf-8")
        _check(file)


def _check(file: Path) -> None:
    """Raise UsageError if the service's agent would not start with a configuration."""
    from gpumon.cli import configured
    from gpumon.errors import UsageError
    from gpumon.sources import open_source

    values = configured.read(file, for_service=True).values
    source = values["source"]
    if source.row.simulated:
        open_source(source).close()
    web = values["web_config"]
    if web is not None and not (web.is_absolute() and web.is_file()):
        raise UsageError(f"no file {web}", "write the absolute path of an existing file")


command = install
