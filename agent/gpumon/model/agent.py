"""What the agent tells about itself: its source, its reader, its collectors."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping

from gpumon import __version__
from gpumon.model import LedgerRule, SourceInfo, Tier
from gpumon.model.metric import counter, gauge, info, metric_group


@dataclasses.dataclass(frozen=True, slots=True)
class BuildInfo:
    """The version of this program and of the Python it runs on."""

    version: str = __version__
    python_version: str = platform.python_version()


@dataclasses.dataclass(frozen=True, slots=True)
class WorkloadInfo:
    """Who tells which job holds which GPU."""

    manager: str


@metric_group(prefix="gpumon")
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentReading:
    """The state of the agent at a scrape."""

    build: BuildInfo = info(
        "The agent's version.", labels=("version", "python_version"), required=True
    )
    source_info: SourceInfo | None = info(
        'Where the readings come from; source="sim" is simulated data.',
        labels=("source", "detail", "driver_version", "nvml_version", "cuda_version"),
        name="source",
    )
    source_up: bool = gauge(
        "1 while the source can be read; 0 without a driver, or when all its calls stand still.",
        tier=Tier.CORE,
        required=True,
    )
    released: bool = gauge(
        "1 while the agent has let go of the driver on purpose (gpumon release).",
        tier=Tier.CORE,
        required=True,
    )
    gpus: int = gauge("GPUs the source shows.", tier=Tier.CORE, required=True)
    gpus_expected: int | None = gauge(
        "GPUs there should be: as declared, else the most this source showed in seven days.",
        tier=Tier.CORE,
    )
    collector_success: Mapping[str, int] = gauge(
        "1 where the collector's last run succeeded.",
        tier=Tier.CORE,
        labels=["collector"],
        required=True,
    )
    collector_duration_seconds: Mapping[str, float] = gauge(
        "How long the collector's last run took.", labels=["collector"], required=True
    )
    reader_restarts: int = counter(
        "Readers that were replaced because they died or stood still.", tier=Tier.CORE
    )

    unattributed_xids: int | None = gauge(
        "Xids that wait for their GPU: of a PCI address at which none has ever been seen.",
        tier=Tier.CORE,
    )

    workload_manager_info: WorkloadInfo | None = info(
        "Who tells which job holds which GPU; gpumon_collector_success says whether it does now.",
        labels=("manager",),
        name="workload_manager",
    )
    workload_manager_errors: int | None = counter(
        "How often that could not be asked, or answered nonsense; what was known last stays in "
        "force.",
        tier=Tier.CORE,
    )
    workload_manager_unresolved_jobs: int | None = gauge(
        "Jobs here of which it is not known which GPUs they hold, or not of all; nobody pays for "
        "those. gpumon doctor says why.",
    )
    ledger_info: LedgerRule | None = info(
        "By what several holders of one GPU share its joules, and who gets those of a gap.",
        labels=("shared", "mig", "gap"),
        name="ledger",
    )
    ledger_corrections: Mapping[str, int] | None = counter(
        "Device counters that were reset, or leapt beyond what the power limit allows (rejected), "
        "and gaps whose joules are nobody's.",
        tier=Tier.CORE,
        labels=["correction"],
    )

    @property
    def label_values(self) -> tuple[str, ...]:
        """No labels: there is one agent to an instance."""
        return ()
