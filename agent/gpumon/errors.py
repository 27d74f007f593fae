"""The errors a user may see.

    GpumonError
    |-- UsageError         the command, an option or a file is wrong: exit code 2
    |-- UnavailableError   not known: no driver, no reply, no such file: exit code 3
    |   `-- DriverError    the driver is not there, or does not start
    |       `-- DriverStuckError  earlier calls have been waiting in it for minutes
    `-- SourceBrokenError  a source cannot go on in this process; the reader is replaced

Each carries one line that says what is wrong and one that says what to do next. Everything else
that reaches the command line is a bug and exits with 3 as well (design: exit codes).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def printable(text: str) -> str:
    """Return a text of anybody's without what it could do to a terminal: escapes, line breaks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class GpumonError(Exception):
    """Something went wrong that the user can act upon."""

    exit_code = 3

    def __init__(self, problem: str, next_step: str = "") -> None:
        """State the problem (no full stop) and, after it, what the user can do about it."""
        super().__init__(problem)
        self.problem = problem
        self.next_step = next_step

    def __str__(self) -> str:
        """One line: the problem, then the next step."""
        return printable(f"{self.problem}: {self.next_step}" if self.next_step else self.problem)


class UsageError(GpumonError):
    """What was asked for makes no sense."""

    exit_code = 2


class UnavailableError(GpumonError):
    """What was asked for makes sense, but no reply is available."""


class DriverError(UnavailableError):
    """The driver is not there, or does not start; on a node without GPUs nothing is wrong then."""


class DriverStuckError(DriverError):
    """Earlier calls of the driver have not returned for minutes: there is one, and it is sick."""


class SourceBrokenError(GpumonError):
    """A source cannot go on in this process, but a new process may start over."""


def hint(word: str, known: Sequence[str]) -> str:
    """Say which known word is nearest to a wrong one, or nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
