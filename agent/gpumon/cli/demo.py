"""``gpumon demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpumon.cli.base import Seconds, declare, option
from gpumon.cli.completing import models
from gpumon.cli.thresholds import chosen, thresholds_option
from gpumon.web.listen import DEFAULT_PORT

if TYPE_CHECKING:
    from gpumon.thresholds import Thresholds


@declare("demo", "gpumon demo\ngpumon demo --duration 20\ngpumon demo --source sim:8xB200")
@option(
    "--source",
    metavar="SOURCE",
    shell_complete=models,
    help="What to show.  [default: this machine's GPUs, else sim:8xH100,workload=mixed]",
)
@option(
    "--web.listen-address",
    "listen_address",
    default=f"127.0.0.1:{DEFAULT_PORT}",
    metavar="[HOST]:PORT",
    help="Address to serve on; port 0 takes a free one.",
)
@click.option(
    "--duration",
    type=Seconds(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop after this time.  [default: at Ctrl-C]",
)
@click.option(
    "--prometheus/--no-prometheus",
    default=True,
    show_default=True,
    help="Start Prometheus too, if it is on the PATH.",
)
@thresholds_option("A site's own thresholds (TOML), in place of those that ship.")
@click.pass_context
def demo(
    ctx: click.Context,
    source: str | None,
    listen_address: str,
    duration: float | None,
    prometheus: bool,
    thresholds: Thresholds | None,
) -> None:
    """Show this machine's GPUs, or simulated ones, on a live page.

    It needs no GPU, no root and no server, and leaves nothing behind.
    """
    import asyncio

    from gpumon.demo import run as demonstration
    from gpumon.logs import configure_logging
    from gpumon.sources.spec import SourceSpec
    from gpumon.web.listen import parse_listen_address

    configure_logging(debug=bool(ctx.parent and ctx.parent.params["debug"]))
    asyncio.run(
        demonstration.run(
            SourceSpec.parse(source) if source else demonstration.best_source(),
            parse_listen_address(listen_address),
            duration,
            with_prometheus=prometheus,
            thresholds=chosen(thresholds),
            say=click.echo,
        )
    )


command = demo
