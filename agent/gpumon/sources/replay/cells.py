"""What stands in a cell of an nvidia-smi log: a value, or a word instead of one.

A cell is a cell: a fan that cannot be read leaves the value out and the GPU alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from gpumon.model import GpuState, Metric
from gpumon.sources.clockmask import throttle_reasons

_VALUE = re.compile(r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+))(?: ?(?P<unit>[A-Za-z/%]+))?", re.ASCII)

_FACTORS = {"W": 1, "MiB": 1 << 20, "KiB": 1 << 10, "MHz": 1_000_000, "C": 1, "": 1}

_ABSENT = frozenset(
    {
        "",
        "disabled",
        "insufficient permissions",
        "n/a",
        "no data",
        "not active",
        "not available",
        "not found",
        "not supported",
        "requested functionality has been deprecated",
    }
)
"""Words that say of the board, or of the user, that there is no such value: nothing is wrong."""

_WORST = (GpuState.LOST, GpuState.RESET_REQUIRED, GpuState.ERROR)
_STATES = {"gpu is lost": GpuState.LOST, "gpu requires reset": GpuState.RESET_REQUIRED}
"""NVML's words for an error of the GPU; any other ("Unknown Error", "Timeout") is just an error."""


class CellError(ValueError):
    """A cell that is neither a value nor a word: ``problem``, and what was ``expected``."""

    def __init__(self, problem: str, expected: str) -> None:
        """Say what is wrong."""
        super().__init__(problem)
        self.problem, self.expected = problem, expected


def word_of(cell: str) -> str | None:
    """Return what nvidia-smi wrote instead of a value, in lower case; None for a value."""
    if cell.startswith("["):
        return cell.strip("[]").strip().lower()
    return cell.rstrip("!").lower() if cell in ("", "N/A", "ERR!") else None


def state_of(readings: Sequence[str], names: Sequence[str]) -> GpuState:
    """Return the state of a GPU by a row's cells.

    ``readings`` are the cells that the GPU is asked for each time, ``names`` those that say who it
    is. It is as it should be if any reading is a value. Otherwise the worst word of all counts; but
    a single cell with an unknown error says nothing of a GPU that knows its own name.
    """
    words = [word_of(cell) for cell in readings]
    if None in words:
        return GpuState.OK
    wrong = [_STATES.get(word or "", GpuState.ERROR) for word in words if word not in _ABSENT]
    worst = next((state for state in _WORST if state in wrong), GpuState.OK)
    knows_its_name = any(word_of(cell) is None for cell in names)
    return GpuState.OK if worst is GpuState.ERROR and len(wrong) == 1 and knows_its_name else worst


def value_of(cell: str, title: str, unit: str, metric: Metric) -> Any:
    """Return a cell in the metric's base unit, or None if nvidia-smi had no value.

    ``unit`` is the one that the header names. Raises CellError.
    """
    if word_of(cell) is not None:
        return None
    if metric.states:
        try:
            return throttle_reasons(int(cell, 16))
        except ValueError:
            raise CellError(f"{title} is {cell[:40]!r}", "0x…") from None
    match = _VALUE.fullmatch(cell)
    example = f"'72.36 {unit}'" if unit else "'72'"
    unit = (match["unit"] or unit) if match else ""
    if match is None or (unit != "%" and unit not in _FACTORS):
        raise CellError(f"{title} is {cell[:40]!r}", f"a number such as {example}, or [N/A]")
    value = float(match["number"])
    if not math.isfinite(value):
        raise CellError(f"{title} is {cell[:20]!r}…", "a number")
    if unit == "%":
        return value / 100
    value *= _FACTORS[unit]
    return int(value) if metric.unit in ("", "bytes", "hertz") else value
