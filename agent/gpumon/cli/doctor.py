"""``gpumon doctor``."""

from __future__ import annotations

import time
import typing
from pathlib import Path

import click

from gpumon.cli.base import SERVICE_STATE_DIR, Seconds, declare_unconfigured, default_state_dir

if typing.TYPE_CHECKING:
    from gpumon.doctor import Finding, Item


@declare_unconfigured(
    "doctor",
    "gpumon doctor\n"
    "gpumon doctor --prometheus http://prometheus:9090\n"
    "gpumon doctor --grafana https://grafana.example.org --token-file token\n"
    "gpumon doctor --bundle report.tar.gz",
)
@click.option("--prometheus", metavar="URL", help="Ask this Prometheus, too.")
@click.option("--grafana", metavar="URL", help="Ask this Grafana, too.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file with Grafana's token; without it, GPUMON_GRAFANA_TOKEN.",
)
@click.option(
    "--agent",
    "url",
    metavar="URL",
    help="Where this machine's agent should answer.  [default: by the configuration]",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the agent's memory is.  [default: the service's, else this user's]",
)
@click.option(
    "--timeout",
    "seconds",
    type=Seconds(min=0.5, max=600),
    default=8.0,
    show_default=True,
    metavar="SECONDS",
    help="How long all of it may take.",
)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to write it.",
)
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write an archive for a bug report, without secrets and names of users.",
)
@click.pass_context
def doctor(
    ctx: click.Context,
    prometheus: str | None,
    grafana: str | None,
    token_file: Path | None,
    url: str | None,
    state_dir: Path | None,
    seconds: float,
    form: str,
    bundle: Path | None,
) -> int:
    """Say whether this installation is right: driver, rights, agent, clock, servers.

    Of the GPUs themselves gpumon check judges. Exits with 1 where something is wrong.
    """
    import socket

    from gpumon.config import DEFAULT_FILE
    from gpumon.doctor import examine
    from gpumon.views import doctor as view

    file = (ctx.parent.params.get("config_file") if ctx.parent else None) or DEFAULT_FILE
    address, configured = _configured(Path(file))
    url = (url or address).rstrip("/")
    folder = state_dir or (SERVICE_STATE_DIR if SERVICE_STATE_DIR.exists() else default_state_dir())
    items = _items(seconds, url, folder)
    if prometheus:
        items["prometheus"] = _prometheus(prometheus, url)
    if grafana:
        items["grafana"] = _grafana(grafana, token_file)
    findings = [configured, *examine(items, seconds)]
    text = view.to_json(findings, socket.gethostname(), time.time())
    if form == "json":
        click.echo(text, nl=False)
    else:
        view.show(findings)
    if bundle is not None:
        _bundle(bundle, text, Path(file), url)
    return view.exit_code(findings)


def _items(seconds: float, url: str, folder: Path) -> dict[str, Item]:
    from gpumon.doctor import here

    return {
        "gpumon": here.program,
        "library": here.library,
        # The answer takes a moment to come over and to be told.
        "driver": lambda: here.driver(max(0.5, seconds - 0.5)),
        "devices": here.devices,
        "kernel-log": here.kernel_log,
        "agent": lambda: here.agent(url),
        "service": here.service,
        "state": lambda: here.state(folder),
        "clock": here.clock,
    }


def _configured(file: Path) -> tuple[str, Finding]:
    """Return where the agent should answer, and how the configuration is."""
    from gpumon import config
    from gpumon.cli import COMMANDS
    from gpumon.doctor.finding import bad, good
    from gpumon.errors import GpumonError
    from gpumon.web.listen import DEFAULT_PORT, parse_listen_address

    address = f"http://127.0.0.1:{DEFAULT_PORT}"
    if not file.exists():
        return address, good("configuration", f"no {file}: everything is at its default")
    try:
        tables = config.load(file)
        for name in tables:
            config.section(tables, name, COMMANDS, _flags(name))
        listen = config.section(tables, "agent", COMMANDS, _flags("agent"))
        host, port = parse_listen_address(str(listen.get("web.listen-address", f":{DEFAULT_PORT}")))
    except GpumonError as error:
        return address, bad("configuration", error.problem, error.next_step)
    host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host  # noqa: S104 - compared only
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return address, good("configuration", f"{file}: {', '.join(f'[{name}]' for name in tables)}")


def _flags(name: str) -> list[str]:
    from gpumon.cli import cli

    command = cli.get_command(click.Context(cli), name)  # None for what is no command's table
    return [o.removeprefix("--") for p in command.params for o in p.opts] if command else []


def _prometheus(url: str, agent_url: str) -> Item:
    import socket
    import urllib.parse

    def ask() -> list[Finding]:
        from gpumon.doctor import servers
        from gpumon.doctor.here import CALL_SECONDS
        from gpumon.promapi import PrometheusApi

        own = urllib.parse.urlsplit(agent_url)
        name = socket.gethostname()
        names = {name, name.split(".")[0], socket.getfqdn(), own.hostname or ""}
        with PrometheusApi(url.removeprefix("prom:"), CALL_SECONDS) as api:
            return list(servers.prometheus(api, names, own.port or 0))

    return ask


def _grafana(url: str, token_file: Path | None) -> Item:
    def ask() -> Finding:
        from gpumon.doctor import servers

        return servers.grafana(url, token_file)

    return ask


def _bundle(path: Path, doctor_json: str, configuration: Path, url: str) -> None:
    from gpumon.doctor.bundle import gather, write

    files = gather(doctor_json, configuration, url)
    write(path, files)
    click.echo(f"{path}: {', '.join(files)}; read it before you send it", err=True)


command = doctor
