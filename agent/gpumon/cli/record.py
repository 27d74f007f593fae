"""``gpumon record``."""

from __future__ import annotations

from pathlib import Path

import click

from gpumon.cli.base import Seconds, declare
from gpumon.cli.completing import models


@declare(
    "record",
    "gpumon record -f training.ndjson.gz --duration 600\n"
    "gpumon record node17 -f node17.ndjson\n"
    "gpumon status replay:training.ndjson.gz",
)
@click.argument("target", required=False, shell_complete=models)
@click.option(
    "-f",
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write, compressed if its name ends in .gz. An existing file is never "
    "overwritten.",
)
@click.option(
    "--duration",
    type=Seconds(min=0, min_open=True),
    metavar="SECONDS",
    help="How long to record.  [default: until Ctrl-C]",
)
@click.option(
    "--interval",
    type=Seconds(min=0.1, max=86400),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to read.",
)
def record(target: str | None, file: Path, duration: float | None, interval: float) -> None:
    """Record readings in a file that can be replayed.

    Each line is one snapshot as JSON, with the power samples since the line before. The file is
    valid whenever you stop. TARGET is as for gpumon status.
    """
    from gpumon.logs import configure_logging
    from gpumon.targets.recorder import record as write

    configure_logging()
    count = 0

    def wrote(so_far: int) -> None:
        nonlocal count
        count = so_far

    try:
        write(target, file, duration, interval, wrote)
    finally:
        if count:
            click.echo(
                f"{count} snapshots in {file}: show them with gpumon status replay:{file}",
                err=True,
            )


command = record
