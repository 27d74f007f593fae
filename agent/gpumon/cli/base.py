"""What the commands share: options that can be configured, and targets to look at."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from gpumon import config
from gpumon.cli import COMMANDS
from gpumon.errors import UnavailableError, UsageError
from gpumon.install import unit

Function = TypeVar("Function", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A number within a range; "nan" passes every comparison, so it is refused by name."""

    unit = ""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return a finite number within the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number of {self.unit}", param, ctx)
        return number


class Seconds(Finite):
    """A number of seconds."""

    unit = "seconds"


class Watts(Finite):
    """A number of watts, not below 0."""

    unit = "watts"

    def __init__(self) -> None:
        """Take no range: there is one."""
        super().__init__(min=0)


class Command(click.Command):
    """A command whose options' defaults come from its table of the configuration file."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the configuration before the arguments; UsageError if it is wrong."""
        completing = extra.get("resilient_parsing")
        # Help and TAB are for whoever has a wrong file, too.
        if completing or not {"-h", "--help"}.isdisjoint(args):
            return super().make_context(info_name, args, parent, **extra)
        file, tables = _configuration(parent)
        names = _flags(self)
        common = config.common(tables, str(self.name), file)
        values = {**config.section(tables, str(self.name), COMMANDS, names), **common}
        _name_node(tables, common)
        extra["default_map"] = {names[f]: value for f, value in values.items() if f in names}
        _check_environment()
        return super().make_context(info_name, args, parent, **extra)


class InnerCommand(click.Command):
    """A command of a group: of the configuration file it takes what holds for all commands."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the configuration if anything of it is for this command."""
        names = _flags(self)
        completing = extra.get("resilient_parsing") or not {"-h", "--help"}.isdisjoint(args)
        if not completing:
            _check_environment()
        if parent is not None and not completing and not names.keys().isdisjoint(config.COMMON):
            file, tables = _configuration(parent.parent)
            values = config.common(tables, str(parent.info_name), file)
            extra["default_map"] = {names[f]: value for f, value in values.items() if f in names}
        return super().make_context(info_name, args, parent, **extra)


class CommandGroup(click.Group):
    """A command that has commands of its own."""

    command_class = InnerCommand

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the whole first sentence of each help, however long."""
        rows = [(name, _first_sentence(self.commands[name])) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _first_sentence(command: click.Command) -> str:
    return " ".join((command.help or "").split("\n\n", 1)[0].split())


def _configuration(top: click.Context | None) -> tuple[Path | None, dict[str, Any]]:
    """Return the configuration file that was named, if any, and what is in it."""
    named = top.params.get("config_file") if top else None
    file = Path(named) if named else None
    return file, config.load(file)


def _flags(command: click.Command) -> dict[str, str]:
    """Return the parameters of a command by their long flags, without the dashes."""
    return {
        long.removeprefix("--"): str(parameter.name)
        for parameter in command.params
        for long in parameter.opts
        if isinstance(parameter, click.Option) and long.startswith("--")
    }


def _name_node(tables: Mapping[str, Any], common: Mapping[str, str]) -> None:
    """Have every part of this command call the node as the configuration's agent does."""
    agent = tables.get("agent", {})
    name = common.get("node") or (agent.get("node") if isinstance(agent, Mapping) else None)
    if name:
        os.environ.setdefault(config.NODE_VARIABLE, str(name))


def _check_environment() -> None:
    from gpumon.cli.variables import check_environment

    check_environment()


def declare(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command: its name, and examples of its use for the help."""
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    return click.command(name, cls=Command, epilog=f"Examples:\n\n\b\n{lines}")


def declare_unconfigured(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command that works whatever is in the configuration file."""
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    return click.command(name, epilog=f"Examples:\n\n\b\n{lines}")


def declare_group(name: str, example: str) -> Callable[[Callable[..., Any]], click.Group]:
    """Declare a command that has commands of its own, with examples of their use for the help."""
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    return click.group(name, cls=CommandGroup, epilog=f"Examples:\n\n\b\n{lines}")


def option(flag: str, *names: str, **settings: Any) -> Callable[[Function], Function]:
    """Declare an option that the environment can set too: ``--web.x-y`` is ``GPUMON_WEB_X_Y``."""
    word = flag.removeprefix("--").replace(".", "_").replace("-", "_").upper()
    settings.setdefault("show_default", settings.get("default") is not None)
    return click.option(flag, *names, envvar=f"GPUMON_{word}", show_envvar=True, **settings)


def output(*forms: str, text: str = "How to write it.") -> Callable[[Function], Function]:
    """Declare ``-o``: the forms that a command can write its answer in, a table where none is."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(forms),
        default="table",
        show_default=True,
        help=text,
    )


def default_state_dir() -> Path:
    """Return where state is kept if nobody says otherwise: below ``$XDG_STATE_HOME``."""
    home = os.environ.get("XDG_STATE_HOME")
    if home:
        return Path(home) / "gpumon"
    try:
        return Path.home() / ".local" / "state" / "gpumon"
    except RuntimeError:
        raise UsageError("this user has no home folder", "say where, with --state-dir") from None


def _service_has(name: str) -> bool:
    """Return whether the service keeps a file; UnavailableError if this user may not see it."""
    try:
        return (unit.STATE_DIR / name).exists()
    except PermissionError:
        raise UnavailableError(
            f"{unit.STATE_DIR} is not for this user to read", "run it with sudo"
        ) from None


def give_order(order: dict[str, Any], state_dir: Path | None) -> int:
    """Give an order to this machine's agent, print its answer, and return the exit code.

    Raises UnavailableError if no agent takes it.
    """
    from gpumon.server.control import NAME, send

    if state_dir is None:
        state_dir = unit.STATE_DIR if _service_has(NAME) else default_state_dir()
    answer = send(state_dir, order)
    click.echo(answer.get("text", ""), err=not answer.get("done"))
    return 0 if answer.get("done") else 3


def state_file(state_dir: Path | None, source: str) -> Path:
    """Return where the memory of a source's agent is: the service's folder, else this user's."""
    from gpumon.sources.spec import SourceSpec
    from gpumon.statedb.file import state_file_name

    name = state_file_name(SourceSpec.parse(source))
    if state_dir is None:
        state_dir = unit.STATE_DIR if _service_has(name) else default_state_dir()
    return state_dir / name


def moment(text: str, now: float, option: str) -> float:
    """Return unix seconds of a time, or of so long ago; UsageError if it is neither."""
    from gpumon.times import parse_duration, parse_time

    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_time(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r}", "write 24h, 30d or a time such as 2026-11-01T00:00Z"
        ) from None
