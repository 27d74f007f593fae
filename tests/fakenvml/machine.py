"""What a machine answers: facts by key, as the control file states them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = int | float | str
"""A number, a text, or one of the control file's forms (``!15``, ``u64:1``, ``rate:5@0``)."""


@dataclass(frozen=True)
class Machine:
    """GPUs and their driver, at rest.

    ``system`` holds facts without a GPU (``driver_version``); ``shared`` facts of every GPU;
    ``gpus`` the facts of each, by index, ``0:uuid`` being one of its first MIG device. Values
    are in NVML's units: mW, mJ, MHz, bytes.
    """

    system: Mapping[str, Value] = field(default_factory=dict)
    shared: Mapping[str, Value] = field(default_factory=dict)
    gpus: tuple[Mapping[str, Value], ...] = ()

    def first(self, count: int) -> Machine:
        """The same machine with only its first ``count`` GPUs."""
        return Machine(self.system, self.shared, self.gpus[:count])

    def reversed(self) -> Machine:
        """The same GPUs enumerated the other way round, as a driver reload may do."""
        return Machine(self.system, self.shared, self.gpus[::-1])
