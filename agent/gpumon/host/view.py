"""What a node asks of its host's collectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gpumon.model import Denied, HostReading
from gpumon.model.origins import Origins


class HostView(Protocol):
    """Knows the host at the moment it is asked, and never waits for it."""

    def reading(self) -> HostReading:
        """Return what is known now."""
        ...

    def origins(self) -> Origins:
        """Return where the readings come from."""
        ...

    def node_watts(self) -> tuple[str, float] | None:
        """Return by what method the node's power is known now, and in watts; or None."""
        ...

    def collector_success(self) -> Mapping[str, int]:
        """Return 1 or 0 of each collector whose hardware is, or was, there."""
        ...

    def collector_seconds(self) -> Mapping[str, float]:
        """Return how long each collector's last run took."""
        ...

    def denied(self) -> tuple[Denied, ...]:
        """Return what this user may not read."""
        ...
