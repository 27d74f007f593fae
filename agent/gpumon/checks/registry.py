"""The checks by name, in the order in which a report lists them."""

from __future__ import annotations

from collections.abc import Sequence

from gpumon.checks import agent, gpu, links, memory, node, power
from gpumon.checks.model import Check
from gpumon.errors import UsageError, hint

CHECKS: tuple[Check, ...] = (
    node.driver,
    node.count,
    gpu.state,
    gpu.age,
    gpu.recovery,
    gpu.xids,
    agent.xid_address,
    agent.nvswitch,
    memory.ecc,
    memory.ecc_mode,
    memory.remap,
    links.nvlink,
    links.fabric,
    links.pcie_width,
    links.pcie_generation,
    links.pcie_replays,
    power.margin,
    power.throttle,
    power.limit,
    power.persistence,
    power.clocks,
    power.energy,
    power.smoothing,
    agent.stray,
    agent.clock,
    agent.collectors,
)

NAMES = tuple(check.name for check in CHECKS)


def chosen(only: Sequence[str], skip: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks to run; UsageError for a name that there is not, or where none is left."""
    for name in (*only, *skip):
        if name not in NAMES:
            raise UsageError(
                f"no check {name!r}", f"gpumon check --list names them{hint(name, NAMES)}"
            )
    left = tuple(c for c in CHECKS if (not only or c.name in only) and c.name not in skip)
    if not left:
        raise UsageError("no check is left", "name fewer with --skip")
    return left
