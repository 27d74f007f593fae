"""How the agent of this machine is configured: flags, the service's variables, and the file."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from gpumon import config
from gpumon.cli import COMMANDS, cli
from gpumon.errors import UsageError
from gpumon.install import unit
from gpumon.web.listen import DEFAULT_PORT


@dataclasses.dataclass(frozen=True, slots=True)
class AgentPlace:
    """Where this machine's agent should be: its URL, the path of its metrics, its folders.

    ``jobs_dir`` is that of job files.
    """

    url: str = f"http://127.0.0.1:{DEFAULT_PORT}"
    metrics: str = "/metrics"
    state_dir: Path | None = None
    jobs_dir: Path | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Configured:
    """The place of the agent, and what says so: a file's tables and the service's variables.

    ``common`` are the file's keys of all commands, ``values`` all of the agent's parameters.
    """

    place: AgentPlace
    values: Mapping[str, Any]
    common: tuple[str, ...]
    tables: tuple[str, ...]
    variables: tuple[str, ...]


def read(file: Path | None, *, for_service: bool = False) -> Configured:
    """Read a configuration as the agent would, values and all; None is the default file.

    The service has its own variables only; an agent that is started by hand has the caller's, too.
    Raises UsageError, and UnavailableError if the file cannot be read.
    """
    tables = config.load(file)
    for name in config.tables_of(tables):
        config.section(tables, name, COMMANDS, [key for key, _ in options(name)])
    variables = service_variables()
    agent = cli.get_command(click.Context(cli), "agent")
    assert agent is not None
    parent = click.Context(cli)
    parent.params["config_file"] = file
    try:
        with _environment(variables, alone=for_service):
            values = agent.make_context("agent", [], parent=parent).params
    except click.UsageError as error:
        raise UsageError(error.format_message().rstrip("."), "see gpumon agent --help") from None
    place = AgentPlace(
        _url(values["listen"]), values["telemetry_path"], values["state_dir"], values["jobs_dir"]
    )
    own = tuple(config.tables_of(tables))
    shared = tuple(key for key in tables if key not in own)
    return Configured(place, values, shared, own, tuple(sorted(variables)))


def table(name: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return a command's values by key, as on its command line; UsageError for an unknown key."""
    known = [key for key, _ in options(name)]
    return {
        key: str(value).lower() if isinstance(value, bool) else value
        for key, value in config.section({name: values}, name, [name], known).items()
    }


def options(name: str) -> Iterator[tuple[str, click.Option]]:
    """Yield the options of a command, with the keys that they have in its table."""
    command = cli.get_command(click.Context(cli), name)  # None for what is no command
    for option in command.params if command else ():
        if isinstance(option, click.Option):
            yield option.opts[0].removeprefix("--"), option


def _url(address: tuple[str, int]) -> str:
    host, port = address
    host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host  # noqa: S104 - compared only
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def service_variables() -> Mapping[str, str]:
    """Return the variables that the service's file sets; none if it may not be read."""
    try:
        lines = unit.ENVIRONMENT.read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    pairs = (line.strip().partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {
        name.strip(): value.strip().strip("\"'")
        for name, _, value in pairs
        if name.startswith("GPUMON_")
    }


@contextlib.contextmanager
def _environment(more: Mapping[str, str], *, alone: bool) -> Iterator[None]:
    """Have other variables, for as long as options are read: ``alone`` or behind the caller's."""
    before = {name: value for name, value in os.environ.items() if name.startswith("GPUMON_")}
    others = {} if alone else before
    try:
        _set_ours({**more, **others})
        yield
    finally:
        _set_ours(before)


def _set_ours(variables: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("GPUMON_")]:
        del os.environ[name]
    os.environ.update(variables)
