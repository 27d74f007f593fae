"""``gpumon info``."""

from __future__ import annotations

import click

from gpumon.cli.base import declare, output
from gpumon.cli.completing import models


@declare(
    "info",
    "gpumon info\ngpumon info 3\ngpumon info node17 0\ngpumon info sim:2xH100 --gpu 1 -o json",
)
@click.argument("words", metavar="[TARGET] [GPU]", nargs=-1, shell_complete=models)
@click.option("--gpu", "gpus", metavar="INDEX|UUID,…", help="Only these GPUs.")
@output("table", "json")
def info(words: tuple[str, ...], gpus: str | None, form: str) -> int:
    """Show everything known about the GPUs: each value, its metric, and where it was read.

    The end lists what this user may not read, what that needs, and how to grant it. TARGET is as
    for gpumon status; a number alone is a GPU of this machine.
    """
    from gpumon.targets.target import open_target
    from gpumon.views import info as view
    from gpumon.views.select import only, split

    target, named = _arguments(words)
    with open_target(target, at_once=True) as source:
        whole = source.read()
    wanted = (*split(gpus), *named)
    snapshot = only(whole, wanted)
    text = view.to_json(snapshot) if form == "json" else view.render(snapshot, node=not wanted)
    click.echo(text, nl=False)
    return 0 if snapshot.up else 3


def _arguments(words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Return the target, None for this machine, and the GPU that is named, if one is."""
    from gpumon.errors import UsageError

    most = 2
    if len(words) == most:
        return words[0], (words[1],)
    if len(words) > most:
        raise UsageError(f"too many arguments: {' '.join(words)}", "name a node and a GPU")
    if words and (words[0].isdecimal() or words[0].startswith(("GPU-", "MIG-"))):
        return None, words
    return (words[0] if words else None), ()


command = info
