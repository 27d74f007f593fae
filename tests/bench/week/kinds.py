"""What fails, how often, and how it looks: the published numbers, and what is assumed of them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping

NODES, GPUS, DAYS = 1000, 8, 7

RATES: Mapping[str, float] = {
    # 419 interruptions of 16,384 GPUs in 54 days (The Llama 3 Herd of Models, section 3.3.4).
    "Llama 3, 0.0197 per 1,000 GPU hours": 0.0197 / 1000 * NODES * GPUS * 24,
    # Revisiting Reliability in Large-Scale Machine Learning Research Clusters, RSC-1.
    "RSC-1, 6.50 per 1,000 node days": 6.50 / 1000 * NODES,
}
"""Faults a day at each published rate."""

BEGIN_MINUTES = 40
"""When a fault begins in its recording: averages of half an hour are settled by then."""

REPAIR_MINUTES = 120
"""How long it is there: the reset, the reboot or the exchange."""

DRAIN_MINUTES = 7
"""After so long, at the worst, the scheduler is seen to have drained the node: Slurm runs its
health check each five minutes (docs/checks.md), and gpumon site asks Slurm each minute."""

MINUTES = BEGIN_MINUTES + REPAIR_MINUTES + 30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of fault: how many of Llama 3's 419 it was, and how the simulator provokes it.

    ``{n}`` in a fault is the node; ``count`` is on how many nodes at once. ``seen`` is False if no
    telemetry of a GPU or node shows it. ``drained`` if a health check sees it and drains the node.
    ``pages`` if it is one for which somebody must be woken.
    """

    name: str
    share: int
    faults: tuple[str, ...]
    drained: bool = True
    count: int = 1
    pages: bool = False
    least: str = ""

    @property
    def seen(self) -> bool:
        """Whether telemetry shows it."""
        return bool(self.faults)

    def texts(self, nodes: list[str]) -> Iterator[str]:
        """Yield its faults in the simulator's words."""
        span = f"start={BEGIN_MINUTES}m,for={REPAIR_MINUTES}m"
        drained = f"start={BEGIN_MINUTES + DRAIN_MINUTES}m,for={REPAIR_MINUTES}m"
        for node in nodes[: self.count]:
            yield from (f"{fault.format(n=node)},{span}" for fault in self.faults)
            if self.drained:
                yield f"scheduler=drained@{node},{drained}"


KINDS = (
    # Its table has 148 "faulty GPU": half are taken as fallen off the bus, half as one that must be
    # reset, half of which under a driver that does not ask for it by itself (before 570).
    Kind(name="GPU lost (Xid 79)", share=74, faults=("lost@{n}:3", "xid=79@{n}:3")),
    Kind(
        name="GPU needs a reset (Xid 95)",
        share=37,
        faults=("xid=95@{n}:3", "ecc_uncorrected@{n}:3", "recovery=gpu_reset@{n}:3"),
    ),
    Kind(name="GPU needs a reset (Xid 62), an older driver", share=37, faults=("xid=62@{n}:3",)),
    Kind(
        name="HBM3 (Xid 48, row remap)",
        share=72,
        faults=(
            *("xid=48@{n}:3", "xid=63@{n}:3", "ecc_uncorrected@{n}:3", "remap_pending@{n}:3"),
            "recovery=drain_and_reset@{n}:3",
        ),
    ),
    Kind(
        name="SRAM (Xid 48)",
        share=19,
        faults=("xid=48@{n}:3", "sram_exceeded@{n}:3", "recovery=gpu_reset@{n}:3"),
    ),
    Kind(
        name="GPU system processor (Xid 119)",
        share=17,
        faults=("xid=119@{n}:3", "reset_required@{n}:3"),
    ),
    Kind(name="thermal interface, sensor", share=6, faults=("hot=40@{n}:3",), drained=False),
    Kind(
        name="host, maintenance, power supply: the node is down",
        share=32 + 3 + 3 + 2 + 2 + 2 + 2,
        faults=("node_dead@{n}",),
        drained=False,
    ),
    Kind(
        name="software, network, data: no telemetry of a GPU shows it",
        share=54 + 35 + 7 + 7 + 6 + 2,
        faults=(),
        drained=False,
    ),
)
"""The 419 of Llama 3, by what they look like; RSC-1's are taken to be alike."""

RARE = (
    Kind(
        name="a drain that failed: the scheduler goes on with a lost GPU",
        share=0,
        faults=("lost@{n}:3", "xid=79@{n}:3"),
        drained=False,
        pages=True,
        least="GpuSickButSchedulable",
    ),
    Kind(
        name="the same Xid on six nodes at once",
        share=0,
        faults=("xid=74@{n}:3",),
        drained=False,
        count=6,
        pages=True,
        least="SameXidOnManyNodes",
    ),
)
"""What must go on waking somebody, however few pages there are."""


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    """One fault of the week: when (minutes since its begin), which kind, and which node.

    ``drain`` is after how many minutes the scheduler is seen to have drained the node.
    """

    minute: float
    kind: Kind
    node: int
    drain: float


def draw(faults_a_day: float, seed: int) -> list[Drawn]:
    """Return the faults of a week, in order: Poisson in time, kinds by their share."""
    rng = random.Random(f"week/{seed}/{faults_a_day}")
    found: list[Drawn] = []
    minute = rng.expovariate(faults_a_day / 1440)
    while minute < DAYS * 1440:
        (kind,) = rng.choices(KINDS, [kind.share for kind in KINDS])
        # The health check, the question to Slurm, and a scrape of the reply.
        drain = rng.uniform(0, 5) + rng.uniform(0, 1) + rng.uniform(0, 0.25)
        found.append(Drawn(minute, kind, rng.randrange(NODES), drain))
        minute += rng.expovariate(faults_a_day / 1440)
    return found
