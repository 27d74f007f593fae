"""``gpumon agent``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpumon import workloads
from gpumon.cli.base import Function, Seconds, Watts, declare, default_state_dir, option
from gpumon.cli.completing import models
from gpumon.cli.thresholds import chosen, thresholds_option
from gpumon.errors import UsageError
from gpumon.web.listen import DEFAULT_PORT

if TYPE_CHECKING:
    from gpumon.thresholds import Thresholds


def _path(_ctx: click.Context, _option: click.Parameter, value: str) -> str:
    if not value.startswith("/") or value == "/":
        raise UsageError(f"--web.telemetry-path {value!r}", "it begins with / and is not /")
    return value


def _managers() -> str:
    """Return the workload managers, each with what it is."""
    return ", ".join(f"{manager.name} ({manager.summary})" for manager in workloads.MANAGERS)


def _workload_options(command: Function) -> Function:
    """Declare the options of the workload managers."""
    for one in reversed(workloads.options()):
        kind = click.Path(file_okay=not one.folder, path_type=Path)
        declared = option(
            one.flag, type=kind, default=one.default, metavar=one.metavar, help=one.help
        )
        command = declared(command)
    return command


@declare(
    "agent",
    "gpumon agent\n"
    "gpumon agent --web.listen-address 127.0.0.1:9842\n"
    "gpumon agent --source sim:8xH100,workload=training",
)
@option(
    "--source",
    default="nvml",
    metavar="SOURCE",
    shell_complete=models,
    help="nvml, sim:SPEC or replay:FILE[,gpus=8][,speed=60][,loop][,tz=+01:00].",
)
@option(
    "--web.listen-address",
    "listen_address",
    default=f":{DEFAULT_PORT}",
    metavar="[HOST]:PORT",
    help="Where to answer.",
)
@option(
    "--web.telemetry-path",
    "telemetry_path",
    default="/metrics",
    metavar="PATH",
    callback=_path,
    help="Where the metrics are.",
)
@option(
    "--web.config.file",
    "web_config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TLS, client certificates and passwords, in the format of Prometheus's exporters.",
)
@option(
    "--web.expose-users",
    "expose_users",
    is_flag=True,
    help="Show to everybody whose the processes on a GPU are, and what they are called.",
)
@option(
    "--interval",
    type=Seconds(min=0.1, max=5),
    default=1.0,
    metavar="SECONDS",
    help="How often the GPUs are read; scrapes read nothing.",
)
@option(
    "--tier",
    type=click.Choice(["core", "standard", "full"]),
    default="standard",
    help="How much is exposed: see gpumon metrics.",
)
@option(
    "--expected-gpus",
    type=click.IntRange(min=0),
    metavar="N",
    help="GPUs this node should have.  [default: the most seen in seven days]",
)
@option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the agent's memory is.  [default: $XDG_STATE_HOME/gpumon]",
)
@option(
    "--kernel-log",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the kernel's Xids are read: a log, a pipe, or none.  [default: /dev/kmsg for nvml]",
)
@option(
    "--node-overhead-watts",
    type=Watts(),
    metavar="WATTS",
    help="What the node draws beyond GPUs and CPUs, where nothing measures the whole of it.",
)
@option(
    "--workload-manager",
    type=click.Choice(workloads.names()),
    default=workloads.AUTO,
    help=f"What reports which job holds which GPU: {_managers()}. auto takes what is found.",
)
@_workload_options
@thresholds_option(
    "A site's own thresholds (TOML): of the page, of the ledger's line between active and idle, and"
    " of viewers that ask this agent."
)
@click.pass_context
def agent(
    ctx: click.Context,
    /,
    source: str,
    listen_address: str,
    telemetry_path: str,
    web_config: Path | None,
    expose_users: bool,
    interval: float,
    tier: str,
    expected_gpus: int | None,
    state_dir: Path | None,
    kernel_log: Path | None,
    node_overhead_watts: float | None,
    workload_manager: str,
    thresholds: Thresholds | None,
    **workload_settings: Path,
) -> None:
    """Read this machine's GPUs and serve them to Prometheus.

    Serves a live page at /, metrics at /metrics, the last readings as JSON at /api/v1/snapshot,
    and its own state at /-/healthy and /-/ready. Without a driver it waits for one.
    """
    import asyncio
    import logging
    import socket

    from gpumon.logs import configure_logging
    from gpumon.model import Tier
    from gpumon.server.process import AgentOptions, serve
    from gpumon.sources.spec import SourceSpec
    from gpumon.web.listen import bind, parse_listen_address, url_of

    configure_logging(debug=bool(ctx.parent and ctx.parent.params["debug"]))
    options = AgentOptions(
        source=SourceSpec.parse(source),
        telemetry_path=telemetry_path,
        web_config=web_config,
        expose_users=expose_users,
        interval=interval,
        tier=Tier[tier.upper()],
        expected_gpus=expected_gpus,
        state_dir=state_dir or default_state_dir(),
        kernel_log=_kernel_log(kernel_log, source),
        node_overhead_watts=node_overhead_watts,
        workload_manager=workload_manager,
        workload_settings=workload_settings,
        thresholds=chosen(thresholds),
        node=socket.gethostname(),
    )
    with bind(parse_listen_address(listen_address)) as sock:
        logging.getLogger("gpumon").info("serving %s on %s", options.source, url_of(sock))
        asyncio.run(serve(options, sock))


def _kernel_log(given: Path | None, source: str) -> Path | None:
    """Return the log to read: only a real machine's driver writes to this one's kernel log."""
    from gpumon.kernellog import DEVICE
    from gpumon.sources.spec import SourceSpec

    if given is not None:
        return None if str(given) == "none" else given
    return DEVICE if SourceSpec.parse(source).row.kernel_log else None


command = agent
