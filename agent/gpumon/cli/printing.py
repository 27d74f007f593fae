"""Printing to a reader who may leave, as ``| head -1`` does.

A command that shows something then ends, and that is not an error. A command that judges or acts
goes on: a pipe decides neither its verdict nor what it does.
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
    """Return whether poll(2) reports POLLERR for a stream."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return bool(poll.poll(0))
