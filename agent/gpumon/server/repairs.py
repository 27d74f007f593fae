"""Notices that GPUs were reset, so that what they asked for before is done.

The boot, and the driver's load, are the kernel's to report (``XidMemory`` asks it). Of a reset no
driver says that it happened, and a GPU shows it in one of two ways: its energy counter begins
again, or the driver no longer asks for what it asked for. If neither shows, it is the operator's
word: a GPU must be released before a reset, and is taken up again after it.
"""

from __future__ import annotations

from collections.abc import Collection

from gpumon.model import Snapshot
from gpumon.server.xidmemory import XidMemory, owner_of

BY_RESET = frozenset({"gpu_reset", "drain_and_reset", "bus_reset", "node_reboot", "system_reboot"})
"""What the driver asks for until the GPU has been reset."""


class Repairs:
    """Belongs to the agent's event loop."""

    def __init__(self, xids: XidMemory) -> None:
        """Begin; ``xids`` hears of the GPUs that were reset."""
        self._xids = xids
        self._asked: set[str] = set()
        self._taken_up: float | None = None
        self._responded: set[str] = set()

    def resumed(self, time: float) -> None:
        """Take note that the GPUs are taken up again, at ``time``, after a release."""
        self._taken_up = time
        self._responded = set()

    def observe(self, snapshot: Snapshot, began_again: Collection[str], time: float) -> None:
        """Look at what was read; ``began_again`` are the GPUs whose energy counter did so.

        After a release a GPU counts as mended once it responds: one that is still lost is not.
        """
        if self._taken_up is not None and snapshot.up:
            self._xids.switches_were_reset(self._taken_up)
        for gpu in snapshot.gpus:
            if not gpu.up:
                continue
            owner = owner_of(gpu.identity)
            if owner in began_again or self._done(owner, gpu.recovery_action):
                self._xids.was_reset(owner, time)
            if self._taken_up is not None and owner not in self._responded:
                self._responded.add(owner)
                self._xids.was_reset(owner, self._taken_up)

    def _done(self, owner: str, action: str | None) -> bool:
        """Return whether the driver asked for a reset before, and does not now."""
        if action in BY_RESET:
            self._asked.add(owner)
        elif action == "none" and owner in self._asked:
            self._asked.remove(owner)
            return True
        return False
