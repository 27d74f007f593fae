"""Keeps what Slurm's numbers mean, and looks again when its configuration changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gpumon.clock import SYSTEM, Clock
from gpumon.workloads.slurm.devices import Devices, from_file, from_order, from_slurmd, stamp
from gpumon.workloads.slurm.slurmcommand import SlurmError, run_command

AGAIN_SECONDS = 600.0
"""How soon ``slurmd -G`` is asked again if it said nothing: it may have to start the GPUs."""


class DeviceOrder:
    """The devices of this machine, by the names that Slurm has for it: as a rule one."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        """Look at nothing yet."""
        self._clock = clock
        self._stamp: tuple[object, ...] | None = None
        self._devices: dict[str, Devices | None] = {}
        self._unsaid: dict[str, float] = {}

    def now(self, node: str) -> Devices | None:
        """Return what is known of a node's devices; None while Slurm has not been asked yet."""
        if node not in self._devices:
            self._devices[node] = from_file(node)
        return self._devices[node]

    async def refresh(self, nodes: Iterable[str]) -> None:
        """Look again if the configuration changed; ask Slurm if that alone does not say it."""
        seen = await asyncio.to_thread(stamp)
        if seen != self._stamp:
            self._stamp, self._devices, self._unsaid = seen, {}, {}
        for node in set(nodes):
            asked = self._unsaid.get(node)
            again = asked is not None and self._clock.monotonic() - asked >= AGAIN_SECONDS
            if self.now(node) is None or again:
                self._devices[node] = await self._ask(node)

    async def _ask(self, node: str) -> Devices:
        devices, problem = await asyncio.to_thread(from_slurmd, node)
        if devices is not None:
            self._unsaid.pop(node, None)
            return devices
        self._unsaid[node] = self._clock.monotonic()
        return from_order(node, await _configured(node), problem)


async def _configured(node: str) -> str:
    """Return a node's resources as the controller has them; nothing if it does not say."""
    try:
        lines = (await run_command("sinfo", "--noheader", "-n", node, "-o", "%G")).split()
    except SlurmError:
        return ""
    return lines[0] if lines else ""
