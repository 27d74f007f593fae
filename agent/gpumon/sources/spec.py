"""What a source is asked for on the command line: its kind, its subject and its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

from gpumon.errors import UsageError, hint
from gpumon.sources.kinds import DEFAULT, KINDS, ROWS, SourceKind

Number = TypeVar("Number", int, float)


@dataclasses.dataclass(frozen=True, slots=True)
class Patience:
    """How long a source that asks a driver waits for it.

    ``until`` is the moment (of the monotonic clock, which all processes share) by which the first
    snapshot is there, None for the source's own; a GPU whose call has by then taken longer than
    ``call`` seconds hangs, and of one that has not, nothing is known yet.
    """

    until: float | None = None
    call: float = 3.0


ENOUGH = Patience()
"""That of anyone who is in no hurry, as the agent."""


@dataclasses.dataclass(frozen=True)
class SourceSpec:
    """A source's kind, its subject (``8xH100``, a file) and its options as text."""

    kind: str
    subject: str = ""
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> SourceSpec:
        """Parse ``kind[:subject[,name=value|,flag]...]``; UsageError says what was expected."""
        kind, colon, rest = text.partition(":")
        row = KINDS.get(kind)
        if row is None:
            examples = ", ".join(row.example for row in ROWS)
            raise UsageError(
                f"unknown source {text!r}", f"for example {examples}{hint(kind, list(KINDS))}"
            )
        if not row.has_subject:
            if colon:
                raise UsageError(f"{text!r}: {kind} takes no options", f"use --source {kind}")
            return cls(kind)
        subject, *options = rest.split(",")
        if not subject:
            raise UsageError(f"{text!r} names nothing to {kind}", f"for example {row.example}")
        return cls(kind, subject, dict(_option(option) for option in options))

    @property
    def row(self) -> SourceKind:
        """What a source of this kind is."""
        return KINDS[self.kind]

    @property
    def is_default(self) -> bool:
        """Whether this is what is read if nobody says otherwise: this machine's driver."""
        return self.kind == DEFAULT

    def check_options(self, known: Sequence[str]) -> None:
        """Raise UsageError for an option that is not known, naming the nearest that is."""
        for name in self.options:
            if name not in known:
                raise UsageError(
                    f"{self.kind}: unknown option {name!r}",
                    f"known are {', '.join(known)}{hint(name, known)}",
                )

    def number(self, name: str, default: Number) -> Number:
        """Return an option as a number of the default's type, above 0; UsageError otherwise."""
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = type(default)(text)
        except ValueError:
            value = type(default)(-1)
        if not 0 < value < float("inf"):
            kind = "whole number" if isinstance(default, int) else "number"
            raise UsageError(f"{self.kind}: {name}={text!r} is not a {kind} above 0")
        return value

    def __str__(self) -> str:
        """The specification as it would be typed."""
        if not self.row.has_subject:
            return self.kind
        options = [f"{name}={value}" if value else name for name, value in self.options.items()]
        return f"{self.kind}:{','.join([self.subject, *options])}"


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip()
