"""The power of the last minutes, which the page's sparklines draw."""

from __future__ import annotations

import collections

from gpumon.model import Snapshot

HISTORY_SECONDS = 300
"""How far back it goes, one point a second at most."""


class PowerHistory:
    """(unix seconds, watts) by GPU uuid, oldest first."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._points: dict[str, collections.deque[tuple[float, float]]] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Take in a snapshot; a GPU that is not in it is forgotten."""
        present = {gpu.identity.uuid for gpu in snapshot.gpus}
        self._points = {uuid: h for uuid, h in self._points.items() if uuid in present}
        for gpu in snapshot.gpus:
            if gpu.power_watts is not None:
                self._add(gpu.identity.uuid, gpu.time, gpu.power_watts)

    def _add(self, uuid: str, time: float, watts: float) -> None:
        points = self._points.setdefault(uuid, collections.deque(maxlen=HISTORY_SECONDS))
        if points and time < points[-1][0]:
            points.clear()  # the clock was set back
        if not points or time > points[-1][0]:
            points.append((time, watts))

    def points(self) -> dict[str, list[tuple[float, float]]]:
        """Return the points by GPU uuid, oldest first."""
        return {uuid: list(points) for uuid, points in self._points.items()}
