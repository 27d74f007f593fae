"""What was seen lately of a node and of each of its GPUs, for the graphs."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gpumon.model import GpuReading, Snapshot

MOST_LOOKS = 1800
"""How many looks are kept: half an hour of one each second."""

NODE = -1
"""Stands for the whole node where GPUs go by NVML's index."""


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """Something that is drawn over time: its title and unit, and what it is of a GPU and a node.

    ``value`` and ``most`` are of one GPU, ``most`` being the end of its scale; ``together`` makes
    the node's value, and the end of its scale, of those that are known of its GPUs.
    """

    title: str
    unit: str
    value: Callable[[GpuReading], float | None]
    most: Callable[[GpuReading], float | None]
    together: Callable[[Iterable[float]], float]
    scale: float = 1.0


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def _activity(gpu: GpuReading) -> float | None:
    """Return what says best how busy a GPU is: its SMs' activity, else its utilization."""
    return gpu.utilization_ratio if gpu.sm_active_ratio is None else gpu.sm_active_ratio


def _memory(gpu: GpuReading) -> float | None:
    used, total = gpu.memory_used_bytes, gpu.memory_total_bytes
    return used / total if used is not None and total else None


QUANTITIES = {
    "power": Curve("power", "W", lambda g: g.power_watts, lambda g: g.power_limit_watts, sum),
    "margin": Curve("margin", "°C", lambda g: g.temperature_margin_celsius, lambda _: 60.0, min),
    "activity": Curve("activity", "%", _activity, lambda _: 1.0, _mean, 100.0),
    "memory": Curve("memory", "%", _memory, lambda _: 1.0, _mean, 100.0),
}
"""What is drawn. No GPU slows down before its margin is used up; sixty degrees are a cool one."""


class History:
    """The values of the last looks, None if one was not known."""

    def __init__(self, most: int = MOST_LOOKS) -> None:
        """Keep the values of this number of looks."""
        self._most = most
        self._values: dict[tuple[int, str], deque[float | None]] = {}
        self._scales: dict[tuple[int, str], float] = {}
        self.looks = 0

    def add(self, snapshot: Snapshot) -> None:
        """Keep what a snapshot says."""
        self.looks += 1
        for name, quantity in QUANTITIES.items():
            values = {gpu.identity.index: quantity.value(gpu) for gpu in snapshot.gpus}
            scales = {gpu.identity.index: quantity.most(gpu) for gpu in snapshot.gpus}
            values[NODE] = _together(quantity, values.values())
            scales[NODE] = _together(quantity, scales.values())
            for index, value in values.items():
                self._append((index, name), value)
                scale = scales[index]
                if scale is not None:
                    self._scales[index, name] = scale

    def _append(self, key: tuple[int, str], value: float | None) -> None:
        ring = self._values.get(key)
        if ring is None:
            # A GPU that comes later was not known before.
            before = min(self.looks - 1, self._most)
            ring = self._values[key] = deque([None] * before, maxlen=self._most)
        ring.append(value)

    def values(self, index: int, name: str) -> Sequence[float | None]:
        """Return a GPU's values of one of QUANTITIES, or NODE's, the newest last."""
        return self._values.get((index, name), ())

    def scale(self, index: int, name: str) -> float:
        """Return what the highest value can be, in the quantity's base unit."""
        return self._scales.get((index, name), 1.0)


def _together(quantity: Curve, values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return quantity.together(known) if known else None


def columns(
    values: Sequence[float | None], looks: int, width: int, per_column: int
) -> list[float | None]:
    """Return values as columns of a graph, the newest last: of several looks their mean.

    Columns begin at the same looks each time, so that a graph moves and does not shimmer.
    """
    shown = list(values)
    first = looks - len(shown)
    # The number of the first look that begins a column among those that have room.
    last_column = max(0, looks - 1) // per_column
    made = []
    for column in range(last_column - width + 1, last_column + 1):
        start = max(0, column * per_column - first)
        end = max(0, (column + 1) * per_column - first)
        known = [value for value in shown[start:end] if value is not None]
        made.append(_mean(known) if known else None)
    return made
