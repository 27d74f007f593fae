"""The kinds of source there are: a row each, and a package of its name that does the rest.

A package ``gpumon.sources.NAME`` offers ``open_source`` (see ``gpumon.sources.Package``) and
``possible_origins``; neither may import what only reading needs. Code that treats one kind
differently asks its row what it is, never what it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """What a source is.

    ``real``: its GPUs stand in this machine, so the machine's power, jobs and processes are theirs.
    ``simulated``: no hardware is measured, and every screen says so. ``may_hang``: a call of it may
    never return, so a viewer reads it in a process that it can leave. ``kernel_log``: its driver
    writes Xids to this machine's kernel log. ``xids``: its GPUs can have Xids at all (NVIDIA's).
    ``example`` is a specification as it is typed; one with a colon needs a subject.
    """

    name: str
    example: str
    real: bool = False
    simulated: bool = False
    may_hang: bool = False
    kernel_log: bool = False
    xids: bool = True

    @property
    def has_subject(self) -> bool:
        """Whether its specification names something after a colon."""
        return ":" in self.example


ROWS = (
    SourceKind(name="nvml", example="nvml", real=True, may_hang=True, kernel_log=True),
    SourceKind(name="sim", example="sim:8xH100", simulated=True),
    SourceKind(name="replay", example="replay:power.csv.gz,gpus=8"),
)

KINDS: Mapping[str, SourceKind] = {row.name: row for row in ROWS}
"""The rows by their name."""


def is_real(name: str) -> bool:
    """Return whether GPUs of a kind stand in this machine."""
    return name in KINDS and KINDS[name].real


def has_xids(name: str) -> bool:
    """Return whether GPUs of a kind can have Xids; those of one that is not known here may."""
    return name not in KINDS or KINDS[name].xids


DEFAULT = ROWS[0].name
"""What is read if nobody says otherwise."""
