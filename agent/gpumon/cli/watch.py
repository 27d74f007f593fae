"""Looking once, or again and again: what ``-w`` means for every command that has it."""

from __future__ import annotations

from collections.abc import Callable

import click

from gpumon.cli.base import Seconds

watch = click.option(
    "-w",
    "--watch",
    "seconds",
    type=Seconds(min=0.1, max=86400),
    metavar="SECONDS",
    help="Repeat every this many seconds, until Ctrl-C.",
)
"""The option of how often, None for once."""


def again(look: Callable[[bool], int], seconds: float | None) -> int:
    """Look once, or every ``seconds``; ``look`` gets whether it is for the first time.

    Returns the exit code of the last look.
    """
    import time

    from gpumon.clock import Schedule

    schedule = Schedule(seconds or 1.0)
    code = look(True)
    while seconds is not None:
        time.sleep(schedule.until_next())
        code = look(False)
    return code
