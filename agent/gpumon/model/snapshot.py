"""One node at one instant: what its source is, its GPUs, and what they add up to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpumon.model.events import XidEvent
from gpumon.model.gpu import GpuReading
from gpumon.model.host import HostReading
from gpumon.model.ledger import LedgerState
from gpumon.model.metric import Tier, gauge, metric_group
from gpumon.model.nvswitch import NvswitchReading
from gpumon.model.origins import Origins
from gpumon.model.terms import Denied, PassedThrough
from gpumon.model.totals import NodeTotals


@dataclasses.dataclass(frozen=True, slots=True)
class SourceInfo:
    """Where readings come from.

    ``source`` is ``nvml``, ``sim`` or ``replay``; ``detail`` is the specification after the colon.
    ``simulated`` is true if no hardware was measured, now or when it was recorded; every screen
    must say so.
    """

    source: str
    detail: str = ""
    driver_version: str = ""
    nvml_version: str = ""
    cuda_version: str = ""
    simulated: bool = False


@metric_group(prefix="gpumon_node")
@dataclasses.dataclass(frozen=True, slots=True)
class NodeReading:
    """What the GPUs of a node draw together.

    Peaks do not add: the node's extremes are those of the sum, taken sample by sample.
    """

    gpu_power_watts: float | None = gauge(
        "Power of all GPUs that respond, together.", tier=Tier.CORE
    )
    gpu_power_peak_watts: float | None = gauge(
        "Highest sub-second sum over the GPUs in the last 30 s.", tier=Tier.CORE
    )
    gpu_power_trough_watts: float | None = gauge(
        "Lowest sub-second sum over the GPUs in the last 30 s.", tier=Tier.CORE
    )
    gpu_power_ramp_watts_per_second: float | None = gauge(
        "Steepest change of that sum within one second in the last 30 s, up or down.",
        tier=Tier.CORE,
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """The node is Prometheus's own ``instance``: no label."""
        return ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What a node's agent knows beyond its source, as far as checks judge by it.

    ``collectors`` says of each part of the agent whether it works, ``manager`` is what reports
    which job holds which GPU, ``unresolved_jobs`` counts those of which it does not know the GPUs;
    see ``AgentReading`` for the others.
    """

    clock_synchronized: bool | None = None
    clock_offset_seconds: float | None = None
    unattributed_xids: int | None = None
    collectors: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    manager: str = ""
    unresolved_jobs: int | None = None
    nvswitches: tuple[NvswitchReading, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a source knew at ``time`` (unix seconds of the source's own clock).

    ``up`` is False if the source could not be read at all (no driver); ``errors`` says why.
    ``events`` are the Xids since the snapshot before; ``collectors`` says of each other part of the
    source (its event set) whether it works; ``denied`` are the node's own readings that this user
    may not have. ``origins`` are the tables of where values were read from, by the numbers that
    readings carry (``gpumon.model.origins``). ``read_seconds`` is how long the reading took.
    ``passed_through`` are the GPUs of this machine that another driver has, ``unlisted`` the PCI
    addresses of those that have come to this driver and that it does not list.
    ``refused`` are the readings since the snapshot before that were left out because no such value
    is possible, by quantity.
    ``agent`` is what the node's agent adds, None if no agent was asked.
    """

    time: float
    source: SourceInfo
    node: str = ""
    up: bool = True
    gpus: tuple[GpuReading, ...] = ()
    gpus_expected: int | None = None
    power: NodeReading = NodeReading()
    totals: NodeTotals = dataclasses.field(default_factory=NodeTotals)
    host: HostReading = HostReading()
    ledger: LedgerState = dataclasses.field(default_factory=LedgerState)
    events: tuple[XidEvent, ...] = ()
    collectors: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    errors: tuple[str, ...] = ()
    denied: tuple[Denied, ...] = ()
    origins: Mapping[int, Origins] = dataclasses.field(default_factory=dict)
    read_seconds: float = 0.0
    passed_through: tuple[PassedThrough, ...] = ()
    unlisted: tuple[str, ...] = ()
    refused: Mapping[str, int] = dataclasses.field(default_factory=dict)
    agent: AgentFacts | None = None
