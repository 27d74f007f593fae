"""``gpumon info``."""

from __future__ import annotations

import click

from gpumon.cli.base import declare


@declare("info", "gpumon info\ngpumon info --gpu 3\ngpumon info node17 --gpu 0")
@click.argument("target", required=False)
@click.option("--gpu", type=click.IntRange(min=0), metavar="INDEX", help="Only this GPU.")
def info(target: str | None, gpu: int | None) -> int:
    """Show everything known of the GPUs: each value, its metric, and where it is read.

    At its end stands what this user may not read, what that needs, and how to grant it. TARGET is
    as for gpumon status.
    """
    from gpumon.errors import UsageError
    from gpumon.targets import open_target
    from gpumon.views.info import render

    with open_target(target, at_once=True) as source:
        snapshot = source.read()
    indexes = [reading.identity.index for reading in snapshot.gpus]
    if gpu is not None and gpu not in indexes:
        there = ", ".join(map(str, indexes)) or "none"
        raise UsageError(f"no GPU {gpu} here", f"there are: {there}")
    click.echo(render(snapshot, gpu), nl=False)
    return 0 if snapshot.up else 3


command = info
