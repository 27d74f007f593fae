"""Keeps what Slurm's numbers mean, and looks again when its configuration changes.

Devices that Slurm finds itself (AutoDetect) also depend on how GPUs are divided into MIG instances.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from gpumon.clock import SYSTEM, Clock
from gpumon.model import MigIdentity
from gpumon.workloads.slurm.gresindex import (
    GresIndex,
    from_gres_conf,
    from_slurmd,
    without_slurmd,
)
from gpumon.workloads.slurm.slurmcommand import SlurmError, run_command
from gpumon.workloads.slurm.slurmconf import stamp

AGAIN_SECONDS = 600.0
"""How soon it is looked again if it is not known: slurmd may have to start the GPUs."""


class DeviceOrder:
    """The devices of this machine, by the names that Slurm has for it: as a rule one."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        """Look at nothing yet."""
        self._clock = clock
        self._stamp: tuple[object, ...] | None = None
        self._instances: dict[str, frozenset[MigIdentity]] | None = None
        self._devices: dict[str, GresIndex | None] = {}
        self._unsaid: dict[str, float] = {}

    def now(self, node: str) -> GresIndex | None:
        """Return what is known of a node's devices; None while Slurm has not been asked yet."""
        if node not in self._devices:
            found = self._devices[node] = from_gres_conf(node)
            if found is not None and found.problem:
                self._unsaid[node] = self._clock.monotonic()
        return self._devices[node]

    def see(self, instances: Mapping[str, Iterable[MigIdentity]]) -> None:
        """Take in each GPU's MIG instances, by its UUID: others are numbered otherwise.

        A GPU that is gone changes nothing: slurmd goes on with the numbers that it began with.
        """
        before = self._instances
        now = {uuid: frozenset(those) for uuid, those in instances.items()}
        if before is not None and any(before.get(u, frozenset()) != now[u] for u in now):
            self._forget()
        self._instances = {**(before or {}), **now}

    def _forget(self) -> None:
        self._devices, self._unsaid = {}, {}

    async def refresh(self, nodes: Iterable[str]) -> None:
        """Look again if the configuration changed; ask Slurm if that alone does not say it."""
        seen = await asyncio.to_thread(stamp)
        if seen != self._stamp:
            self._stamp = seen
            self._forget()
        for node in set(nodes):
            asked = self._unsaid.get(node)
            again = asked is not None and self._clock.monotonic() - asked >= AGAIN_SECONDS
            if self.now(node) is None or again:
                await self._look(node)

    async def _look(self, node: str) -> None:
        # What is forgotten while Slurm is asked stays so: its answer may be of what was before.
        devices, unsaid = self._devices, self._unsaid
        found, problem = from_gres_conf(node), ""
        if found is None:
            found, problem = await asyncio.to_thread(from_slurmd, node)
        said = found is not None and not found.problem
        if found is None:
            found = without_slurmd(node, await _configured(node), problem)
        devices[node] = found
        unsaid.pop(node, None)
        if not said:
            unsaid[node] = self._clock.monotonic()


async def _configured(node: str) -> str:
    """Return a node's resources as the controller has them; nothing if it does not say."""
    try:
        lines = (await run_command("sinfo", "--noheader", "-n", node, "-o", "%G")).split()
    except SlurmError:
        return ""
    return lines[0] if lines else ""
