"""``gpumon status``."""

from __future__ import annotations

import click

from gpumon.cli.base import Seconds, declare


@declare(
    "status",
    "gpumon status\n"
    "gpumon status node17 -o json\n"
    "gpumon status replay:power.csv.gz,gpus=8\n"
    "gpumon status -w 2",
)
@click.argument("target", required=False)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "csv", "ndjson", "prom"]),
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
def status(target: str | None, form: str, seconds: float | None) -> int:
    """Show every GPU once (the default command).

    TARGET is this machine (its agent if one runs, else the driver), HOST[:PORT] or a URL of an
    agent, sim:SPEC (sim:8xH100) or replay:FILE.
    """
    import time

    from gpumon.clock import Schedule
    from gpumon.targets import open_target
    from gpumon.views import records

    with open_target(target, at_once=seconds is None, interval=seconds or 1.0) as source:
        first = True
        schedule = Schedule(seconds or 1.0)
        while True:
            snapshot = source.read()
            if form == "table":
                from gpumon.views import table

                table.show(table.make_console(), snapshot)
            else:
                click.echo(records.render(snapshot, form, header=first), nl=False)
            if seconds is None:
                return 0 if snapshot.up else 3  # nothing could be told, and the view says why
            first = False
            time.sleep(schedule.until_next())


command = status
