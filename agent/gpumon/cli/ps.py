"""``gpumon ps``."""

from __future__ import annotations

import click

from gpumon.cli.base import declare, output
from gpumon.cli.completing import models
from gpumon.cli.watch import again, watch
from gpumon.views.orders import PROCESS_ORDERS


@declare(
    "ps",
    "gpumon ps\n"
    "gpumon ps --user alice --sort memory\n"
    "gpumon ps node17 --gpu 3 -o json\n"
    "gpumon ps -w 2",
)
@click.argument("target", required=False, shell_complete=models)
@click.option("--gpu", "gpus", metavar="INDEX|UUID,…", help="Only these GPUs.")
@click.option("--user", default="", metavar="NAME", help="Only this user.")
@click.option(
    "--sort",
    type=click.Choice(PROCESS_ORDERS),
    default="gpu",
    show_default=True,
    help="Order of the processes.",
)
@output("table", "json", "ndjson", "csv")
@watch
def ps(
    target: str | None, gpus: str | None, user: str, sort: str, form: str, seconds: float | None
) -> int:
    """List the processes on the GPUs: user, job, memory and share of the SMs.

    A GPU that a job holds without running anything on it is listed too. TARGET is as for gpumon
    status; another machine's agent shows users and names only to clients that may see them.
    """
    from gpumon.targets.target import open_target
    from gpumon.views import ps as view
    from gpumon.views.select import only, split

    with open_target(target, at_once=seconds is None, interval=seconds or 1.0) as source:

        def look(first: bool) -> int:
            snapshot = only(source.read(), split(gpus))
            view.write(snapshot, view.held(snapshot, user, sort), form, header=first)
            return 0 if snapshot.up else 3

        return again(look, seconds)


command = ps
