"""``gpumon ps``."""

from __future__ import annotations

import click

from gpumon.cli.base import Seconds, declare
from gpumon.cli.watch import again
from gpumon.cli.words import models

SORTS = ("gpu", "memory", "sm", "user", "pid")
"""As ``gpumon.views.ps`` orders; a test holds them against each other."""


@declare(
    "ps",
    "gpumon ps\n"
    "gpumon ps --user alice --sort memory\n"
    "gpumon ps node17 --gpu 3 -o json\n"
    "gpumon ps -w 2",
)
@click.argument("target", required=False, shell_complete=models)
@click.option("--gpu", "gpus", metavar="INDEX|UUID,…", help="Of these GPUs only.")
@click.option("--user", default="", metavar="NAME", help="Of one user only.")
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="gpu",
    show_default=True,
    help="Which processes come first.",
)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "ndjson", "csv"]),
    default="table",
    show_default=True,
    help="How to write it.",
)
@click.option(
    "-w",
    "--watch",
    "seconds",
    type=Seconds(min=0.1, max=86400),
    metavar="SECONDS",
    help="Look again every so many seconds, until Ctrl-C.",
)
def ps(
    target: str | None, gpus: str | None, user: str, sort: str, form: str, seconds: float | None
) -> int:
    """List the processes on the GPUs: whose, of which job, memory and share of the SMs.

    A GPU that a job holds without running anything there is listed, too. TARGET is as for gpumon
    status; another machine's agent tells users and names only to whom it may.
    """
    from gpumon.targets import open_target
    from gpumon.views import ps as view
    from gpumon.views.select import only, split

    with open_target(target, at_once=seconds is None, interval=seconds or 1.0) as source:

        def look(first: bool) -> int:
            snapshot = only(source.read(), split(gpus))
            view.write(snapshot, view.held(snapshot, user, sort), form, header=first)
            return 0 if snapshot.up else 3

        return again(look, seconds)


command = ps
