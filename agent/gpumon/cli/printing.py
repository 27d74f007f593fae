"""Printing to a reader who may leave, as ``| head -1`` does.

Who shows something ends then, and that is no error. Who judges or acts goes on: neither a verdict
nor what is done is for a pipe to decide.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click


def say(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print where somebody still reads."""
    with whoever_reads():
        click.echo(text, nl=nl, err=err)


@contextmanager
def whoever_reads() -> Iterator[None]:
    """Print in here what may go unread; what is left of it is then dropped."""
    try:
        yield
    except BrokenPipeError:
        if not hush():
            raise


def hush() -> bool:
    """Let what nobody reads go nowhere, as Python would complain of it at exit.

    Returns whether there is such a stream: a BrokenPipeError may come from elsewhere.
    """
    closed = [stream for stream in (sys.stdout, sys.stderr) if stream and _has_lost_reader(stream)]
    for stream in closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(closed)


def _has_lost_reader(stream: TextIO) -> bool:
    """Tell it from what a pipe says of itself: poll(2), POLLERR."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return bool(poll.poll(0))
