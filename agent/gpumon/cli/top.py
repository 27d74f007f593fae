"""``gpumon top``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from gpumon.cli.base import Seconds, declare
from gpumon.cli.completing import models
from gpumon.cli.thresholds import thresholds_option
from gpumon.views.orders import GPU_ORDERS

if TYPE_CHECKING:
    from gpumon.thresholds import Thresholds


@declare(
    "top",
    "gpumon top\n"
    "gpumon top node17 --sort margin\n"
    "gpumon top sim:8xH100,workload=training\n"
    "gpumon top replay:run.ndjson.gz,speed=10",
)
@click.argument("target", required=False, shell_complete=models)
@click.option(
    "-w",
    "--watch",
    "seconds",
    type=Seconds(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Refresh every this many seconds.",
)
@click.option(
    "--sort",
    type=click.Choice(GPU_ORDERS),
    default="worst",
    show_default=True,
    help="Order of the GPUs.",
)
@thresholds_option("A site's own thresholds (TOML).  [default: those of the agent]")
def top(target: str | None, seconds: float, sort: str, thresholds: Thresholds | None) -> int:
    """Show the GPUs, processes and jobs of a node live: graphs, sorting, zoom.

    It only reads, and never changes anything; press ? for the keys. TARGET is as for gpumon status,
    one node at a time.
    """
    from gpumon.errors import UnavailableError, UsageError

    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") in _TOO_SIMPLE:
        raise UsageError(
            "top needs a terminal that it can draw on",
            f"gpumon status -w {seconds:g} writes lines instead",
        )
    try:
        from gpumon.top.app import TopApp
        from gpumon.top.looking import Looking
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"top needs {error.name}, which is not installed",
            "pip install '.[ops]' in gpumon's checkout",
        ) from None
    app = TopApp(Looking(target, seconds, thresholds), sort)
    app.run()
    if app.problem is not None:
        raise app.problem
    if app.crash is not None:
        raise app.crash
    return app.return_code or 0


_TOO_SIMPLE = ("", "dumb", "unknown")

command = top
